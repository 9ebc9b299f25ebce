"""dnat_rules, and its two readers: what rules of others take.

tests/cases/dnats has rules, how the kernel's tools list them, and what is found there;
e2e/test_foreign_rules.py gives the rules to the kernel.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from unit.builders import CHECKOUT, addresses
from vfwhooks.foreign.claimed_ports import Doubt, Own, find_claims
from vfwhooks.foreign.dnat_rules import LAST, Match, find_taken
from vfwhooks.foreign.dnat_rules_iptables import (
    PREROUTING,
    owner_of,
    parse_nat,
    place_of_ours,
)
from vfwhooks.foreign.dnat_rules_nft import parse_table
from vfwhooks.store.entry_text import format_host
from vfwhooks.values.foreign_claims import ForeignClaim

CASES = sorted(path.name for path in (CHECKOUT / "tests/cases/dnats").iterdir())
ADDRESSES = addresses("203.0.113.1", "203.0.113.5", "2001:db8::1")
OWN = Own(ADDRESSES, lambda address: address in ADDRESSES)


def in_words(found: list[ForeignClaim], doubts: list[Doubt]) -> str:
    """A line each, as in the file `found` of a case."""
    lines = [
        f"{one.family} {host} {one.protocol} {_ports(one)} {one.whose}\n"
        for one in found
        for host in [format_host(one.host)]
    ]
    lines += [
        f"? {one.families} {','.join(one.protocols)} {_ports(one)} {one.where}\n"
        for one in doubts
    ]
    return "".join(lines)


def _ports(one: ForeignClaim | Doubt) -> str:
    return f"{one.first}" + (f"-{one.last}" if one.last > one.first else "")


def read(listed: str, family: str = "4", own: Own = OWN, by_nft: str = "") -> str:
    """What is found in a table as it is listed; iptables' table `by_nft` too."""
    found: list[ForeignClaim] = []
    doubts: list[Doubt] = []
    if listed.startswith("{"):
        chains = parse_table(listed)
        items = json.loads(listed)["nftables"]
        bases = [i["chain"] for i in items if i.get("chain", {}).get("type") == "nat"]
        base = next(one for one in bases if one["hook"] == "prerouting")
        where = f"table {base['family']} {base['table']}"
        name = base["name"]
    else:
        chains, where = parse_nat(listed, family, by_nft), "iptables nat"
        name = PREROUTING
    for one in find_taken(chains, name, own.has):
        whose = f"{where}, chain {one.path[-1]}"
        if name == PREROUTING:
            whose = owner_of(one.path, "iptables")
        claims, unknown = find_claims(one, own, whose, where, False)
        found += claims
        doubts += unknown
    return in_words(found, doubts)


@pytest.mark.parametrize("case", CASES)
def test_what_rules_take(case: str) -> None:
    """Recorded rules: everything that is taken, in the order it is asked, and what
    nobody can tell."""
    directory = CHECKOUT / "tests/cases/dnats" / case

    found = read((directory / "listed").read_text())

    assert found == (directory / "found").read_text()


