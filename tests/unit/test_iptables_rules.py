"""iptables_rules: entries as iptables rules, and the script that changes them."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import (
    HERE,
    OTHER_UUID,
    PROPERTY,
    RECORDED,
    UUID,
    pairs,
    parsed,
    written,
)
from vfwhooks.config.port_mappings import network_entries
from vfwhooks.firewall import iptables_rules
from vfwhooks.firewall.iptables_rules import short, sources_chain
from vfwhooks.firewall.iptables_script import (
    FILTER,
    NAT,
    Chain,
    Rules,
    Script,
    parse_save,
)

SHORT = urlsafe_b64encode(uuid.UUID(UUID).bytes).decode().rstrip("=")
OWNED = f"-m comment --comment {UUID}"
FOUR = [
    "dnat 4 * tcp 8443 8443 192.168.122.10 443",
    "guard 4 * tcp 8443 8443 allow_0f5c",
    "reject 4 * tcp 8443 8443",
    "dnat 4 203.0.113.5 udp 5000 5010 192.168.122.10 5000",
    "accept 4 192.168.122.10",
]
SIX = [
    "dnat 6 * tcp 80 80 fd00:122::10 8080",
    "dnat 6 2001:db8::5 udp 53 54 fd00:122::10 53",
    "reject 6 2001:db8::5 udp 53 54",
    "accept 6 fd00:122::10",
]


def render(owner: str, entries: Iterable[str], family: str) -> Rules:
    """The rules of entries, which are written as in the state directory."""
    return iptables_rules.render(owner, parsed(*entries), family)


def rules(owner: str, entries: list[str], family: str = "4") -> dict[str, list[str]]:
    """All rules by table and chain, the owner's own first."""
    made = render(owner, entries, family)
    return {" ".join(c): r for c, r in {**made.own, **made.shared}.items()}


def test_rules_of_a_guest() -> None:
    """Sources are checked before the port leads anywhere; a jump for each chain."""
    found = rules(UUID, FOUR + SIX)

    to = "-j DNAT --to-destination"
    accept = "-m conntrack --ctstate DNAT --ctdir"
    ports = "-m multiport --dports"
    assert found == {
        f"nat VFW-A-{SHORT}": [
            "-p tcp -m tcp --dport 8443 -j VFW-S-0f5c",
            f"-p tcp -m tcp --dport 8443 {to} 192.168.122.10:443",
        ],
        f"nat VFW-B-{SHORT}": [
            f"-d 203.0.113.5/32 -p udp -m udp --dport 5000:5010 {to} 192.168.122.10"
        ],
        f"filter VFW-R-{SHORT}": [
            "-p tcp -m tcp --dport 8443 -j REJECT --reject-with tcp-reset"
        ],
        "filter VFW-FORWARD": [
            f"-d 192.168.122.10/32 {accept} ORIGINAL {OWNED} -j ACCEPT",
            f"-s 192.168.122.10/32 {accept} REPLY {OWNED} -j ACCEPT",
        ],
        "nat VFW-ANY": [f"-p tcp {ports} 8443 {OWNED} -j VFW-A-{SHORT}"],
        "nat VFW-BOUND": [f"-p udp {ports} 5000:5010 {OWNED} -j VFW-B-{SHORT}"],
        "filter VFW-REJECT": [f"-p tcp {ports} 8443 {OWNED} -j VFW-R-{SHORT}"],
    }


def test_addresses_are_written_as_iptables_save_does() -> None:
    """Those that end in an IPv4 address: a full sync compares the texts."""
    some = [
        "dnat 6 ::102:304 tcp 80 80 ::ffff:10.0.0.1 80",
        "snat 6 ::102:304 ::102:305",
    ]

    found = rules(UUID, some, "6")

    dnat = "-p tcp -m tcp --dport 80 -j DNAT --to-destination [::ffff:10.0.0.1]:80"
    to = f"{OWNED} -j SNAT --to-source ::1.2.3.5"
    assert (found[f"nat VFW-B-{SHORT}"], found["nat VFW-SNAT"]) == (
        [f"-d ::1.2.3.4/128 {dnat}"],
        [f"-s ::1.2.3.4/128 {to}"],
    )


