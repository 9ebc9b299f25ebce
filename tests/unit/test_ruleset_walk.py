"""The way of a packet through a ruleset, computed.

e2e/test_explain.py compares what is computed with real connections.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from unit.builders import CHECKOUT
from vfwhooks.rulesets.packet import Packet
from vfwhooks.rulesets.ruleset import Chain, Rule, Ruleset, Table
from vfwhooks.rulesets.ruleset_reader import load_ruleset, read_ruleset
from vfwhooks.rulesets.walk import Host, Traversal, pass_hook, walk

CASES = CHECKOUT / "tests/cases"
OWN = ("203.0.113.1", "192.168.122.1", "2001:db8::1")
BRIDGES = {"192.168.122.10": "virbr0", "fd00:122::10": "virbr0"}
HOST = Host(lambda address: address in OWN, lambda address: BRIDGES.get(address, ""))
WEB = Packet("ip", "tcp", "203.0.113.1", 8080, incoming="eth0")
TO_GUEST = Packet(
    "ip",
    "tcp",
    "192.168.122.10",
    80,
    incoming="eth0",
    outgoing="virbr0",
    is_local=False,
)
GUEST, GUEST6 = "192.168.122.10:80", "fd00:122::10:80"


def ends(way: Traversal) -> tuple[str, str]:
    """How it ended, and where the packet was going."""
    return way.end, f"{way.packet.destination}:{way.packet.port}"


def said(way: Traversal) -> list[tuple[str, str, str]]:
    """Hook, chain and verdict of each step."""
    return [(one.hook, one.chain.name, one.did) for one in way.steps]


def save(*rules: str, policy: str = "ACCEPT") -> Ruleset:
    """These rules in FORWARD, and a chain OTHER that drops UDP."""
    lines = "".join(f"-A FORWARD {rule}\n" for rule in rules)
    head = f"*filter\n:FORWARD {policy} [0:0]\n:OTHER - [0:0]\n"
    return read_ruleset(f"{head}{lines}-A OTHER -p udp -j DROP\nCOMMIT\n", "it")


def listed(rules: str, more: str = "") -> Ruleset:
    """These rules of nft's on the hook forward."""
    head = "type filter hook forward priority filter; policy accept;"
    return read_ruleset(
        f"table inet t {{\n{more}\nchain c {{\n{head}\n{rules}\n}}\n}}\n", "it"
    )


@pytest.mark.parametrize("file", ["nftables.nft", "nftables.json", "iptables.save"])
@pytest.mark.parametrize(
    ("packet", "end"),
    [
        (WEB, ("accept", GUEST)),
        (replace(WEB, protocol="udp", port=53), ("accept", "192.168.122.10:53")),
        (replace(WEB, protocol="udp", port=5003), ("accept", "192.168.122.10:5003")),
        (replace(WEB, port=81), ("accept", "203.0.113.1:81")),
        (replace(WEB, port=2222), ("reject", "203.0.113.1:2222")),
        (
            replace(WEB, port=2222, source="203.0.113.9"),
            ("accept", "192.168.122.10:22"),
        ),
        (
            replace(WEB, destination="192.168.122.1", port=53, protocol="udp"),
            ("accept", "192.168.122.1:53"),
        ),
        (replace(WEB, destination="192.168.122.10", port=80), ("reject", GUEST)),
    ],
)
def test_the_way_to_a_guest(file: str, packet: Packet, end: tuple[str, str]) -> None:
    """What is published leads to the guest and is let in, with its source ranges and
    its exceptions; libvirt rejects what is not published."""
    ruleset = load_ruleset(CASES / "rulesets" / file)

    assert ends(walk(ruleset, packet, HOST)) == end


def test_ipv6_has_its_own_rules() -> None:
    """A rule about IPv4's addresses is none for it."""
    ruleset = load_ruleset(CASES / "rulesets/nftables.nft")

    way = walk(ruleset, Packet("ip6", "tcp", "2001:db8::1", 8080), HOST)

    assert (ends(way), said(way)) == (
        ("accept", GUEST6),
        [
            ("prerouting", "publish6", "dnat"),
            ("forward", "vfwhooks", "accept"),
            ("postrouting", "postrouting", "snat"),
        ],
    )


