"""What a running guest's forwards outlive: restarts, reloads, repeated events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from product import (
    call_hook,
    configure,
    forward_chain,
    reload_libvirtd,
    ruleset,
    settled_ruleset,
    states,
    status,
)

FORWARDS = "guests:\n  web1: [8080:80, 5000-5010:5000-5010/udp]\n"
URL = "http://203.0.113.1:8080/"


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Iterator[Guest]:
    """A guest that is being served from outside."""
    configure(host, FORWARDS)
    guest = host.define_guest("web1").start(wait=True)
    assert outside.http(URL).answered
    yield guest
    guest.destroy()


def test_libvirtd_restart(host: Host, outside: Net, web1: Guest) -> None:
    """After a restart, with `reconnect`, the rules are there once and work."""
    before = ruleset(host)

    host.restart_libvirtd()
    wait_until(lambda: "running" in host.virsh("list"), "reconnect")

    assert (ruleset(host), outside.http(URL).body) == (before, "web1 80 203.0.113.2")


def test_reload(host: Host, outside: Net, web1: Guest) -> None:
    """SIGHUP changes nothing."""
    before = settled_ruleset(host)

    reload_libvirtd(host)

    assert (settled_ruleset(host), outside.http(URL).body) == (
        before,
        "web1 80 203.0.113.2",
    )


@pytest.mark.parametrize("operation", ["started", "reconnect"])
def test_the_same_event_twice(
    host: Host, outside: Net, web1: Guest, operation: str
) -> None:
    """An event that was carried out already leaves one set of rules."""
    before, xml = ruleset(host), host.virsh("dumpxml", "web1")

    done = call_hook(host, "qemu", "web1", operation, "begin", "-", xml=xml)

    assert (done.status, done.stdout, ruleset(host)) == (0, "", before)


def test_network_restarted_under_a_guest(host: Host, outside: Net, web1: Guest) -> None:
    """Our rules are back once, ahead of the REJECT; the guest's interface has lost its
    bridge, which status says, with the cure, and which libvirtd's restart mends."""
    before = sorted(ruleset(host).split("\n"))
    device = host.virsh("domiflist", "web1").split()[0]

    host.virsh("net-destroy", "default")
    host.virsh("net-start", "default")
    after = sorted(ruleset(host).split("\n"))
    rows = status(host)["forwards"]
    host.restart_libvirtd()
    wait_until(lambda: outside.http(URL).answered, "the guest")

    cure = f"restart libvirtd, or: ip link set {device} master virbr0"
    reason = f"{device} is not attached to virbr0; {cure}"
    assert after == before
    assert {(row["state"], row["reason"]) for row in rows} == {("blocked", reason)}
    assert set(states(host).values()) == {"active"}
    assert "FW" in forward_chain(host)[1] or forward_chain(host)[1] == "guest_cross"


def test_stop_leaves_the_empty_base_ruleset(
    host: Host, outside: Net, web1: Guest
) -> None:
    """After the stop netfilter is what it was before the first start, but for the
    base ruleset, which holds no guest."""
    web1.destroy()
    empty = ruleset(host)
    web1.start(wait=True)

    web1.destroy()
    after = ruleset(host)
    web1.start(wait=True)

    assert after == empty
    assert "192.168.122.10" not in after.replace("192.168.122.1/24", "")