def test_rules_that_mark_connections() -> None:
    """Behind the lists of sources and ahead of where it leads, a port on an address in
    its chain and one on every address in the other; the first packet as well."""
    found = rules(
        UUID,
        [
            "dnat 4 * tcp 8443 8443 192.168.122.10 443",
            "backany 4 203.0.113.5 tcp 8443 8443 eth1 2",
            "guard 4 * tcp 8443 8443 allow_0f5c",
            "masq 4 * tcp 8443 8443",
            "back 4 203.0.113.5 udp 5000 5010 eth1 15",
            "back 4 203.0.113.7 all 0 65535 eth1 1",
            "back 6 2001:db8::5 udp 5000 5010 eth1 15",
            "way 4 virbr0 100 1 eth1",
        ],
    )

    marks = ["CONNMARK --set-xmark", "MARK --set-xmark"]
    one = "-d 203.0.113.5/32 -i eth1 -p"
    assert found == {
        f"nat VFW-A-{SHORT}": [
            "-p tcp -m tcp --dport 8443 -j VFW-S-0f5c",
            *(
                f"{one} tcp -m tcp --dport 8443 -j {m} 0x2000000/0xf000000"
                for m in marks
            ),
            "-p tcp -m tcp --dport 8443 -j CONNMARK --set-xmark 0x10000000/0x10000000",
            "-p tcp -m tcp --dport 8443 -j DNAT --to-destination 192.168.122.10:443",
        ],
        f"nat VFW-B-{SHORT}": [
            *(
                f"{one} udp -m udp --dport 5000:5010 -j {m} 0xf000000/0xf000000"
                for m in marks
            ),
            *(f"-d 203.0.113.7/32 -i eth1 -j {m} 0x1000000/0xf000000" for m in marks),
        ],
        "nat VFW-ANY": [
            f"-p tcp -m multiport --dports 8443 {OWNED} -j VFW-A-{SHORT}",
        ],
    }


def test_rules_of_a_guest_on_ipv6() -> None:
    """Brackets around the target, /128, and ICMPv6 for what is rejected."""
    found = rules(UUID, FOUR + SIX, "6")

    to = "-j DNAT --to-destination"
    accept = "-m conntrack --ctstate DNAT --ctdir"
    bound = "-d 2001:db8::5/128 -p udp -m udp --dport 53:54"
    ports = "-m multiport --dports"
    assert found == {
        f"nat VFW-A-{SHORT}": [f"-p tcp -m tcp --dport 80 {to} [fd00:122::10]:8080"],
        f"nat VFW-B-{SHORT}": [f"{bound} {to} fd00:122::10"],
        f"filter VFW-R-{SHORT}": [
            f"{bound} -j REJECT --reject-with icmp6-port-unreachable"
        ],
        f"nat VFW-C-{SHORT}": [f"{bound} -j ACCEPT"],
        "filter VFW-FORWARD": [
            f"-d fd00:122::10/128 {accept} ORIGINAL {OWNED} -j ACCEPT",
            f"-s fd00:122::10/128 {accept} REPLY {OWNED} -j ACCEPT",
        ],
        "nat VFW-ANY": [f"-p tcp {ports} 80 {OWNED} -j VFW-A-{SHORT}"],
        "nat VFW-BOUND": [f"-p udp {ports} 53:54 {OWNED} -j VFW-B-{SHORT}"],
        "filter VFW-REJECT": [f"-p udp {ports} 53:54 {OWNED} -j VFW-R-{SHORT}"],
        "nat VFW-CLAIMED": [f"-p udp {ports} 53:54 {OWNED} -j VFW-C-{SHORT}"],
    }


def test_udp_is_rejected_by_icmp() -> None:
    """A reset is TCP's."""
    found = rules(UUID, ["reject 4 * udp 53 53"])

    how = "-j REJECT --reject-with icmp-port-unreachable"
    assert found[f"filter VFW-R-{SHORT}"] == [f"-p udp -m udp --dport 53 {how}"]