def test_rules_left_out() -> None:
    """Without the rules of one program another one's verdict is what counts."""
    ruleset = load_ruleset(CASES / "rulesets/nftables.nft")
    packet = replace(TO_GUEST, states=("new", "dnat"))

    def is_ours(_: Table, chain: Chain, rule: Rule) -> bool:
        return "vfwhooks" in (chain.name, rule.verdict.target)

    found = [
        said(pass_hook(ruleset, "forward", packet, skip)) for skip in (None, is_ours)
    ]

    assert found == [
        [("forward", "vfwhooks", "accept")],
        [("forward", "guest_input", "reject")],
    ]


@pytest.mark.parametrize("name", ["xen-default", "xen-vm-running", "kvm-fedora13"])
def test_recorded_hosts_reject_connections_from_outside(name: str) -> None:
    """The physdev rule of the Xen host lets nobody in: a packet to the guest is
    rejected ahead of it, and would not match it."""
    ruleset = load_ruleset(CASES / "explain" / name / "ruleset")

    way = pass_hook(ruleset, "forward", TO_GUEST)

    assert [(str(step), step.did) for step in way.steps] == [
        (
            "line 19 of ip filter, chain FORWARD: -o virbr0 -j REJECT --reject-with "
            "icmp-port-unreachable",
            "reject",
        )
    ]


@pytest.mark.parametrize(
    ("packet", "place"),
    [
        ({"source": "192.168.122.10", "incoming": "virbr0"}, "line 17"),
        ({"source": "10.0.0.9", "incoming": "virbr0"}, "line 20"),
        ({"source": "10.0.0.9", "incoming": "virbr0", "outgoing": "virbr0"}, "line 18"),
    ],
)
def test_the_guest_of_the_xen_host(packet: dict[str, str], place: str) -> None:
    """What it sends meets libvirt's rules, as explain says; none of it gets to the
    physdev rule."""
    ruleset = load_ruleset(CASES / "explain/xen-vm-running/ruleset")
    sent = Packet("ip", "tcp", "198.51.100.1", 80, is_local=False, outgoing="eth0")

    way = pass_hook(ruleset, "forward", replace(sent, **packet))  # type: ignore[arg-type]  # names of fields

    assert [step.rule.place for step in way.steps if step.rule] == [place]


@pytest.mark.parametrize(
    ("rules", "end"),
    [
        (["-j OTHER", "-j ACCEPT"], "accept"),
        (["-g OTHER", "-j DROP"], "accept"),
        (["-j RETURN", "-j DROP"], "accept"),
        (["-p tcp -m tcp --dport 70:90 -j REJECT"], "reject"),
        (["-p tcp -m tcp ! --dport 70:90 -j DROP"], "accept"),
        (["-s 10.0.0.0/8 -j DROP"], "accept"),
        (["! -s 10.0.0.0/8 -j DROP"], "drop"),
        (["-i eth+ -o virbr0 -j DROP"], "drop"),
        (["-m conntrack --ctstate RELATED,ESTABLISHED -j DROP"], "accept"),
        (["-j LOG", "-m limit --limit 1/s -j LOG", "-j DROP"], "drop"),
        (["-p udp -m limit --limit 1/s -j DROP"], "accept"),
        (["-j MARK --set-xmark 0x1/0x1", "-j DROP"], "drop"),
    ],
)
def test_what_a_chain_does(rules: list[str], end: str) -> None:
    """Jumps come back, gotos do not; the rest is the policy's."""
    assert pass_hook(save(*rules), "forward", TO_GUEST).end == end


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("-m limit --limit 1/s -j ACCEPT", "-m limit --limit 1/s"),
        ("-m mark --mark 0x1 -j DROP", "--mark 0x1"),
        ("-m physdev --physdev-in vif1.0 -j DROP", "--physdev-in vif1.0"),
        ("-p tcp -m tcp --sport 1:1023 -j DROP", "--sport 1:1023"),
        ("-j NFQUEUE --queue-num 1", "a program (queue)"),
        ("-j TPROXY --on-port 1", "TPROXY --on-port 1"),
    ],
)
def test_nothing_is_guessed(rule: str, what: str) -> None:
    """A condition that nobody can tell ends the way, also where the policy is known."""
    way = pass_hook(save(rule, policy="DROP"), "forward", TO_GUEST)

    assert (way.end, way.depends) == ("depends", what)


