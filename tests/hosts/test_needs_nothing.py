"""Guests that are bridged to the LAN need no forward, and none of libvirt's rules."""

from __future__ import annotations

import pytest
from lab.host import Host
from product import status, vfwhooks

from .recorded import BRIDGED, PUBLIC, RecordedHost, bridged_traffic

OWN = (
    ": bridge {0} is the host's own, not a network of libvirt's: on the LAN the guest "
    "is reached at its own address, without forwards; behind NAT, write bridge: {0}"
).format
DIRECT = " (direct) is reached without forwards, at its own address on the LAN"
WAYS = {
    "kvm": {"br0": OWN("br0"), "macvtap": DIRECT},
    "xen": {"xenbr0": OWN("xenbr0")},
}


def is_bridged_traffic_filtered(host: Host) -> bool:
    """Whether iptables sees what a bridge passes on."""
    return host.run(["sysctl", "-n", BRIDGED]).strip() == "1"


def test_left_alone(recorded: RecordedHost) -> None:
    """Not a rule for it, though it has a forward; status says why."""
    recorded.configure("guests:\n  web1: [8080:80]\n")
    recorded.start("mail")  # so that what all guests share is there
    before = recorded.rules()
    ways = WAYS[recorded.host.name[:3]]

    seen = []
    for interface in ways:
        recorded.start("web1", interface)
        rows = [(f["state"], f["reason"]) for f in status(recorded.host)["forwards"]]
        seen.append((recorded.rules() == before, recorded.ask(), rows))
        recorded.stop("web1")
    recorded.stop("mail")

    about = "interface 52:54:00:00:00:32"
    assert seen == [
        (True, "refused", [("pending", f"{about}{way}")]) for way in ways.values()
    ]


def test_rules_that_are_lost(recorded: RecordedHost) -> None:
    """When all rules are wiped and libvirt does not put its own in again, a forward is
    there again at the next event. What is lost is the way out: the guest's own
    connections leave with an address that nobody on the internet can answer."""
    recorded.configure("guests:\n  web1: [8080:80]\n")
    recorded.start("web1")
    web1 = recorded.guests["web1"]
    seen = [recorded.ask_out("web1")]

    recorded.shell("iptables -F; iptables -t nat -F; iptables -X; iptables -t nat -X")
    recorded.start("mail")
    seen += [recorded.ask(), recorded.ask_out("web1")]
    recorded.stop("mail")
    recorded.stop("web1")
    recorded.libvirt.insert_rules()

    assert seen == [f"outside 7 {PUBLIC}", web1.body, f"outside 7 {web1.net.address}"]


@pytest.mark.parametrize("is_filtered", [True, False])
def test_bridged_guest_does_not_care(recorded: RecordedHost, is_filtered: bool) -> None:
    """Reached at its own address with libvirt's rules and without, and whether or not
    iptables sees what a bridge passes on."""
    lan1 = recorded.guests["lan1"]
    was_filtered = is_bridged_traffic_filtered(recorded.host)
    bridged_traffic(recorded.host, is_filtered)

    seen = [recorded.ask(80, lan1.net.address)]
    recorded.libvirt.delete_rules()
    seen.append(recorded.ask(80, lan1.net.address))
    recorded.libvirt.insert_rules()
    bridged_traffic(recorded.host, was_filtered)

    assert seen == [lan1.body] * 2


def test_netfilter_twice(recorded: RecordedHost) -> None:
    """Where iptables sees what a bridge passes on: a host whose address is on the
    bridge itself is served; one that reaches its own bridge by a cable sees each of its
    packets twice, and no DNAT works there before that is off, which doctor says."""
    recorded.configure("guests:\n  web1: [8080:80]\n")
    recorded.start("web1")
    was_filtered = is_bridged_traffic_filtered(recorded.host)

    body = recorded.guests["web1"].body
    seen = []
    for is_filtered in (True, False):
        bridged_traffic(recorded.host, is_filtered)
        found = vfwhooks(recorded.host, "doctor").stdout.splitlines()
        warned = [line for line in found if "leads into a bridge" in line]
        seen.append((recorded.ask() == body, warned))
    bridged_traffic(recorded.host, was_filtered)
    recorded.stop("web1")

    is_xen = recorded.host.name.startswith("xen")
    warning = "wrong  eth0 leads into a bridge of this host: no DNAT works by that way;"
    cure = " run: sysctl -w net.bridge.bridge-nf-call-iptables=0"
    assert seen == [(not is_xen, [warning + cure] * is_xen), (True, [])]