NAT = "*nat\n:PREROUTING ACCEPT [0:0]\n:MORE - [0:0]\n"
TO = "-j DNAT --to-destination 10.0.0.1"
LINES = {
    # lines of iptables-save, what is found
    "a comment like a jump": (
        f'-A PREROUTING -p tcp -m comment --comment "x -j MORE" --dport 5 {TO}\n',
        "4 * tcp 5 iptables nat PREROUTING by DNAT\n",
    ),
    "an unfinished quote": (
        f'-A PREROUTING -p tcp -m comment --comment "x --dport 5 {TO}\n',
        "? 4 tcp,udp,sctp 0-65535 iptables nat\n",
    ),
    "a negation as of old": (
        f"-A PREROUTING -d ! 203.0.113.1 -p tcp -m tcp --dport 5 {TO}\n",
        "4 203.0.113.5 tcp 5 iptables nat PREROUTING by DNAT\n",
    ),
    "all but somebody else's address": (
        f"-A PREROUTING ! -d 198.51.100.1/32 -p tcp -m tcp --dport 5 {TO}\n",
        "4 * tcp 5 iptables nat PREROUTING by DNAT\n",
    ),
    "somebody else's address": (
        f"-A PREROUTING -d 198.51.100.1/32 -p tcp -m tcp --dport 5 {TO}\n",
        "",
    ),
    "a mask with holes": (
        f"-A PREROUTING -d 203.0.0.1/255.0.255.255 -p tcp --dport 5 {TO}\n",
        "? 4 tcp 5 iptables nat\n",
    ),
    "a subnet": (
        f"-A PREROUTING -d 203.0.113.0/255.255.255.252 -p 6 --dport 5 {TO}\n",
        "4 203.0.113.1 tcp 5 iptables nat PREROUTING by DNAT\n",
    ),
    "another protocol": (f"-A PREROUTING -p icmp {TO}\n", ""),
    "no protocol but one": (
        f"-A PREROUTING ! -p tcp {TO}\n",
        "4 * udp 0-65535 iptables nat PREROUTING by DNAT\n"
        "4 * sctp 0-65535 iptables nat PREROUTING by DNAT\n",
    ),
    "an open end": (
        f"-A PREROUTING -p udp -m udp --dport 65000: {TO}\n",
        "4 * udp 65000-65535 iptables nat PREROUTING by DNAT\n",
    ),
    "answers alone": (
        f"-A PREROUTING -p tcp -m conntrack --ctstate ESTABLISHED --dport 5 {TO}\n",
        "",
    ),
    "a set": (
        f"-A PREROUTING -p tcp -m set --match-set s dst -m tcp --dport 5 {TO}\n",
        "? 4 tcp 5 iptables nat\n",
    ),
    "a target that is not known": (
        "-A PREROUTING -p tcp -m tcp --dport 5 -j ELSEWHERE\n",
        "? 4 tcp 5 iptables nat\n",
    ),
    "a chain that is gone to": (
        "-A PREROUTING -p tcp -g MORE\n"
        f"-A PREROUTING -p tcp -m tcp --dport 6 {TO}\n"
        "-A PREROUTING -p udp -m udp --dport 6 -j NETMAP --to 10.0.0.0/24\n"
        "-A MORE -p tcp -m tcp --dport 5 -j REDIRECT\n",
        "4 * tcp 5 iptables nat MORE by REDIRECT\n"
        "4 * udp 6 iptables nat PREROUTING by NETMAP\n",
    ),
    "what is let by for somebody": (
        "-A PREROUTING -s 10.0.0.0/8 -p tcp -m tcp --dport 5 -j RETURN\n"
        f"-A PREROUTING -p tcp -m tcp --dport 5 {TO}\n",
        "4 * tcp 5 iptables nat PREROUTING by DNAT\n",
    ),
    "what is let by on an address": (
        "-A PREROUTING -d 203.0.113.1/32 -p tcp -m tcp --dport 5 -j RETURN\n"
        f"-A PREROUTING -d 203.0.113.1/32 -p tcp -m tcp --dport 5:6 {TO}\n"
        f"-A PREROUTING -p tcp -m tcp --dport 5 {TO}\n",
        "4 203.0.113.1 tcp 6 iptables nat PREROUTING by DNAT\n"
        "4 * tcp 5 iptables nat PREROUTING by DNAT\n",
    ),
    "what a chain ends the way of": (
        "-A PREROUTING -i eth0 -j MORE\n-A PREROUTING -j MORE\n"
        "-A MORE -p tcp -m tcp --dport 5 -j ACCEPT\n"
        f"-A PREROUTING -p tcp -m tcp --dport 5:6 {TO}\n",
        "4 * tcp 6 iptables nat PREROUTING by DNAT\n",
    ),
    "what a chain ends the way of for some": (
        "-A PREROUTING -i eth0 -j MORE\n"
        "-A MORE -p tcp -m tcp --dport 5 -j ACCEPT\n"
        f"-A MORE -p tcp -m tcp --dport 5:6 {TO}\n"
        f"-A PREROUTING -p tcp -m tcp --dport 5 {TO}\n",
        "4 * tcp 6 iptables nat MORE on eth0 by DNAT\n"
        "4 * tcp 5 iptables nat PREROUTING by DNAT\n",
    ),
    "what leaves a chain before it ends the way": (
        "-A PREROUTING -p tcp -j MORE\n"
        "-A MORE -p tcp -m tcp --dport 5 -j RETURN\n"
        "-A MORE -j ACCEPT\n"
        f"-A PREROUTING -p tcp -m tcp --dport 5:6 {TO}\n"
        f"-A PREROUTING -p udp -m udp --dport 6 {TO}\n",
        "4 * tcp 5 iptables nat PREROUTING by DNAT\n"
        "4 * udp 6 iptables nat PREROUTING by DNAT\n",
    ),
    "what may leave a chain before it ends the way": (
        "-A PREROUTING -j MORE\n"
        "-A MORE -s 10.0.0.0/8 -j RETURN\n"
        "-A MORE -j ACCEPT\n"
        f"-A PREROUTING -p tcp -m tcp --dport 5 {TO}\n",
        "4 * tcp 5 iptables nat PREROUTING by DNAT\n",
    ),
    "ours": (
        f":VFW-PREROUTING - [0:0]\n-A PREROUTING -j VFW-PREROUTING\n"
        f"-A VFW-PREROUTING -p tcp -m tcp --dport 5 {TO}\n",
        "",
    ),
    "a ring": (
        "-A PREROUTING -p tcp -m tcp --dport 5 -j MORE\n-A MORE -j MORE\n",
        "? 4 tcp 5 iptables nat\n",
    ),
}


