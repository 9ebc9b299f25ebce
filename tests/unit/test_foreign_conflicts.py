"""foreign_conflicts, foreign_reasons: which ports rules of others keep, and what is
said of them."""

from __future__ import annotations

import pytest

from unit.builders import Host, at, network, parsed, published, written
from unit.builders import record as running
from vfwhooks.config.compiled_lines import parse_settings
from vfwhooks.diagnosis.foreign_reasons import ForeignOwners, Said
from vfwhooks.foreign.claimed_ports import Doubt
from vfwhooks.foreign.reader import Foreign
from vfwhooks.reconcile.desired_state import DesiredState
from vfwhooks.reconcile.foreign_conflicts import AHEAD, find_foreign_owners
from vfwhooks.reconcile.guest_addresses import Endpoint
from vfwhooks.reconcile.port_conflicts import Past
from vfwhooks.store.entry_text import parse_host
from vfwhooks.values.foreign_claims import ForeignClaim
from vfwhooks.values.protocols import PROTOCOLS

DEFAULT, SECOND = "203.0.113.1", "203.0.113.5"
IN_FORCE = "dnat 4 * tcp 22 22 192.168.122.10 22"
LEFT = f"left 4 {SECOND} tcp 22 22"


def claim(
    host: str = "*",
    first: int = 22,
    last: int = 0,
    protocol: str = "tcp",
    family: str = "4",
    is_ahead: bool = False,
) -> ForeignClaim:
    """Docker's, as a rule of tcp 22 on every IPv4 address."""
    whose = "Docker by DNAT"
    at = parse_host(host)
    return ForeignClaim(family, at, protocol, first, last or first, whose, is_ahead)


KEPT = {
    # what is published, the rule, what is in force, yields, ports kept, what is left
    "every address, every": ("4 * tcp 22 22", claim(), "", "", [22], []),
    "one address, every": (f"4 {SECOND} tcp 22 22", claim(), "", "", [22], []),
    "one address, the same": (
        f"4 {SECOND} tcp 22 22",
        claim(SECOND),
        "",
        "",
        [22],
        [],
    ),
    "one address, another": (f"4 {SECOND} tcp 22 22", claim(DEFAULT), "", "", [], []),
    "every address, one": ("4 * tcp 22 22", claim(SECOND), "", "", [], [LEFT]),
    "every address, the world's": ("4 * tcp 22 22", claim(DEFAULT), "", "", [22], []),
    "every address, all of one": (
        "4 * tcp 22 22",
        claim(SECOND, 0, 65535),
        "",
        "",
        [],
        [LEFT],
    ),
    "every address, some ports of one": (
        "4 * tcp 1 128",
        claim(SECOND, 0, 65535),
        "",
        "",
        [],
        [f"left 4 {SECOND} tcp {port} {port}" for port in range(1, 129)],
    ),
    "every address, many ports of one": (
        "4 * tcp 1 129",
        claim(SECOND, 0, 65535),
        "",
        "",
        [*range(1, 130)],
        [],
    ),
    "another port": ("4 * tcp 22 22", claim(first=23), "", "", [], []),
    "another protocol": ("4 * tcp 22 22", claim(protocol="udp"), "", "", [], []),
    "another family": ("6 * tcp 22 22", claim(), "", "", [], []),
    "loopback": ("4 127.0.0.1 tcp 22 22", claim(), "", "", [], []),
    "within a range": ("4 * tcp 20 30", claim(first=29, last=40), "", "", [29, 30], []),
    "a whole address, a port of it": (
        f"4 {SECOND} all 0 65535",
        claim(SECOND),
        "",
        "",
        [0],
        [],
    ),
    "a whole address in force": (
        f"4 {SECOND} all 0 65535",
        claim(SECOND),
        f"dnat 4 {SECOND} all 0 65535 192.168.122.10 0",
        "",
        [],
        [],
    ),
    "a whole address in force that it had": (
        f"4 {SECOND} all 0 65535",
        claim(SECOND),
        f"dnat 4 {SECOND} all 0 65535 192.168.122.10 0",
        f"4 {SECOND} all 0 65535",
        [0],
        [],
    ),
    "a whole address, every": (f"4 {SECOND} all 0 65535", claim(), "", "", [], []),
    "ours was first": ("4 * tcp 22 22", claim(), IN_FORCE, "", [], []),
    "ours was first, on that address": (
        "4 * tcp 22 22",
        claim(SECOND),
        IN_FORCE,
        "",
        [],
        [],
    ),
    "it had the port": ("4 * tcp 22 22", claim(), "", "4 * tcp 22 22", [22], []),
    "it had the port, ended midway": (
        "4 * tcp 22 22",
        claim(),
        IN_FORCE,
        "4 * tcp 22 22",
        [22],
        [],
    ),
    "the range has grown": (
        "4 * tcp 20 30",
        claim(first=22, last=23),
        IN_FORCE,
        "",
        [23],
        [],
    ),
}


