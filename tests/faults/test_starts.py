"""A start on iptables' nft variant: its rules go in without a tool, and the tool sees
no difference to its own."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from standin import StandIn, alone, run
from unit.builders import UUID, parsed

from faults.scenes import WEB0, WEB1
from vfwhooks.firewall.iptables_messages import put_in
from vfwhooks.firewall.iptables_rules import render
from vfwhooks.firewall.iptables_script import Rules, Script
from vfwhooks.firewall.iptables_tools import Tools
from vfwhooks.host.netlink import Netlink
from vfwhooks.values.errors import Refused

IPT = "iptables"
TOOL = {"4": "iptables", "6": "ip6tables"}
FOUR = (
    *("accept 4 192.168.122.10", "accept 4 192.168.122.11"),
    "dnat 4 * tcp 8080 8080 192.168.122.10 80",
    "dnat 4 * udp 5000 5010 192.168.122.10 5000",
    *(f"dnat 4 * tcp {port} {port} 192.168.122.10 {port}" for port in range(20, 41)),
    "dnat 4 203.0.113.5 tcp 1 65535 192.168.122.10 1",
    "dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0",
    "guard 4 203.0.113.5 udp 53 53 allow_0f5c",
    "left 4 192.168.122.1 udp 53 53",
    *("hairpin 4 192.168.122.0/24", "inside 4 192.168.122.0/24"),
    *("hairpin 4 172.16.16.0/20", "inside 4 10.0.0.0/7"),
)
SIX = (
    "accept 6 fd00:122::10",
    "dnat 6 * tcp 8080 8080 fd00:122::10 80",
    "dnat 6 2001:db8::5 udp 5000 5010 fd00:122::10 5000",
    "dnat 6 2001:db8::7 all 0 65535 fd00:122::10 0",
    "left 6 fd00:122::1 tcp 53 53",
    *("hairpin 6 fd00:122::/64", "inside 6 fd00:120::/61"),
)
BASES = "".join(
    f"*{table}\n" + "".join(f":VFW-{name} - [0:0]\n" for name in names) + "COMMIT\n"
    for table, names in (
        ("filter", ("FORWARD", "INPUT")),
        (
            "nat",
            ("ANY", "BOUND", "S-0f5c", "PUBLISH", "POSTROUTING", "OUT", "INSIDE"),
        ),
    )
)


def saved(family: str) -> list[str]:
    """All that the tool prints, without what tells the time."""
    lines = run(f"{TOOL[family]}-nft-save", "-c").splitlines()
    return [line for line in lines if not line.startswith("#")]


def changed(family: str, old: Rules, new: Rules) -> list[str]:
    """Have the tool change rules; what it prints then."""
    script = Script()
    script.change(old, new)
    tool = f"{TOOL[family]}-nft-restore", "--noflush", "--counters"
    run(*tool, input=script.text() or BASES)
    return saved(family)


@pytest.mark.parametrize(("family", "lines"), [("4", FOUR), ("6", SIX)])
@alone
def test_the_tool_makes_the_same(family: str, lines: tuple[str, ...]) -> None:
    """Its save prints the same, counters and order included, and it finds and takes out
    what it has not made."""
    rules = render(UUID, parsed(*lines), family)
    empty = changed(family, Rules(), Rules())
    by_the_tool = changed(family, Rules(), rules)
    changed(family, rules, Rules())

    messages = put_in(family, [rules])

    assert messages
    Netlink().batch(messages)
    assert saved(family) == by_the_tool
    assert changed(family, rules, Rules()) == empty


@alone
def test_a_start_needs_no_tool() -> None:
    """Nor does a guest's of a network that nobody has needed so far; where the kernel
    does not take it the tool does it all."""
    host = StandIn(IPT, "guests:\n  web0: [80]\n  web1: [8080:80]\n")
    host.network(WEB0, WEB1)
    for guest in (WEB0, WEB1):
        host.event("qemu", guest.name, "started", guest.xml())
        host.event("qemu", guest.name, "stopped")
    with patch.object(Tools, "restore", autospec=True, side_effect=Tools.restore) as to:
        host.event("qemu", "web0", "started", WEB0.xml())
        without = to.call_count
        with patch.object(Netlink, "batch", side_effect=Refused("no")):
            host.event("qemu", "web1", "started", WEB1.xml())

    assert (without, to.call_count) == (0, 1)
