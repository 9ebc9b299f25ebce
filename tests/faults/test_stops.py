"""A stop on iptables' nft variant: no tool is needed, unless somebody has been at our
rules; what others have stays theirs."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from standin import Guest, StandIn, alone, kernel, run

from vfwhooks.firewall import iptables_nft
from vfwhooks.firewall.iptables import Iptables
from vfwhooks.firewall.iptables_rules import short
from vfwhooks.firewall.iptables_tools import Tools
from vfwhooks.reconcile import planner
from vfwhooks.values.errors import VfwError

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
  web4: {ports: [9100:80], address: [192.168.122.14, "fd00:122::14"]}
"""
ACCEPT_WEB1 = (
    "VFW-FORWARD -d 192.168.122.11/32 -m conntrack --ctstate DNAT --ctdir ORIGINAL "
    f"-m comment --comment {WEB1.uuid} -j ACCEPT"
).split(" ")
GUARD = "loopback-behind-virbr0"
LOOKED_AT = "checking everything: table ip filter, VFW-FORWARD:"


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
    guests of its network need."""

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
    """What guards it goes by itself; the network's rules stay."""
    host = running(WEB1)
    before = kernel(IPT)
    start(host, WEB0)

    called = stop(host, WEB0)

    assert (called, kernel(IPT)) == (0, before)


@alone
def test_a_rule_of_ours_that_somebody_has_deleted() -> None:
    """Then everything is looked at; the same is left."""
    host = running(WEB0)
    before = kernel(IPT)
    start(host, WEB1)
    run("iptables", "-D", *ACCEPT_WEB1)

    said = host.event("qemu", "web1", "stopped")

    assert any(f"{LOOKED_AT} 1 rules of {WEB1.uuid}, not 2" in line for line in said)
    assert kernel(IPT) == before


@pytest.mark.parametrize("verdict", ["ACCEPT", "DROP"])
def test_a_rule_more_with_our_comment(verdict: str) -> None:
    """Then everything is looked at, too; it is gone with the guest."""

    @alone
    def play() -> None:
        host = running(WEB0)
        before = kernel(IPT)
        start(host, WEB1)
        run("iptables", "-A", *ACCEPT_WEB1[:-1], verdict)

        said = host.event("qemu", "web1", "stopped")

        assert any(f"{LOOKED_AT} 3 rules" in line for line in said)
        assert kernel(IPT) == before

    play()


@alone
def test_what_guards_a_loopback_is_gone_already() -> None:
    """Then everything is looked at; no rule of its network is taken out for it."""
    host = running(WEB1)
    before = kernel(IPT)
    start(host, WEB0)
    masquerade = f"-s 127.0.0.0/8 -o virbr0 -m comment --comment {GUARD} -j MASQUERADE"
    where = "-t", "nat", "-D", "VFW-POSTROUTING"
    run("iptables", *where, *masquerade.split(" "))

    said = host.event("qemu", "web0", "stopped")

    assert any(f"VFW-POSTROUTING: 0 rules of {GUARD}, not 1" in line for line in said)
    assert kernel(IPT) == before


@alone
def test_what_guards_a_loopback_as_releases_before_put_it_in() -> None:
    """It had the comment of its network's rules: everything is looked at, and they
    stay."""
    host = running(WEB1)
    before = kernel(IPT)
    with patch.object(planner, "_BEHIND", ""):
        start(host, WEB0)

    called = stop(host, WEB0)

    assert (called > 0, kernel(IPT)) == (True, before)


@pytest.mark.parametrize("bridge", ["br-lan", "br_lan", "br.100"])
@pytest.mark.parametrize("others", [[], [WEB1]])
def test_bridges_of_any_name(bridge: str, others: list[Guest]) -> None:
    """One that is no word for a comment has its rules taken out by a tool."""

    @alone
    def play() -> None:
        run("ip", "link", "add", "virbr1", "type", "bridge")
        host = running(*others)
        status = Path("/run/libvirt/network/default.xml")
        other = status.with_name("other.xml")
        text = status.read_text().replace("virbr0", bridge).replace("default", "other")
        text = text.replace("192.168.122.", "192.168.123.")
        run("ip", "link", "set", "virbr1", "name", bridge)
        run("ip", "addr", "add", "192.168.123.1/24", "dev", bridge)
        other.write_text(text)
        before = kernel(IPT)
        guest = Guest("web3", 10)
        xml = guest.xml().replace("virbr0", bridge).replace("default", "other")
        host.event("qemu", "web3", "started", xml)
        while_up = "\n".join(kernel(IPT))

        called = stop(host, guest)

        assert "--to-destination 192.168.123.10:" in while_up
        assert (called > 0, kernel(IPT)) == (bridge == "br.100", before)

    play()


@alone
def test_in_both_families() -> None:
    """IPv4 and IPv6 go together, without a tool."""
    host = running()
    guest = Guest("web4", 14)
    start(host, guest)
    stop(host, guest)
    before = kernel(IPT)
    start(host, guest)
    while_up = "\n".join(kernel(IPT))

    called = stop(host, guest)

    assert "--to-destination 192.168.122.14:80" in while_up
    assert "--to-destination [fd00:122::14]:80" in while_up
    assert (called, kernel(IPT)) == (0, before)


def flush() -> None:
    """As somebody does who wants a clean slate."""
    for tool in ("iptables", "ip6tables"):
        for table in ("filter", "nat", "raw"):
            run(tool, "-t", table, "-F")
            run(tool, "-t", table, "-X")


@alone
def test_where_libvirt_has_no_rules() -> None:
    """They were flushed, or it has none yet: the variant is iptables' own then, and a
    stop there needs no tool either."""
    host = running(WEB1)
    flush()
    host.watch_looks()
    before = kernel(IPT)
    start(host, WEB0)

    called = stop(host, WEB0)

    assert (called, kernel(IPT)) == (0, before)


@alone
def test_libvirts_rules_that_come_later() -> None:
    """They are in the same variant: ours stay in the kernel meanwhile."""
    host = running(WEB1)
    flush()
    host.watch_looks()
    ours = "nft", "-a", "list", "chain", "ip", "nat", "VFW-ANY"
    before = run(*ours)
    host.libvirts_rules()

    host.watch_looks()

    assert "handle" in before
    assert run(*ours) == before


@alone
def test_others_that_change_rules_all_the_time() -> None:
    """What cannot be listed in peace is left to the tool."""
    host = running(WEB1)
    before = kernel(IPT)
    start(host, WEB0)

    with (
        patch.object(iptables_nft, "answers", side_effect=VfwError("the list changed")),
        # The base chains have to be seen to be as they were left.
        patch.object(Iptables, "is_undisturbed", return_value=True),
    ):
        called = stop(host, WEB0)

    assert (called, kernel(IPT)) == (1, before)


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