@pytest.mark.parametrize(
    ("rules", "more", "end"),
    [
        ("meta l4proto . th dport vmap { tcp . 80 : drop }", "", "drop"),
        ("tcp dport vmap { 1-1023 : drop, 9000-9010 : accept }", "", "drop"),
        ("tcp dport vmap { 79 : accept, * : drop }", "", "drop"),
        ("tcp dport vmap { 80 : accept, * : drop }", "", "accept"),
        ("tcp dport vmap @m", "map m {\nelements = { * : drop }\n}", "drop"),
        ('iifname vmap { "lo" : drop, "eth0" : jump x }', "", "drop"),
        ("ip daddr vmap { 192.168.122.0/24 : drop }", "", "drop"),
        ("ip6 daddr vmap { fe80::1 : drop, fd00::/8 : drop }", "", "accept"),
        ("meta protocol vmap { ip6 : accept, ip : drop }", "", "drop"),
        ("ct state vmap { established : accept, new : drop }", "", "drop"),
        ("tcp sport vmap { 80 : drop }", "", "depends"),
        ("tcp dport vmap { 79 : accept, 80 : drop }", "", "drop"),
        ("tcp dport vmap { 79 : drop, 81 : goto x }", "", "accept"),
        (
            "ip daddr . tcp dport @s drop",
            "set s {\nelements = { 192.168.122.0/24 . 70-90 }\n}",
            "drop",
        ),
        ("ip daddr != @s drop", "set s {\nelements = { 192.168.122.10 }\n}", "accept"),
        ("ip6 daddr != ::1 drop", "", "accept"),
        ("tcp dport vmap @m", "map m {\nelements = { 80 : jump x }\n}", "drop"),
        ("tcp dport vmap @m", "map m {\nelements = { 81 : drop }\n}", "accept"),
        ("tcp dport @gone drop", "", "depends"),
        ("jump gone", "", "depends"),
        ("ct mark & 1 vmap { 1 : drop }", "", "depends"),
        (
            "ct mark & 1 vmap { 1 : goto idle }",
            "chain idle {\nmeta mark set 0x1\n}",
            "accept",
        ),
        (
            "ct mark & 1 vmap { 1 : goto idle }\ndrop",
            "chain idle {\nmeta mark set 0x1\n}",
            "depends",
        ),
        ("ct mark & 1 jump x", "", "depends"),
        ("fib daddr type local drop", "", "accept"),
        ("ct status dnat drop", "", "accept"),
        ("ct direction original drop", "", "drop"),
        ("jump loop", "chain loop {\njump loop\n}", "depends"),
        ("add @s { ip saddr }\ndrop", "", "drop"),
        ("add @s { ip saddr limit rate over 5/second } drop", "", "depends"),
        ("update @s { ip saddr limit rate over 5/second }\ndrop", "", "drop"),
        ("ct original ip daddr 203.0.113.1 drop", "", "depends"),
        ("ct reply ip saddr 10.0.0.0/8 drop", "", "depends"),
        ("tcp dport 80 ipsec in spnum 1 ip saddr 10.0.0.1 drop", "", "depends"),
        ("vxlan tcp dport 81 drop", "", "depends"),
        (
            "meta l4proto . ip daddr . th dport @s drop",
            "set s {\nelements = { tcp . 192.168.122.10 . 80 }\n}",
            "drop",
        ),
    ],
)
def test_sets_maps_and_verdict_maps(rules: str, more: str, end: str) -> None:
    """As the kernel looks them up."""
    ruleset = listed(rules, f"{more}\nchain x {{\ndrop\n}}")

    assert pass_hook(ruleset, "forward", TO_GUEST).end == end


