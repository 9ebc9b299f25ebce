"""A stop on iptables' nft variant: no tool is needed, unless somebody has been at our
rules; what others have stays theirs."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from standin import Guest, StandIn, alone, kernel, run

from vfwhooks.iprules import short
from vfwhooks.iptools import Tools

IPT = "iptables"
WEB0, WEB1 = Guest("web0", 10), Guest("web1", 11)
FORWARDS = """\
guests:
  web0:
    ports: [8000:80, 127.0.0.1:8088:80, 203.0.113.5:53:53/udp]
    when_stopped: reject
  web1:
    - {published: 8001-8040, target: 80, allow_from: 198.51.100.0/24}
  web2: [127.0.0.1:8089:80]
  web3: [53:53/udp, 9000-9009:9000-9009]
"""
ACCEPT_WEB0 = (
    "VFW-FORWARD -d 192.168.122.10/32 -m conntrack --ctstate DNAT --ctdir ORIGINAL "
    f"-m comment --comment {WEB0.uuid} -j ACCEPT"
).split(" ")


def running(*guests: Guest) -> StandIn:
    """A host on which all have run before, and these run."""
    host = StandIn(IPT, FORWARDS)
    host.network(WEB0, WEB1)
    for guest in (WEB0, WEB1):
        start(host, guest)
        stop(host, guest)
    for guest in guests:
        start(host, guest)
    return host


def start(host: StandIn, guest: Guest) -> None:
    """`started`, in this process."""
    host.event("qemu", guest.name, "started", guest.xml())


def stop(host: StandIn, guest: Guest) -> int:
    """`stopped`, in this process; how often a tool was given anything."""
    with patch.object(Tools, "restore", autospec=True, side_effect=Tools.restore) as to:
        host.event("qemu", guest.name, "stopped")
    return to.call_count


@pytest.mark.parametrize(
    ("name", "others"), [("web2", []), ("web3", []), ("web3", [WEB1])]
)
def test_what_was_there_before_is_left(name: str, others: list[Guest]) -> None:
    """Neither a rule nor a chain more, and no tool. The last one takes along what all
    guests of its network need, which has one comment with what guards loopback."""

    @alone
    def play() -> None:
        host = running(*others)
        before = kernel(IPT)
        guest = Guest(name, 12)
        host.network(WEB0, WEB1, guest)
        start(host, guest)

        called = stop(host, guest)

        assert (called, kernel(IPT)) == (0, before)

    play()


@alone
def test_one_that_guards_a_loopback_beside_another() -> None:
    """What guards it has the comment of the network's rules, which stay."""
    host = running(WEB1)
    before = kernel(IPT)
    start(host, WEB0)

    stop(host, WEB0)

    assert kernel(IPT) == before


@alone
def test_a_rule_of_ours_that_somebody_has_deleted() -> None:
    """Then everything is looked at; the same is left."""
    host = running(WEB1)
    before = kernel(IPT)
    start(host, WEB0)
    run("iptables", "-D", *ACCEPT_WEB0)

    stop(host, WEB0)

    assert kernel(IPT) == before


@alone
def test_a_rule_of_somebody_elses_with_our_comment() -> None:
    """It is not taken for one of ours."""
    host = running(WEB1)
    theirs = *ACCEPT_WEB0[:-1], "DROP"
    run("iptables", "-A", *theirs)
    before = kernel(IPT)
    start(host, WEB0)

    stop(host, WEB0)

    assert kernel(IPT) == before


@alone
def test_a_chain_that_somebody_elses_rule_leads_to() -> None:
    """The kernel lets nobody delete it: nothing is half done, and the next event takes
    it out when that rule is gone."""
    host = running(WEB1)
    before = kernel(IPT)
    start(host, WEB0)
    foreign = "OUTPUT", "-d", "192.0.2.1", "-j", f"VFW-A-{short(WEB0.uuid)}"
    run("iptables", "-t", "nat", "-A", *foreign)

    said = host.event("qemu", "web0", "stopped")

    run("iptables", "-t", "nat", "-D", *foreign)

    host.event("qemu", "idle", "stopped")

    assert any("busy" in line and foreign[-1] in line for line in said)
    assert kernel(IPT) == before
