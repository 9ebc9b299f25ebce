"""What others wipe or overtake comes back by itself; what was removed does not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from lab.firewalld import reload_firewalld, start_firewalld
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from lab.network import default_network, mac_for
from product import (
    call_hook,
    configure,
    forward_chain,
    put_in,
    settled_ruleset,
    start_watch,
    states,
    status,
    stop_watch,
)

FORWARDS = "guests:\n  web1: [8000, 8080:80, 5353:5353/udp]\n"
URL = "http://203.0.113.1:8080/"
# Its backends; by default it has nftables everywhere.
FIREWALLD = ["nftables"]
if "VFWHOOKS_ALL_KINDS" in os.environ:
    FIREWALLD += ["iptables"]


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Iterator[Guest]:
    """A running guest, watched over, one forward of which was removed again."""
    configure(host, FORWARDS.replace("8000", "8000, 7777:80"))
    guest = host.define_guest("web1").start(wait=True)
    start_watch(host)
    configure(host, FORWARDS)
    wait_until(lambda: "web1 7777/tcp" not in states(host), "the edit")
    yield guest
    stop_watch(host)
    guest.destroy()


def is_served(outside: Net, patience: float = 5) -> bool:
    """Whether the guest answers within so many seconds."""
    return outside.http(URL, timeout=patience).answered


def refused(outside: Net, host: Host) -> float:
    """For how many seconds from now on a request was refused now and then; the rules
    have settled when this returns."""
    start = time.monotonic()
    last = start
    while time.monotonic() < start + 1.5:
        if not is_served(outside, 0.5):
            last = time.monotonic()
    settled_ruleset(host)
    return last - start


WIPES = {
    "nft flush ruleset": ["nft flush ruleset"],
    "iptables -F": ["iptables -F", "iptables -t nat -F"],
    "our table deleted": ["nft delete table inet vfwhooks || iptables -F VFW-FORWARD"],
    "our elements deleted": [
        "nft flush map inet vfwhooks dnat4_any || iptables -t nat -F VFW-ANY"
    ],
}


DAMAGES = {
    "cut short": "truncate -s 60 {}",
    "another letter": "sed -i 's/8080/8081/' {}",
    "another release's": "sed -i 's/^vfw1/vfw9/' {}",
    "nothing of ours": "echo hello >{}",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_record(host: Host, outside: Net, web1: Guest, damage: str) -> None:
    """A record that cannot be read is set aside, and made anew from what libvirtd says:
    the guest is served on."""
    before = sorted(settled_ruleset(host).split("\n"))
    seen = len(host.syslog("cannot be read"))

    record = "/run/vfwhooks/guests/qemu/web1"
    host.run(["sh", "-c", DAMAGES[damage].format(record)])
    wait_until(lambda: len(host.syslog("cannot be read")) > seen, "the log to say so")
    wait_until(host.path(record).exists, "another record")
    wait_until(lambda: is_served(outside), "the guest", timeout=20)

    assert sorted(settled_ruleset(host).split("\n")) == before


@pytest.mark.parametrize("wipe", WIPES)
def test_wiped(
    host: Host,
    outside: Net,
    web1: Guest,
    wipe: str,
    measured: Callable[[str, float], None],
) -> None:
    """After a wipe, and libvirtd's restart, everything is there again, once."""
    before = sorted(settled_ruleset(host).split("\n"))

    for command in WIPES[wipe]:
        host.run(["sh", "-c", command])
    host.restart_libvirtd()
    start = time.monotonic()
    wait_until(lambda: is_served(outside), "the guest", timeout=20)
    measured("seconds from the restart to an answer", time.monotonic() - start)

    after = sorted(settled_ruleset(host).split("\n"))
    assert (after, outside.http("http://203.0.113.1:7777/").refused) == (before, True)


def test_our_own_part_comes_back_without_libvirt(
    host: Host, outside: Net, web1: Guest
) -> None:
    """Where only ours was wiped, no daemon has to be restarted."""
    before = sorted(settled_ruleset(host).split("\n"))

    host.run(["sh", "-c", WIPES["our table deleted"][0]])
    wait_until(lambda: is_served(outside), "the guest", timeout=20)

    assert sorted(settled_ruleset(host).split("\n")) == before


def test_flushed_until_libvirt_restarts(host: Host, outside: Net, web1: Guest) -> None:
    """While libvirt's table is missing, status says so, and what cures it."""
    if status(host)["backend"] != "nftables":
        return
    host.run(["nft", "flush", "ruleset"])
    why = "table ip libvirt_network is missing: restart libvirtd"
    wait_until(lambda: said(host) == {("blocked", why)}, lambda: f"{said(host)}")
    host.restart_libvirtd()
    wait_until(lambda: is_served(outside), "the guest", timeout=20)