def test_rules_of_a_network() -> None:
    """A network has no chains of its own."""
    entries = [
        "left 4 192.168.122.1 udp 53 53",
        "hairpin 4 192.168.122.0/24",
        "inside 4 192.168.123.0/24",
    ]

    found = rules("virbr0", entries)

    owned = "-m comment --comment virbr0"
    left = f"-d 192.168.122.1/32 -p udp -m udp --dport 53 {owned} -j RETURN"
    net, other = "192.168.122.0/24", "192.168.123.0/24"
    assert found == {
        "nat VFW-PUBLISH": [left],
        "filter VFW-INPUT": [left],
        "nat VFW-POSTROUTING": [
            f"-s {net} -d {net} {owned} -j MASQUERADE",
        ],
        "nat VFW-OUT": [f"-s {net} -d {net} {owned} -j RETURN"],
        "nat VFW-INSIDE": [f"! -s {other} -d {other} {owned} -j ACCEPT"],
    }


ALL_PROTOCOLS = [
    "guard 4 203.0.113.7 all 0 65535 allow_0f5c",
    "reject 4 203.0.113.7 all 0 65535",
    "dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0",
    "snat 4 192.168.122.10 203.0.113.7",
]


def test_rules_of_a_whole_address() -> None:
    """By the address alone, whatever the protocol; what is rejected gets a reset where
    there is one, and no port on every address is looked at any more."""
    found = rules(UUID, ALL_PROTOCOLS)

    to = "-d 203.0.113.7/32"
    reject = f"{to} {{0}}-j REJECT --reject-with {{1}}".format
    assert found == {
        f"nat VFW-B-{SHORT}": [
            f"{to} -j VFW-S-0f5c",
            f"{to} -j DNAT --to-destination 192.168.122.10",
        ],
        f"nat VFW-C-{SHORT}": [f"{to} -j ACCEPT"],
        f"filter VFW-R-{SHORT}": [
            reject("-p tcp ", "tcp-reset"),
            reject("", "icmp-port-unreachable"),
        ],
        "nat VFW-BOUND": [f"{to} {OWNED} -j VFW-B-{SHORT}"],
        "nat VFW-CLAIMED": [f"{to} {OWNED} -j VFW-C-{SHORT}"],
        "filter VFW-REJECT": [f"{to} {OWNED} -j VFW-R-{SHORT}"],
        "nat VFW-SNAT": [
            f"-s 192.168.122.10/32 {OWNED} -j SNAT --to-source 203.0.113.7"
        ],
    }


def test_a_whole_address_and_ports_on_it_have_their_jumps() -> None:
    """The rest of an address is rejected, and two of its ports lead to the guest."""
    dnat = "dnat 4 203.0.113.7 tcp {0} {0} 192.168.122.10 {0}".format

    found = rules(UUID, [dnat(25), dnat(22), "reject 4 203.0.113.7 all 0 65535"])

    jump = f"-p tcp -m multiport --dports 22,25 {OWNED} -j VFW-B-{SHORT}"
    assert found["nat VFW-BOUND"] == [jump]


def test_rules_of_a_bridge_that_loopback_leads_to() -> None:
    """The host comes from an address that the guest can answer, and nobody behind the
    bridge gets at the host's loopback."""
    found = rules("virbr0", ["localnet 4 virbr0"])

    owned = "-m comment --comment virbr0"
    assert found == {
        "raw VFW-GUARD": [f"-i virbr0 {owned} -j DROP"],
        "nat VFW-POSTROUTING": [f"-s 127.0.0.0/8 -o virbr0 {owned} -j MASQUERADE"],
    }