@pytest.mark.parametrize(
    ("rule", "family", "end"),
    [
        ("ip saddr 0.0.0.0/0 drop", "ip", "drop"),
        ("ip saddr != 0.0.0.0/0 drop", "ip", "accept"),
        ("ip saddr 0.0.0.0-255.255.255.255 drop", "ip", "drop"),
        ("ip saddr 0.0.0.0/1 drop", "ip", "accept"),
        ("ip saddr @all drop", "ip", "drop"),
        ("ip saddr vmap @ends", "ip", "drop"),
        ("ip saddr vmap @ends", "ip6", "accept"),
        ("ip saddr 0.0.0.0/0 drop", "ip6", "accept"),
        ("ip6 saddr ::/0 drop", "ip6", "drop"),
        ("iifname . ip6 saddr @on drop", "ip6", "drop"),
        ("iifname . ip6 saddr @on drop", "ip", "accept"),
    ],
)
def test_a_range_of_all_addresses(rule: str, family: str, end: str) -> None:
    """Everybody is in it, also the client that no rule names."""
    sets = (
        "set all {\nelements = { 0.0.0.0/0 }\n}\n"
        "map ends {\nelements = { 0.0.0.0/0 : drop }\n}\n"
        'set on {\nelements = { "eth0" . ::/0 }\n}'
    )
    packet = replace(TO_GUEST, family=family)

    assert pass_hook(listed(rule, sets), "forward", packet).end == end


@pytest.mark.parametrize("flags", ["", "dormant", ["dormant", "owner"]])
def test_a_dormant_table(flags: str | list[str]) -> None:
    """The kernel does not call its chains. JSON has one flag, or a list of them."""
    text = (
        "table inet t {\n\tflags dormant\n\n\tchain c {\n"
        "type filter hook forward priority filter; policy drop;\n\t}\n}\n"
    )
    if flags:
        place = {"type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}
        chain = {"family": "inet", "table": "t", "name": "c", **place}
        table = {"family": "inet", "name": "t", "flags": flags}
        text = json.dumps({"nftables": [{"table": table}, {"chain": chain}]})

    assert pass_hook(read_ruleset(text, "it"), "forward", TO_GUEST).end == "accept"


def test_an_accept_ends_one_base_chain_only() -> None:
    """Each base chain of a hook has to let a packet through, in their order."""
    late, early = (
        read_ruleset(
            f"table ip {name} {{\nchain c {{\n"
            f"type filter hook forward priority {at}; policy {policy};\n"
            f"{rule}\n}}\n}}\n",
            "it",
        )
        for name, at, policy, rule in (
            ("late", "filter + 10", "drop", "tcp dport 81 accept"),
            ("early", "-5", "accept", "accept"),
        )
    )
    late.join(early)

    assert said(pass_hook(late, "forward", TO_GUEST)) == [
        ("forward", "c", "accept"),
        ("forward", "c", "drop"),
    ]


@pytest.mark.parametrize(
    ("rule", "to"),
    [
        (
            "-p tcp --dport 8080 -j DNAT --to-destination 10.0.0.1:80",
            "10.0.0.1:80",
        ),
        ("-j DNAT --to-destination 10.0.0.1", "10.0.0.1:8080"),
        ("-j DNAT --to-destination 10.0.0.1:8000-8100", "10.0.0.1:8080"),
        ("-p tcp -j REDIRECT --to-ports 3128", "203.0.113.1:3128"),
        ("-p tcp -j REDIRECT", "203.0.113.1:8080"),
        ("-d 203.0.113.1 -j ACCEPT", "203.0.113.1:8080"),
    ],
)
def test_a_translation(rule: str, to: str) -> None:
    """Of the first that matches; the port is kept unless another one is told."""
    second = "-A PREROUTING -d 203.0.113.1 -p udp -j DNAT --to-destination 10.9.9.9"
    text = f"*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING {rule}\n{second}\nCOMMIT\n"

    assert ends(walk(read_ruleset(text, "it"), WEB, HOST)) == ("accept", to)


@pytest.mark.parametrize(
    ("packet", "to"),
    [
        (WEB, "10.0.0.1:80"),
        (replace(WEB, port=81), "203.0.113.1:81"),
        (replace(WEB, protocol="udp"), "203.0.113.1:8080"),
    ],
)
def test_a_translation_by_a_map(packet: Packet, to: str) -> None:
    """Only what the map has is translated, and only of the protocol of its key."""
    rule = "dnat ip to tcp dport map { 8080 : 10.0.0.1 . 80 }"
    head = "type nat hook prerouting priority dstnat; policy accept;"
    text = f"table ip t {{\nchain c {{\n{head}\n{rule}\n}}\n}}\n"

    assert ends(walk(read_ruleset(text, "it"), packet, HOST)) == ("accept", to)