@pytest.mark.parametrize("what", LINES)
def test_lines_of_iptables(what: str) -> None:
    """Every form that is read, and what is only named."""
    lines, found = LINES[what]

    assert read(f"{NAT}{lines}COMMIT\n") == found


def test_another_family() -> None:
    """The address of a rule says nothing of the other family."""
    lines = f"-A PREROUTING -d 2001:db8::1/128 -p tcp -m tcp --dport 5 {TO}\n"

    found = read(f"{NAT}{lines}COMMIT\n", "6")

    assert found == "6 2001:db8::1 tcp 5 iptables nat PREROUTING by DNAT\n"


XT: list[dict[str, Any]] = [
    {"xt": {"type": "match", "name": "addrtype"}},
    {"jump": {"target": "DOCKER"}},
]
TCP = {"payload": {"protocol": "tcp", "field": "dport"}}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
BOTH = {"set": ["192.0.2.1", "192.0.2.2"]}
INCOMPATIBLE = "# Table `nat' is incompatible, use 'nft' tool.\n"
DOCKERS = [
    ":DOCKER - [0:0]",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    f"-A DOCKER -p tcp -m tcp --dport 8080 {TO}",
    "COMMIT",
    "",
]
SAVED = NAT + "-A PREROUTING -j RETURN\n" + "\n".join(DOCKERS)
DNATS: list[dict[str, Any]] = [
    {"match": {"op": "==", "left": TCP, "right": 9090}},
    {"dnat": {"addr": "10.0.0.1"}},
]
RETURNS: list[dict[str, Any]] = [
    {"match": {"op": "==", "left": SADDR, "right": BOTH}},
    {"return": None},
]
NATIVE: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    # a rule of nft ahead of Docker's, what iptables-save prints then, what is found
    "a rule that iptables cannot read": (
        DNATS,
        INCOMPATIBLE,
        "4 * tcp 9090 iptables nat PREROUTING by DNAT\n? 4 tcp 8080 iptables nat\n",
    ),
    "iptables-save fails, or is not there": (
        DNATS,
        "",
        "4 * tcp 9090 iptables nat PREROUTING by DNAT\n? 4 tcp 8080 iptables nat\n",
    ),
    "a set that iptables does not show": (
        RETURNS,
        SAVED,
        "4 * tcp 8080 Docker (iptables nat DOCKER) by DNAT\n",
    ),
}


@pytest.mark.parametrize("what", NATIVE)
def test_a_rule_of_nft_in_the_table_of_iptables(what: str) -> None:
    """It hides no rule of iptables: what iptables-save does not tell, nft's list does,
    and what neither tells is a doubt about the ports in question."""
    native, saved, expected = NATIVE[what]
    dnat = [
        {"match": {"op": "==", "left": TCP, "right": 8080}},
        {"xt": {"type": "target", "name": "DNAT"}},
    ]
    place = {"family": "ip", "table": "nat"}
    base = {"type": "nat", "hook": "prerouting", "prio": -100}
    items = [
        {"chain": {**place, "name": "PREROUTING", **base}},
        {"chain": {**place, "name": "DOCKER"}},
        {"rule": {**place, "chain": "PREROUTING", "expr": native}},
        {"rule": {**place, "chain": "PREROUTING", "expr": XT}},
        {"rule": {**place, "chain": "DOCKER", "expr": dnat}},
    ]

    found = read(saved, by_nft=json.dumps({"nftables": items}))

    assert found == expected


def test_a_rule_stands_where_the_way_to_it_begins() -> None:
    """By the rule of the base chain that leads there, however deep it is."""
    chains = parse_nat(
        f"{NAT}-A PREROUTING -p icmp -j ACCEPT\n-A PREROUTING -j MORE\n"
        f"-A PREROUTING -p udp {TO}\n-A MORE -p tcp -j LOG\n-A MORE -p tcp {TO}\n",
        "4",
    )

    found = [one.number for one in find_taken(chains, PREROUTING, OWN.has)]

    assert found == [1, 2]


def test_which_rules_stand_ahead_of_ours() -> None:
    """By the number of ours; before it is there, all of them do."""
    lines = f"{NAT}:VFW-PREROUTING - [0:0]\n-A PREROUTING -p tcp -g MORE\n"
    ours = "-A PREROUTING -m addrtype --dst-type LOCAL -j VFW-PREROUTING\n"
    behind = f"-A PREROUTING {TO}\n"

    places = [
        place_of_ours(parse_nat(text, "4"))
        for text in (lines + ours + behind, lines + behind)
    ]

    assert places == [2, 3]