def test_the_guard_is_there_before_anything_and_after() -> None:
    """raw comes first and goes last."""
    script = Script()
    rule = "-m comment --comment virbr0"

    script.change(
        render("virbr0", ["localnet 4 virbr0"], "4"),
        render("virbr0", ["localnet 4 virbr1"], "4"),
    )

    out = "VFW-POSTROUTING {0}-s 127.0.0.0/8 -o {1} {2} -j MASQUERADE"
    assert (script.needs("raw"), script.needs("filter")) == (True, False)
    assert script.text().splitlines() == [
        "*raw",
        f"-I VFW-GUARD 1 -i virbr1 {rule} -j DROP",
        "COMMIT",
        "*nat",
        f"-I {out.format('1 ', 'virbr1', rule)}",
        f"-D {out.format('', 'virbr0', rule)}",
        "COMMIT",
        "*raw",
        f"-D VFW-GUARD -i virbr0 {rule} -j DROP",
        "COMMIT",
    ]


def test_nothing_of_another_family() -> None:
    """Each family has its own tool."""
    found = rules(UUID, SIX, "4")

    assert found == {}


@PROPERTY
@given(st.uuids(), st.uuids())
def test_chain_names_of_two_guests_differ(one: uuid.UUID, other: uuid.UUID) -> None:
    """The whole UUID is in the name, which has fewer than 29 characters."""
    names = [f"VFW-B-{short(str(guest))}" for guest in (one, other)]

    assert (names[0] == names[1]) == (one == other)
    assert all(len(name) == 28 and name.isascii() for name in names)


@pytest.mark.parametrize(
    "owner", ["qemu", "lxc", "virbr0", "abcd", "network", "br1234", "a" * 40]
)
def test_chain_names_of_owners_without_a_uuid(owner: str) -> None:
    """Letters and digits, so that no owner makes another word of its rule."""
    name = short(owner)

    assert 0 < len(name) < 23 and all(c.isalnum() or c in "-_" for c in name)


@pytest.mark.parametrize("bridge", ["20-31", "4c8346", "48d013", "2031"])
def test_a_bridge_whose_name_reads_as_a_chains(bridge: str) -> None:
    """What all share is nobody's own, whatever a name in base64 ends like."""
    entries = written(network_entries(pairs([("10.0.0.1", "10.0.0.0/24")])))
    entries += ["snat 4 10.0.0.5 203.0.113.7", "localnet 4 virbr0"]

    found = render(bridge, entries, "4")

    assert found.own == {}
    assert (NAT, "VFW-INSIDE") in found.shared


def test_sources_chain() -> None:
    """The chain of a list of allowed sources."""
    found = sources_chain("allow_0f5c")

    assert found == "VFW-S-0f5c"


PUBLISHED = st.lists(st.integers(1, 400), unique=True, max_size=60)


def ranges(bounds: list[int]) -> list[tuple[int, int]]:
    """Disjoint single ports and ranges, every third a range as far as it fits."""
    found = []
    for number, first in enumerate(sorted(bounds)):
        after = sorted(bounds)[number + 1 : number + 2] or [401]
        last = after[0] - 1 if number % 3 == 0 else first
        found.append((first, last))
    return found


@PROPERTY
@given(PUBLISHED)
def test_a_jump_has_fifteen_ports_at_most(bounds: list[int]) -> None:
    """multiport takes fifteen, a range counts for two, and none is lost or doubled."""
    published = ranges(bounds)
    entries = [f"dnat 4 * tcp {a} {b} 192.168.122.10 {a}" for a, b in published]

    jumps = render(UUID, entries, "4").shared.get((NAT, "VFW-ANY"), [])

    lists = [jump.split(" ")[5].split(",") for jump in jumps]
    assert all(sum(1 + (":" in p) for p in ports) <= 15 for ports in lists)
    assert [p for ports in lists for p in ports] == [
        f"{a}:{b}" if b > a else f"{a}" for a, b in published
    ]


def test_jumps_are_as_few_as_can_be() -> None:
    """Sixteen ports need two jumps, fifteen one."""
    entries = [f"dnat 4 * tcp {p} {p} 192.168.122.10 {p}" for p in range(1, 17)]

    found = [
        len(render(UUID, entries[:count], "4").shared[NAT, "VFW-ANY"])
        for count in (15, 16)
    ]

    assert found == [1, 2]