def said(host: Host) -> set[tuple[str, str]]:
    """The states of the forwards, and their reasons."""
    return {(row["state"], row["reason"]) for row in status(host)["forwards"]}


def test_drop_on_top_stays_on_top(host: Host, outside: Net, web1: Guest) -> None:
    """A DROP that an administrator puts first blocks the port, and stays first, for as
    long as VFWHOOKS_STAYS_SECONDS says (60 is the figure in the documentation)."""
    nft = status(host)["backend"] == "nftables"
    where = "ip libvirt_network forward" if nft else "FORWARD"
    tool, drop = ("nft insert rule", "drop") if nft else ("iptables -I", "-j DROP")
    host.run(["sh", "-c", f"{tool} {where} {drop}"])

    blocked = not outside.http(URL, timeout=1).answered
    host.restart_libvirtd()
    settled_ruleset(host)
    time.sleep(float(os.environ.get("VFWHOOKS_STAYS_SECONDS", "0")))
    still_blocked = not outside.http(URL, timeout=1).answered
    if nft:
        host.run(
            [
                "sh",
                "-c",
                f"nft delete rule {where} handle "
                f"$(nft -a list chain {where} | sed -n 's/.*drop # handle //p')",
            ]
        )
    else:
        host.run(["iptables", "-D", "FORWARD", "-j", "DROP"])

    wait_until(lambda: is_served(outside), "the guest", timeout=20)
    assert (blocked, still_blocked) == (True, True)


STANDIN = f"""
<domain type='xen'>
  <name>standin</name>
  <uuid>6b33ec13-96d6-4581-bc2f-38dee79d5ae5</uuid>
  <devices>
    <interface type='network'>
      <mac address='{mac_for(70)}'/>
      <source network='default' bridge='virbr0'/>
      <target dev='standin'/>
    </interface>
  </devices>
</domain>
"""


@pytest.mark.parametrize("is_watched", [True, False])
def test_networks_daemon_restarted_alone(
    host: Host, outside: Net, web1: Guest, is_watched: bool
) -> None:
    """As virtnetworkd does it: the daemon hook is called and the rules are built anew,
    but nobody speaks of the guest: it is Xen's, of which this libvirtd knows nothing.
    With the watch it is served by itself, without it after the next event of any other
    guest."""
    configure(host, FORWARDS + "  standin: [8070:80]\n")
    standin = host.standin("standin", "192.168.122.70/24", mac=mac_for(70))
    standin.ip("route add default via 192.168.122.1")
    call_hook(host, "libxl", "standin", "started", "begin", "-", xml=STANDIN)
    if not is_watched:
        stop_watch(host)

    with standin.serve_tcp(80):
        host.run(["sh", "-c", "nft flush ruleset"])
        host.restart_libvirtd()
        if not is_watched:
            settled_ruleset(host)
            xml = host.virsh("dumpxml", "web1")
            call_hook(host, "qemu", "web1", "started", "begin", "-", xml=xml)
        wait_until(
            lambda: outside.http("http://203.0.113.1:8070/", timeout=2).answered,
            "the guest",
            timeout=30,
        )
    call_hook(host, "libxl", "standin", "stopped", "end", "-")
    host.unplug(standin)
    configure(host, FORWARDS)
    if not is_watched:
        start_watch(host)


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
@pytest.mark.parametrize("firewall", FIREWALLD)
def test_firewalld_reload(
    firewall: str, backend: str, measured: Callable[[str, float], None]
) -> None:
    """With either backend of firewalld and of libvirt, everything comes back after a
    reload, a stop and a start of firewalld."""
    with Host.debian13(backend) as host:
        put_in(host, FORWARDS)
        start_firewalld(host, firewall)
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        outside = host.outside()
        guest = host.define_guest("web1").start(wait=True)
        start_watch(host)
        served = [is_served(outside)]

        for _ in range(2):
            reload_firewalld(host)
            # libvirtd hears of it later, and puts its own rules in ahead of ours then.
            measured("seconds of refusals after a reload", refused(outside, host))
            wait_until(lambda: is_served(outside), "the guest", timeout=20)
        wait_until(lambda: ours(host) == 1, lambda: f"{ours(host)} jumps, not one")
        served.append(is_served(outside))
        stop_watch(host)
        guest.destroy()

    assert served == [True, True]


def ours(host: Host) -> int:
    """How often the chain that libvirt refuses by leads to ours."""
    return sum(jump in ("vfwhooks", "VFW-FORWARD") for jump in forward_chain(host))