@pytest.mark.parametrize("what", KEPT)
def test_who_keeps_a_port(what: str) -> None:
    """Every pair of what is published and a rule, and what was before."""
    one, rule, held, yields, ports, left = KEPT[what]
    host = Host(network(), default_sources=[DEFAULT], claims=[rule])
    known = running(entries=[held] * bool(held))
    known.yields = [published(port) for port in [yields] * bool(yields)]

    found, beside = find_foreign_owners(
        [published(one)], known.entries, Past([known]), host
    )

    kept = {published(one): ports} if ports else {}
    assert ({k: list(some) for k, some in found.items()}, written(beside)) == (
        kept,
        left,
    )


def test_what_was_left_stays_so() -> None:
    """While the rule is there, and no longer."""
    held, one = parsed(IN_FORCE, LEFT), published("4 * tcp 22 22")
    hosts = Host(network(), claims=[claim(SECOND)]), Host(network())

    found = [find_foreign_owners([one], held, Past(), host)[1] for host in hosts]

    assert found == [held[1:], []]


PORT, PORTS = published("4 * tcp 22 22"), published("4 * tcp 20 30")
WEB = "forward * tcp 22 22 22 22 -"
OVER = f"{WEB} over_listener=True"
RANGE = "forward * tcp 20 30 20 30 -"
FIRST = "Docker takes tcp 22 by DNAT; the forward was first"
TOLD = {
    # what is compiled, the rules, the doubts, what is said
    "nobody": ([WEB], [], [], Said()),
    "behind": ([WEB], [claim()], [], Said({PORT: FIRST})),
    "behind, over_listener": ([OVER], [claim()], [], Said()),
    "ahead": (
        [WEB],
        [claim(is_ahead=True)],
        [],
        Said({}, {PORT: f"Docker takes tcp 22 by DNAT; {AHEAD}"}),
    ),
    "ahead, over_listener": (
        [OVER],
        [claim(is_ahead=True)],
        [],
        Said({}, {PORT: f"Docker takes tcp 22 by DNAT; {AHEAD}"}),
    ),
    "ahead of a part": (
        [RANGE],
        [claim(is_ahead=True)],
        [],
        Said({PORTS: f"all but 22: Docker takes tcp 22 by DNAT; {AHEAD}"}),
    ),
    "ahead of all of a range": (
        [RANGE],
        [claim(first=10, last=40, is_ahead=True)],
        [],
        Said({}, {PORTS: f"Docker takes tcp 10-40 by DNAT; {AHEAD}"}),
    ),
    "ahead on one address": (
        [WEB],
        [claim(SECOND, is_ahead=True)],
        [],
        Said({PORT: f"not on {SECOND}: Docker takes tcp {SECOND}:22 by DNAT"}),
    ),
    "a doubt": (
        [WEB],
        [],
        [Doubt("46", PROTOCOLS, 0, 65535, "table ip site")],
        Said({PORT: "cannot tell whether table ip site takes port 22"}),
    ),
    "a doubt of a range": (
        [RANGE],
        [],
        [Doubt("4", ("tcp",), 25, 65535, "table ip site")],
        Said({PORTS: "cannot tell whether table ip site takes ports 25-30"}),
    ),
    "a doubt of others": (
        [WEB],
        [],
        [Doubt("6", PROTOCOLS, 0, 9, "t"), Doubt("4", ("udp",), 0, 99, "t")],
        Said(),
    ),
}


@pytest.mark.parametrize("what", TOLD)
def test_what_is_said(what: str) -> None:
    """Of what is in force, by where the rules stand."""
    lines, claims, doubts, said = TOLD[what]
    where = Endpoint(at("192.168.122.10"), [], "")
    desired = DesiredState(running(), parse_settings(lines), where)
    host = Host(network(), default_sources=[DEFAULT])

    found = ForeignOwners(Foreign(claims, doubts), host).say(desired)

    assert found == said