def test_seven_ranges_and_a_port_are_fifteen() -> None:
    """They need one jump."""
    entries = [f"dnat 4 * tcp {p} {p + 1} 10.0.0.1 {p}" for p in range(10, 80, 10)]
    entries.append("dnat 4 * tcp 5 5 10.0.0.1 5")

    found = render(UUID, entries, "4").shared[NAT, "VFW-ANY"]

    assert len(found) == 1


def test_a_guard_and_its_dnat_share_a_jump() -> None:
    """A port is named once a chain, whatever is there for it."""
    entries = ["guard 4 * tcp 80 80 allow_1", "dnat 4 * tcp 80 80 192.168.122.10 80"]

    found = render(UUID, entries, "4").shared[NAT, "VFW-ANY"]

    jump = f"-p tcp -m multiport --dports 80 {OWNED} -j VFW-A-{SHORT}"
    assert found == [jump]


def test_parse_save_of_a_real_host() -> None:
    """Every chain of every table, empty ones too."""
    text = (RECORDED / "libvirt-9.0/ruleset.iptables").read_text()

    found = parse_save(text)

    assert {f"{table} {chain}": len(r) for (table, chain), r in found.items()} == {
        "mangle PREROUTING": 0,
        "mangle INPUT": 0,
        "mangle FORWARD": 0,
        "mangle OUTPUT": 0,
        "mangle POSTROUTING": 1,
        "mangle LIBVIRT_PRT": 1,
        "filter INPUT": 1,
        "filter FORWARD": 3,
        "filter OUTPUT": 1,
        "filter LIBVIRT_FWI": 2,
        "filter LIBVIRT_FWO": 2,
        "filter LIBVIRT_FWX": 1,
        "filter LIBVIRT_INP": 4,
        "filter LIBVIRT_OUT": 4,
        "nat PREROUTING": 0,
        "nat INPUT": 0,
        "nat OUTPUT": 0,
        "nat POSTROUTING": 1,
        "nat LIBVIRT_PRT": 5,
    }
    assert found[FILTER, "FORWARD"] == [
        ("", "-j LIBVIRT_FWX"),
        ("", "-j LIBVIRT_FWI"),
        ("", "-j LIBVIRT_FWO"),
    ]


def test_parse_save_of_old_hosts() -> None:
    """What iptables-save printed ten years ago."""
    texts = [path.read_text() for path in sorted((HERE / "rulesets").iterdir())]

    found = [len(parse_save(text)[FILTER, "FORWARD"]) for text in texts]

    assert found == [5, 5, 6]


def test_parse_save_with_counters() -> None:
    """Counters stay with their rule, and a comment that looks like one is text."""
    text = '*nat\n:A - [1:2]\n[3:4] -A A -m comment --comment "-A B" -j B\nCOMMIT\n'

    found = parse_save(text)

    assert found == {(NAT, "A"): [("[3:4]", '-m comment --comment "-A B" -j B')]}


class Kernel:
    """iptables-restore --noflush, as its manual has it: refuses what it refuses."""

    def __init__(self, chains: dict[Chain, list[str]]) -> None:
        self.chains = {chain: list(rules) for chain, rules in chains.items()}

    def restore(self, script: str) -> None:
        """Carry out a script, line by line."""
        table = ""
        for line in script.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                self.chains[table, line[1:].split(" ")[0]] = []
            elif line != "COMMIT":
                self._command(table, line.partition("] ")[2] or line)

    def _command(self, table: str, line: str) -> None:
        command, name, *words = line.split(" ")
        chain = self.chains[table, name]
        if command == "-A":
            chain.append(self._rule(table, words))
        elif command == "-I":
            position = int(words[0])
            assert 1 <= position <= len(chain) + 1
            chain.insert(position - 1, self._rule(table, words[1:]))
        elif command == "-D":
            chain.remove(" ".join(words))
        elif command == "-F":
            chain.clear()
        elif command == "-X":
            rules = [rule for some in self.chains.values() for rule in some]
            assert not chain and not any(rule.endswith(f"-j {name}") for rule in rules)
            del self.chains[table, name]
        else:
            raise AssertionError(line)

    def _rule(self, table: str, words: list[str]) -> str:
        target = words[words.index("-j") + 1]
        assert not target.startswith("VFW-") or (table, target) in self.chains
        return " ".join(words)