EXPRESSIONS: dict[str, tuple[list[dict[str, Any]], str]] = {
    # expressions of a rule of nft's ahead of `redirect`, what is found
    "a named interface": (
        [
            {
                "op": "==",
                "left": {"meta": {"key": "iifname"}},
                "right": {"set": ["a", "b"]},
            }
        ],
        "{0} on a, b by REDIRECT",
    ),
    "a set of interfaces": (
        [{"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "@lan"}],
        "{0} on @lan by REDIRECT",
    ),
    "a comparison of what is joined": (
        [{"op": "==", "left": {"concat": []}, "right": {"set": []}}],
        "? {1}",
    ),
    "a kind of address that is not this host's": (
        [
            {
                "op": "==",
                "left": {"fib": {"result": "type", "flags": ["daddr"]}},
                "right": "unicast",
            }
        ],
        "",
    ),
    "a look by the interface": (
        [
            {
                "op": "==",
                "left": {"fib": {"result": "type", "flags": ["daddr", "iif"]}},
                "right": "local",
            }
        ],
        "? {1}",
    ),
    "a look at what was asked for first": (
        [
            {
                "op": "==",
                "left": {"ct": {"key": "ip daddr", "dir": "original"}},
                "right": "203.0.113.9",
            }
        ],
        "? {1}",
    ),
    "an operation that is not known": (
        [{"op": "~", "left": {"meta": {"key": "iif"}}, "right": 1}],
        "? {1}",
    ),
}


@pytest.mark.parametrize("what", EXPRESSIONS)
def test_expressions_of_nft(what: str) -> None:
    """Those that the recorded rules do not have."""
    matches, found = EXPRESSIONS[what]
    port = {"payload": {"protocol": "tcp", "field": "dport"}}
    some = [*matches, {"op": "==", "left": port, "right": 5}]
    about = {"family": "ip", "table": "t"}
    hook = {"name": "c", "type": "nat", "hook": "prerouting", "prio": -90}
    rule: list[object] = [{"match": one} for one in some]
    rule.append({"redirect": None})
    items = [
        {"chain": {**about, **hook}},
        {"rule": {**about, "chain": "c", "expr": rule}},
    ]

    said = read(json.dumps({"nftables": items}))

    where = "4 * tcp 5 table ip t, chain c", "4 tcp 5 table ip t"
    assert said == (found.format(*where) + "\n" if found else "")


def test_a_limit_by_client() -> None:
    """A drop of what is over a limit leaves what stands behind it."""
    about = {"family": "ip", "table": "t"}
    hook = {"name": "c", "type": "nat", "hook": "prerouting", "prio": -90}
    client = {"payload": {"protocol": "ip", "field": "saddr"}}
    limit = {"limit": {"rate": 50, "per": "second", "inv": True}}
    over = {"set": {"op": "add", "elem": client, "set": "@m", "stmt": [limit]}}
    port = {"payload": {"protocol": "tcp", "field": "dport"}}
    match = {"match": {"op": "==", "left": port, "right": 5}}
    rules = [over, {"drop": None}], [match, {"redirect": None}]
    items: list[object] = [{"chain": {**about, **hook}}]
    items += [{"rule": {**about, "chain": "c", "expr": rule}} for rule in rules]

    found = read(json.dumps({"nftables": items}))

    assert found == "4 * tcp 5 table ip t, chain c by REDIRECT\n"


def test_a_rule_too_many() -> None:
    """Rules that lead everywhere end the reading, and are named."""
    chains = [f":C{n} - [0:0]\n" for n in range(19)]
    jumps = [f"-A C{n} -j C{n + 1}\n" * 3 for n in range(18)]
    text = NAT + "".join(chains) + "-A PREROUTING -p tcp -j C0\n" + "".join(jumps)

    found = read(f"{text}-A C18 {TO}\nCOMMIT\n", own=Own([], lambda _: False))

    assert "? 4 tcp 0-65535 iptables nat\n" in found


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (Match("4"), Match("46"), Match("4")),
        (Match("4"), Match("6"), None),
        (
            Match(ports=((5, 9),)),
            Match(ports=((0, 4), (9, LAST))),
            Match(ports=((9, 9),)),
        ),
        (Match(ports=((5, 9),)), Match(ports=((0, 4),)), None),
        (Match(protocols=("tcp",)), Match(protocols=("udp",)), None),
    ],
)
def test_both_at_once(one: Match, other: Match, both: Match | None) -> None:
    """What two conditions leave."""
    assert one.also(other) == both
