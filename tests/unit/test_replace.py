"""import --replace: which rules it would take out, and what becomes of those that are
not the same any more."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from unit.builders import refusal
from unit.test_import_cases import known
from vfwhooks.cli.replace_rules import NOT_BY_RULES, Here, Source, replace_rules
from vfwhooks.config.schema import read_forwards
from vfwhooks.firewall.iptables_tools import Tools
from vfwhooks.foreign.dnat_rules_iptables import parse_nat
from vfwhooks.foreign.dnat_rules_nft import parse_table
from vfwhooks.foreign.named_rules import NamedRule
from vfwhooks.foreign.removal import take_out
from vfwhooks.host.netlink import Netlink
from vfwhooks.importers.imported import Found, Imported, Origin
from vfwhooks.importers.kept_copies import find_copies
from vfwhooks.importers.old_rules import (
    OldRule,
    find_accepts,
    find_old_rules,
    is_served,
    kept,
)
from vfwhooks.rulesets.ruleset_reader import read_ruleset
from vfwhooks.values.errors import Refused
from vfwhooks.values.foreign_claims import ForeignClaim

ADDRESS = "192.168.122.50"
SITE = "nft", "ip", "site", "pre"
HEAD = "table ip site {\n\tchain pre {\n\t\ttype nat hook prerouting priority -100;\n"
WEB1 = Imported(Origin("", ""), "web1", ADDRESS, "8080", "80")
ONLY = "allow_from: 198.51.100.0/24"
SOME = f"{{host_ip: '203.0.113.5', published: 8080, target: 80, {ONLY}}}"
ON_SIX = SOME.replace("203.0.113.5", "2001:db8::5").replace(
    "198.51.100.0/24", "fd00::/8"
)
# Beside a guest's line: whether it does all that web1's forward does.
GUESTS = {
    "web1: [8080:80]": True,
    "web1: {ports: [8080:80], address: 192.168.122.50}": True,
    "web1: {ports: [8080:80], address: 192.168.122.51}": False,
    "web1: [8079-8081:79-81]": True,
    "web1: [8079-8081:80-82]": False,
    "web1: [0.0.0.0:8080:80]": True,
    "web1: ['[::]:8080:80']": False,
    "web1: [203.0.113.5:8080:80]": False,
    "web1: [8080:80/udp]": False,
    "web1: [{published: 8080, target: 80, allow_from: 198.51.100.0/24}]": False,
    "mail: [8080:80]": False,
    f"web1: [8080:80]\n  mail: [{SOME}]": False,
    f"web1: [8080:80, {SOME}]": False,
    f"web1: [8080:80]\n  mail: [{SOME.replace('8080', '8081')}]": True,
    f"web1: [8080:80]\n  mail: [{ON_SIX}]": True,
    f"web1: [8080:80]\n  mail: {{public_ip: 203.0.113.5, {ONLY}}}": False,
    "web1: [8080:80]\n  mail: ['203.0.113.5:8080:80']": True,
}


def listed(*rules: str) -> str:
    """A live table with these rules."""
    lines = [f"\t\t{rule} # handle {n}\n" for n, rule in enumerate(rules, 1)]
    return f"{HEAD}{''.join(lines)}\t}}\n}}\n"


def rule(number: int, text: str) -> NamedRule:
    """A rule of that table."""
    return NamedRule(*SITE, str(number), text)


@pytest.mark.parametrize("line", GUESTS)
def test_is_served(line: str, tmp_path: Path) -> None:
    """A rule goes only where forwards.yaml does all that it does, for everybody."""
    main = tmp_path / "forwards.yaml"
    main.write_text(f"guests:\n  {line}\n")
    guests, problems = read_forwards(main)

    assert (problems, is_served(WEB1, guests)) == ([], GUESTS[line])


def test_old_rules(tmp_path: Path) -> None:
    """What does nothing but what is meant is old; what does more, or comes back by
    itself, stays with a reason, and what is not meant is not named at all."""
    main = tmp_path / "forwards.yaml"
    main.write_text("guests:\n  web1: [8080:80]\n")
    rules = (
        f"tcp dport 8080 dnat to {ADDRESS}:80",
        f"tcp dport {{ 8080, 8081 }} dnat to {ADDRESS}:80",
        "tcp dport 8080 dnat to 192.168.122.51:80",
    )
    text = listed(*rules) + listed(rules[0]).replace("site", "firewalld")

    found = find_old_rules(
        text, known(), lambda one: one.published == "8080", read_forwards(main)[0]
    )

    less = "forwards.yaml would not serve all that it serves"
    assert [(one.rule.table, one.rule.handle, one.why) for one in found] == [
        ("site", "1", ""),
        ("site", "2", less),
        ("site", "3", less),
        ("firewalld", "1", "firewalld has made it, and would make it anew"),
    ]


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"is_limited": False}, False),
        ({"host": None}, False),
        ({"host": IPv6Address("fd00::5")}, False),
        ({"protocol": "udp"}, False),
        ({"first": 8081, "last": 8090}, False),
        ({"first": 1, "last": 8090}, True),
    ],
)
def test_kept(changes: dict[str, Any], is_kept: bool) -> None:
    """A rule for every address stays where another one takes some of its clients on one
    address: ours leaves that one all of them."""
    host = IPv4Address("203.0.113.5")
    claim = ForeignClaim("4", host, "tcp", 8080, 8080, "X from Y by DNAT", False, True)
    old = OldRule(rule(1, ""), (WEB1,))

    found = kept(old, [replace(claim, **changes)]).why

    assert found == ("X from Y has some of its connections, and stays" * is_kept)


@pytest.mark.parametrize(
    ("way", "rule", "cure"),
    [
        ("", "tcp dport 8080 dnat ip to {}:80", "port=8080:proto=tcp:toport=80"),
        ("", "tcp dport 80 dnat ip to {}", "port=80:proto=tcp"),
        ('iifname "eth0" ', "udp dport 5 dnat ip to {}:6", "port=5:proto=udp:toport=6"),
        ("", "ip saddr 198.51.100.0/24 tcp dport 80 dnat ip to {}:80", ""),
    ],
)
def test_firewalld(way: str, rule: str, cure: str) -> None:
    """A zone's forward-port is named as firewall-cmd has it, whether the zone has
    interfaces or is for all the rest; a rich rule's is firewalld's to keep."""
    text = (
        "table inet firewalld {\n\tchain nat_PREROUTING {\n"
        "\t\ttype nat hook prerouting priority dstnat + 10; policy accept;\n"
        '\t\tiifname "virbr0" goto nat_PRE_libvirt # handle 1\n'
        f"\t\t{way}goto nat_PRE_public # handle 2\n\t}}\n"
        "\tchain nat_PRE_libvirt {\n\t}\n"
        "\tchain nat_PRE_public {\n\t\tjump nat_PRE_public_allow # handle 3\n\t}\n"
        "\tchain nat_PRE_public_allow {\n"
        f"\t\tmeta nfproto ipv4 {rule.format(ADDRESS)} # handle 4\n\t}}\n}}\n"
    )

    (found,) = find_old_rules(text, known(), lambda _: True, [])

    removed = f"--remove-forward-port={cure}:toaddr={ADDRESS}"
    whole = ("firewall-cmd", "--zone=public", removed) if cure else ()
    assert (found.rule.cure, bool(found.why)) == (whole, True)


def test_its_own_program() -> None:
    """A rule that a program keeps is taken out by its command; what is there after that
    is told."""
    own = NamedRule(*SITE, "1", "tcp dport 1 accept", ("firewall-cmd", "--x"))
    asked: list[list[str]] = []
    now = read_ruleset(listed("tcp dport 1 accept"), "")

    def run(argv: list[str], _: str = "") -> str:
        asked.append(argv)
        return ""

    tools = Tools(Netlink(), run, {})  # type: ignore[arg-type]  # it stands for the tool

    left = take_out([own], lambda: now, tools)

    assert (left, asked) == (
        {own: "it is still there after that"},
        [["firewall-cmd", "--x"]],
    )


def test_accepts() -> None:
    """An accept for a guest's address in a forward chain is named, if somebody has made
    it by hand."""
    rules = (
        f"-A FORWARD -d {ADDRESS}/32 -o virbr0 -j ACCEPT",
        f"-A FORWARD -d {ADDRESS}/32 -j DROP",
        "-A FORWARD -d 192.168.122.0/24 -o virbr0 -j ACCEPT",
        f"-A DOCKER-USER -d {ADDRESS}/32 -j ACCEPT",
        "-A FORWARD -j DOCKER-USER",
        f"-A INPUT -d {ADDRESS}/32 -j ACCEPT",
    )
    head = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:DOCKER-USER -\n"
    text = "\n".join([head, *rules, "COMMIT", ""])

    found = [one.command for one in find_accepts(text, {ADDRESS})]

    assert found == [f"iptables -t filter -D {rules[0][3:]}"]


def test_changed_meanwhile() -> None:
    """Only what is still the same is deleted, in one transaction; if the kernel refuses
    that, one by one, and what is refused is told."""
    same, other, refused = (rule(n, f"tcp dport {n} accept") for n in (1, 2, 3))
    scripts: list[str] = []

    def run(_: list[str], text: str = "") -> str:
        scripts.append(text)
        if "handle 3" in text:
            raise Refused("nft: no")
        return ""

    now = read_ruleset(listed("tcp dport 1 accept", "drop", "tcp dport 3 accept"), "")
    tools = Tools(Netlink(), run, {})  # type: ignore[arg-type]  # it stands for nft
    left = take_out([same, other, refused], lambda: now, tools)

    one, three = (f"delete rule ip site pre handle {n}\n" for n in (1, 3))
    assert left == {other: "it is not there any more as it was", refused: "nft: no"}
    assert scripts == [one + three, one, three]


def test_listings_without() -> None:
    """Named rules count as gone; all others stay, in other tables and chains too."""
    saved = "*nat\n-A PREROUTING -p tcp\n-A OUTPUT -p tcp\nCOMMIT\n"
    drop = {"family": "ip", "chain": "pre", "handle": 1, "expr": [{"drop": None}]}
    by_nft = {
        name: json.dumps({"nftables": [{"rule": {**drop, "table": name}}]})
        for name in ("site", "other")
    }
    gone = {
        rule(1, "x").place,
        NamedRule("iptables", "ip", "nat", "PREROUTING", "", "-p tcp").place,
    }

    found = [
        parse_nat(saved, "4", gone=gone),
        parse_nat(saved, "6", gone=gone),
        parse_nat(saved, "4", tool="iptables-legacy", gone=gone),
        parse_table(by_nft["site"], gone),
        parse_table(by_nft["other"], gone),
    ]

    counts = [[len(rules) for rules in chains.values()] for chains in found]
    assert counts == [[0, 1], [1, 1], [1, 1], [0], [1]]


def test_copies(tmp_path: Path) -> None:
    """Files that are loaded at boot are read as what they are, and a script of nft's
    by its words."""
    for name, text in {
        "etc/iptables/rules.v4": "*nat\n:PREROUTING ACCEPT\n-A PREROUTING -p tcp "
        f"--dport 8080 -j DNAT --to-destination {ADDRESS}:80\nCOMMIT\n",
        "etc/nftables.conf": f"define web = x\n# dnat to {ADDRESS}\n"
        f"add rule ip site pre tcp dport 8080 dnat to {ADDRESS}:80\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    found = [one.where for one in find_copies([WEB1], root=str(tmp_path))]

    assert found == [
        f"{tmp_path}/etc/iptables/rules.v4:3:1",
        f"{tmp_path}/etc/nftables.conf:3",
    ]


@pytest.mark.parametrize("kind", NOT_BY_RULES)
def test_no_rules_of_its_own(kind: str, tmp_path: Path) -> None:
    """Where a program makes its rules anew, or has none, it is told what ends them."""
    source = Source(kind, Found(), f"it ({kind})", None)
    here = Here(tmp_path / "forwards.yaml", str(tmp_path), known())

    found = refusal(replace_rules, source, here, None, True)

    said = f"--replace takes no rules out for it ({kind}) ({NOT_BY_RULES[kind]})"
    assert (found, [*tmp_path.iterdir()]) == (said, [])