SHARED = {
    (FILTER, "VFW-FORWARD"): [],
    (FILTER, "VFW-INPUT"): ["-d 127.0.0.0/8 -j RETURN", "-j VFW-REJECT"],
    (FILTER, "VFW-REJECT"): [],
    (NAT, "VFW-ANY"): [],
    (NAT, "VFW-BOUND"): [],
    (NAT, "VFW-CLAIMED"): [],
    (NAT, "VFW-POSTROUTING"): [],
    (NAT, "VFW-PUBLISH"): ["-j VFW-BOUND", "-j VFW-CLAIMED", "-j VFW-ANY"],
    (NAT, "VFW-S-1"): ["-s 10.0.0.0/8 -j RETURN", "-j ACCEPT"],
    (NAT, "VFW-S-2"): ["-j ACCEPT"],
}


@st.composite
def guests(draw: st.DrawFn) -> list[str]:
    """The entries of a guest with any forwards."""
    found = []
    for port in draw(st.lists(st.integers(1, 12), unique=True, max_size=8)):
        host = draw(st.sampled_from(["*", "203.0.113.5"]))
        protocol = draw(st.sampled_from(["tcp", "udp"]))
        to = f"4 {host} {protocol} {port} {port}"
        allowed = draw(st.sampled_from(["", "allow_1", "allow_2"]))
        if allowed:
            found += [f"guard {to} {allowed}", f"reject {to}"]
        target = draw(st.integers(80, 82))
        found.append(f"dnat {to} 192.168.122.{draw(st.integers(10, 11))} {target}")
    if found:
        found.append(f"accept 4 192.168.122.{draw(st.integers(10, 11))}")
    return found


def changed(kernel: Kernel, owner: str, old: list[str], new: list[str]) -> None:
    """Bring one owner from old to new."""
    script = Script()
    script.change(render(owner, old, "4"), render(owner, new, "4"))
    kernel.restore(script.text())


@PROPERTY
@given(guests(), guests(), guests())
def test_a_change_is_as_good_as_a_fresh_start(
    first: list[str], second: list[str], others: list[str]
) -> None:
    """Delta equals full, chain by chain, with another guest beside it."""
    kernel, fresh = Kernel(SHARED), Kernel(SHARED)
    changed(kernel, OTHER_UUID, [], others)
    changed(kernel, UUID, [], first)

    changed(kernel, UUID, first, second)

    changed(fresh, UUID, [], second)
    changed(fresh, OTHER_UUID, [], others)
    found, expected = (
        {chain: sorted(rules) for chain, rules in one.chains.items()}
        for one in (kernel, fresh)
    )
    assert found == expected


@PROPERTY
@given(guests(), guests())
def test_order_where_order_matters(first: list[str], second: list[str]) -> None:
    """Sources are checked before DNAT, and every tail stays below what is shared."""
    kernel = Kernel(SHARED)
    changed(kernel, "virbr0", [], ["left 4 192.168.122.1 udp 53 53"])
    changed(kernel, UUID, [], first)

    changed(kernel, UUID, first, second)

    chains = kernel.chains
    own = [chains.get((NAT, f"VFW-{kind}-{SHORT}"), []) for kind in "AB"]
    kinds = [["-j DNAT" in rule for rule in rules] for rules in own]
    assert kinds == [sorted(kind) for kind in kinds]
    assert [chains[c][len(chains[c]) - len(SHARED[c]) :] for c in SHARED] == [
        *SHARED.values()
    ]


@PROPERTY
@given(guests(), guests())
def test_a_guest_that_stops_leaves_nothing(first: list[str], second: list[str]) -> None:
    """To nothing, by whatever way, is as it was."""
    kernel = Kernel(SHARED)
    changed(kernel, UUID, [], first)
    changed(kernel, UUID, first, second)

    changed(kernel, UUID, second, [])

    assert kernel.chains == SHARED


def test_a_guest_is_let_in_first_and_shut_out_last() -> None:
    """Filter before nat when adding, nat before filter when removing."""
    script = Script()
    web, ssh = (
        [f"dnat 4 * tcp {p} {p} 192.168.122.{a} {p}", f"accept 4 192.168.122.{a}"]
        for p, a in ((80, 10), (22, 11))
    )

    script.change(render(UUID, web, "4"), render(UUID, ssh, "4"))

    accept = "-m conntrack --ctstate DNAT --ctdir"
    dnat = "-j DNAT --to-destination 192.168.122"
    jump = f"{OWNED} -j VFW-A-{SHORT}"
    assert script.text().splitlines() == [
        "*filter",
        f"-I VFW-FORWARD 1 -s 192.168.122.11/32 {accept} REPLY {OWNED} -j ACCEPT",
        f"-I VFW-FORWARD 1 -d 192.168.122.11/32 {accept} ORIGINAL {OWNED} -j ACCEPT",
        "COMMIT",
        "*nat",
        f"-A VFW-A-{SHORT} -p tcp -m tcp --dport 22 {dnat}.11:22",
        f"-I VFW-ANY 1 -p tcp -m multiport --dports 22 {jump}",
        f"-D VFW-A-{SHORT} -p tcp -m tcp --dport 80 {dnat}.10:80",
        f"-D VFW-ANY -p tcp -m multiport --dports 80 {jump}",
        "COMMIT",
        "*filter",
        f"-D VFW-FORWARD -d 192.168.122.10/32 {accept} ORIGINAL {OWNED} -j ACCEPT",
        f"-D VFW-FORWARD -s 192.168.122.10/32 {accept} REPLY {OWNED} -j ACCEPT",
        "COMMIT",
    ]


def test_nothing_to_do_is_no_script() -> None:
    """The same again changes nothing."""
    script = Script()

    script.change(render(UUID, FOUR, "4"), render(UUID, FOUR, "4"))

    assert (script.is_empty(), script.text()) == (True, "")


def test_filled_chains_keep_their_counters() -> None:
    """A chain that is made anew counts on."""
    script = Script()

    script.fill((NAT, "VFW-ANY"), [("[3:180]", "-j A"), ("", "-j B")])

    assert (script.is_empty(), script.text()) == (
        False,
        "*nat\n:VFW-ANY - [0:0]\n[3:180] -A VFW-ANY -j A\n-A VFW-ANY -j B\nCOMMIT\n",
    )


def test_rules_at_a_position() -> None:
    """A position counts from 1, and 0 is the end; what goes first goes before it."""
    script = Script()

    script.delete_first((FILTER, "FORWARD"), "-j X")
    script.insert((FILTER, "FORWARD"), "-j X", 3)
    script.insert((FILTER, "FORWARD"), "-j Y", 0)
    script.insert((FILTER, "FORWARD"), "-j Z")

    assert script.text().splitlines() == [
        "*filter",
        "-D FORWARD -j X",
        "-I FORWARD 3 -j X",
        "-A FORWARD -j Y",
        "-I FORWARD 1 -j Z",
        "COMMIT",
    ]


def test_chains_are_emptied_before_any_is_deleted() -> None:
    """A chain that another of them jumps to cannot be deleted."""
    script = Script()

    script.drop([(NAT, "A"), (NAT, "B"), (FILTER, "C")])

    assert script.text().splitlines() == [
        "*nat",
        "-F A",
        "-F B",
        "-X A",
        "-X B",
        "COMMIT",
        "*filter",
        "-F C",
        "-X C",
        "COMMIT",
    ]


@pytest.mark.parametrize("what", ["fill", "insert", "delete", "drop"])
def test_whatever_there_is_to_do_is_not_nothing(what: str) -> None:
    """A script is empty only if it does nothing at all."""
    script = Script()

    if what == "fill":
        script.fill((NAT, "A"), [])
    elif what == "insert":
        script.insert((NAT, "A"), "-j B")
    elif what == "delete":
        script.delete((NAT, "A"), "-j B")
    else:
        script.drop([(NAT, "A")])

    assert not script.is_empty()
