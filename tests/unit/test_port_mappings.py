"""port_mappings: from compiled lines and addresses to entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY, at, keys, pairs, parsed, published, written
from vfwhooks.config.compiled_lines import parse_forward, parse_settings
from vfwhooks.config.port_mappings import (
    EXEMPT_PORTS,
    PortMapping,
    Settings,
    network_entries,
)
from vfwhooks.firewall.entry_delta import Delta, SyncResult
from vfwhooks.store.entry_text import format_published
from vfwhooks.values.entries import Dnat, Exempt, Masquerade, ReturnMark, key_of
from vfwhooks.values.published import Family, one_to_one, parse_address

if TYPE_CHECKING:
    from vfwhooks.config.value_syntax import Address
    from vfwhooks.values.entries import Entry

IPV4, IPV6 = Family.IPV4, Family.IPV6
FOUR, SIX = parse_address("192.168.122.10"), parse_address("fd00:122::10")


class Ports(NamedTuple):
    """A forward's ports as brute force sees them."""

    first: int
    last: int
    target: int
    target_last: int


def forward(ports: Ports, host: str = "*", protocol: str = "tcp") -> PortMapping:
    """A forward without a list of allowed sources."""
    return parse_forward(f"{host} {protocol} {' '.join(map(str, ports))} -")


@st.composite
def any_ports(draw: st.DrawFn) -> Ports:
    """N:N, shifted, N:1 and single ports, wherever they fit."""
    length = draw(st.integers(0, 40))
    first = draw(st.integers(1, 65535 - length))
    target = draw(st.one_of(st.just(first), st.integers(1, 65535 - length)))
    to_one = draw(st.booleans())
    return Ports(first, first + length, target, target + (0 if to_one else length))


def where_it_leads(entries: list[Entry]) -> dict[int, int]:
    """Target port by published port; a key that two entries have is an error."""
    found: dict[int, int] = {}
    for entry in entries:
        assert isinstance(entry, Dnat)
        first = entry.published.first
        for port in range(first, entry.published.last + 1):
            assert port not in found
            found[port] = entry.port + port - first
    return found


@PROPERTY
@given(any_ports())
def test_every_published_port_leads_to_its_target(ports: Ports) -> None:
    """Port by port: N:N, shifted and N:1, nothing more and nothing less."""
    single = ports.target == ports.target_last
    expected = {
        port: ports.target if single else ports.target + port - ports.first
        for port in range(ports.first, ports.last + 1)
    }

    found = forward(ports).entries(IPV4, FOUR)

    assert where_it_leads(found) == expected


@PROPERTY
@given(any_ports())
def test_one_entry_is_a_range_only_if_it_keeps_its_numbers(ports: Ports) -> None:
    """Interval maps are slow to change, and a shifted range cannot be one element."""
    entries = forward(ports).entries(IPV4, FOUR)

    keeps = ports.first == ports.target and ports.last == ports.target_last
    assert len(entries) == (1 if keeps else ports.last - ports.first + 1)


@pytest.mark.parametrize(
    ("line", "entries"),
    [
        (
            "* tcp 8080 8080 80 80 -",
            ["dnat 4 * tcp 8080 8080 192.168.122.10 80"],
        ),
        (
            "* udp 5000 5010 5000 5010 -",
            ["dnat 4 * udp 5000 5010 192.168.122.10 5000"],
        ),
        (
            "* tcp 9100 9102 9000 9002 -",
            [
                "dnat 4 * tcp 9100 9100 192.168.122.10 9000",
                "dnat 4 * tcp 9101 9101 192.168.122.10 9001",
                "dnat 4 * tcp 9102 9102 192.168.122.10 9002",
            ],
        ),
        (
            "* tcp 80 81 80 80 -",
            [
                "dnat 4 * tcp 80 80 192.168.122.10 80",
                "dnat 4 * tcp 81 81 192.168.122.10 80",
            ],
        ),
        (
            "0.0.0.0 sctp 80 80 80 80 -",
            ["dnat 4 * sctp 80 80 192.168.122.10 80"],
        ),
        (
            "203.0.113.5 tcp 80 80 80 80 -",
            ["dnat 4 203.0.113.5 tcp 80 80 192.168.122.10 80"],
        ),
        (
            "203.0.113.5 tcp 80 82 80 82 allow_0f5c",
            [
                "guard 4 203.0.113.5 tcp 80 82 allow_0f5c",
                "reject 4 203.0.113.5 tcp 80 82",
                "dnat 4 203.0.113.5 tcp 80 82 192.168.122.10 80",
            ],
        ),
        (
            "* tcp 80 81 90 91 allow_0f5c",
            [
                "guard 4 * tcp 80 81 allow_0f5c",
                "reject 4 * tcp 80 81",
                "dnat 4 * tcp 80 80 192.168.122.10 90",
                "dnat 4 * tcp 81 81 192.168.122.10 91",
            ],
        ),
    ],
)
def test_entries_of_a_forward(line: str, entries: list[str]) -> None:
    """Single, range, shifted, N:1, bound, and with allowed sources (ranges too)."""
    found = parse_forward(line).entries(IPV4, FOUR)

    assert written(found) == entries


def test_entries_of_a_forward_on_ipv6() -> None:
    """:: is every address of IPv6."""
    found = parse_forward(":: tcp 80 80 80 80 -").entries(IPV6, SIX)

    assert written(found) == ["dnat 6 * tcp 80 80 fd00:122::10 80"]


@pytest.mark.parametrize(
    ("host", "families"),
    [
        ("*", "46"),
        ("0.0.0.0", "4"),
        ("203.0.113.5", "4"),
        ("::", "6"),
        ("fd00::1", "6"),
    ],
)
def test_families(host: str, families: str) -> None:
    """A forward without an address is published on both families."""
    found = forward(Ports(1, 1, 1, 1), host).families

    assert "".join(found) == families


def test_settings_of_no_lines() -> None:
    """A guest that forwards.yaml does not name has nothing."""
    settings = Settings()

    found = settings.addresses, settings.forwards, settings.network
    assert found == ({}, [], "")


def test_settings() -> None:
    """Every kind of line, as the compiler writes it; others are of a later release."""
    settings = parse_settings(
        [
            "address 192.168.122.50",
            "address fd00:122::50",
            "network my%20net",
            "forward * tcp 8080 8081 80 81 allow_0f5c",
            "aaa",
            "colour blue",
            "zone 5",
        ]
    )

    (one,) = settings.forwards
    ports = one.first, one.last, one.target, one.target_last
    assert (ports, one.host, one.protocol, one.allow) == (
        (8080, 8081, 80, 81),
        None,
        "tcp",
        "allow_0f5c",
    )
    assert (settings.addresses, settings.network) == (
        at("192.168.122.50", "fd00:122::50"),
        "my net",
    )
    assert (settings.is_wide, settings.is_loopback, settings.claim) == (
        False,
        False,
        "",
    )


TWO_FORWARDS = ["forward * tcp 80 80 80 80 -", "forward 0.0.0.0 udp 53 53 53 53 -"]


@pytest.mark.parametrize(
    ("addresses", "entries"),
    [
        ({}, []),
        (
            {IPV4: FOUR},
            [
                "dnat 4 * tcp 80 80 192.168.122.10 80",
                "dnat 4 * udp 53 53 192.168.122.10 53",
                "accept 4 192.168.122.10",
            ],
        ),
        (
            {IPV6: SIX},
            ["dnat 6 * tcp 80 80 fd00:122::10 80", "accept 6 fd00:122::10"],
        ),
        (
            {IPV4: FOUR, IPV6: SIX},
            [
                "dnat 4 * tcp 80 80 192.168.122.10 80",
                "dnat 6 * tcp 80 80 fd00:122::10 80",
                "dnat 4 * udp 53 53 192.168.122.10 53",
                "accept 4 192.168.122.10",
                "accept 6 fd00:122::10",
            ],
        ),
    ],
)
def test_entries_of_a_guest(
    addresses: dict[Family, Address], entries: list[str]
) -> None:
    """Each family towards its own address; the guest is let in once a family."""
    found = parse_settings(TWO_FORWARDS).entries(addresses)

    assert written(found) == entries


CLAIMED = [
    "claim 705828e8-a5d9-4f3b-96d5-1fd38712b873",
    "claimed * tcp 80 80 80 80 -",
    "claimed 203.0.113.5 udp 53 54 5353 5354 allow_0f5c",
]


def test_what_is_claimed() -> None:
    """Every published port, in every family it is published on, as it was written."""
    found = parse_settings(CLAIMED).claimed()

    assert written(found) == [
        "reject 4 * tcp 80 80",
        "reject 6 * tcp 80 80",
        "reject 4 203.0.113.5 udp 53 54",
    ]


PUBLIC = [
    "public 203.0.113.7",
    "whole 203.0.113.7",
    "outgoing 203.0.113.7",
    "forward 203.0.113.7 tcp 25 25 25 25 -",
]


def test_a_whole_address() -> None:
    """Everything that comes there leads to the guest."""
    lines = ["outgoing 203.0.113.7", "forward 203.0.113.7 all 0 65535 0 65535 -"]

    found = parse_settings(lines).entries({IPV4: FOUR, IPV6: SIX})

    assert written(found) == [
        "dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0",
        "snat 4 192.168.122.10 203.0.113.7",
        "accept 4 192.168.122.10",
    ]


def test_a_whole_address_with_ports() -> None:
    """Those lead to the guest; the rest is rejected."""
    found = parse_settings(PUBLIC).entries({IPV4: FOUR})

    assert written(found) == [
        "dnat 4 203.0.113.7 tcp 25 25 192.168.122.10 25",
        "reject 4 203.0.113.7 all 0 65535",
        "snat 4 192.168.122.10 203.0.113.7",
        "accept 4 192.168.122.10",
    ]


def test_what_is_at_an_address() -> None:
    """What is withheld where the address cannot be given away, all of it."""
    settings = parse_settings(PUBLIC)

    address = parse_address("203.0.113.7")

    found = settings.entries({IPV4: FOUR}, settings.at(address))

    assert found == []


def test_the_way_out_alone() -> None:
    """A guest without ports waits for its address as others do."""
    settings = parse_settings(["outgoing 203.0.113.7"])

    found = settings.wanted, written(settings.entries({IPV4: FOUR}))

    assert found == (
        [(IPV4,)],
        ["snat 4 192.168.122.10 203.0.113.7", "accept 4 192.168.122.10"],
    )


def test_a_whole_address_that_is_claimed() -> None:
    """It is rejected whether the guest runs or not, once for both."""
    settings = parse_settings(
        ["kept 203.0.113.7", "claimed 203.0.113.7 tcp 25 25 25 25 -"]
    )

    found = written(settings.claimed()), written(settings.entries({IPV4: FOUR}))

    assert found == (
        ["reject 4 203.0.113.7 tcp 25 25", "reject 4 203.0.113.7 all 0 65535"],
        ["dnat 4 203.0.113.7 tcp 25 25 192.168.122.10 25", "accept 4 192.168.122.10"],
    )


def test_loopback_is_not_claimed() -> None:
    """127.x stays the host's while the guest is off."""
    found = parse_settings(["claimed 127.0.0.1 tcp 80 80 80 80 -"]).claimed()

    assert found == []


def test_what_is_claimed_is_rejected_already() -> None:
    """A running guest rejects nothing that its claim rejects: each has an owner."""
    found = parse_settings(CLAIMED).entries({IPV4: FOUR})

    assert written(found) == [
        "dnat 4 * tcp 80 80 192.168.122.10 80",
        "guard 4 203.0.113.5 udp 53 54 allow_0f5c",
        "dnat 4 203.0.113.5 udp 53 53 192.168.122.10 5353",
        "dnat 4 203.0.113.5 udp 54 54 192.168.122.10 5354",
        "accept 4 192.168.122.10",
    ]


def test_what_is_published() -> None:
    """One a family and a forward, but for those that go over listeners."""
    lines = [
        "forward 0.0.0.0 tcp 22 22 22 22 -",
        "forward * udp 5000 5010 6000 6010 -",
        "forward 2001:db8::5 tcp 80 80 80 80 -",
    ]
    both = {IPV4: FOUR, IPV6: SIX}

    published = [
        parse_settings(lines).published(both),
        parse_settings([f"{lines[0]} over_listener=True", *lines[1:]]).published(both),
        parse_settings(lines).published({IPV4: FOUR}),
    ]

    found = [list(map(format_published, some)) for some in published]

    four = ["4 * tcp 22 22", "4 * udp 5000 5010"]
    six = ["6 * udp 5000 5010", "6 2001:db8::5 tcp 80 80"]
    assert found == [four + six, four[1:] + six, four]


def test_whole_addresses_are_published_in_their_family() -> None:
    """Those of a family that the guest has no address of are not."""
    settings = parse_settings(["whole 203.0.113.7", "kept 2001:db8::7"])

    found = [settings.published({family}) for family in Family]

    four, six = map(parse_address, ("203.0.113.7", "2001:db8::7"))
    assert found == [[one_to_one(four)], [one_to_one(six)]]


def test_entries_without_what_somebody_else_has() -> None:
    """Nothing of such a forward is left, its guard and its rejection included."""
    lines = ["forward * tcp 22 22 22 22 allow_1", "forward * tcp 8000 8001 80 81 -"]

    first, second = map(published, ("4 * tcp 22 22", "4 * tcp 8000 8001"))

    found = [
        written(parse_settings(lines).entries({IPV4: FOUR}, without))
        for without in ({first}, {first, second})
    ]

    shifted = [
        f"dnat 4 * tcp 8000 8000 {FOUR} 80",
        f"dnat 4 * tcp 8001 8001 {FOUR} 81",
    ]
    assert found == [[*shifted, f"accept 4 {FOUR}"], []]


def test_nobody_is_let_in_for_nothing() -> None:
    """An address that nothing is forwarded to is not opened."""
    settings = parse_settings(["forward 0.0.0.0 tcp 80 80 80 80 -"])

    found = settings.entries({IPV4: FOUR, IPV6: SIX})

    assert written(found) == [
        "dnat 4 * tcp 80 80 192.168.122.10 80",
        "accept 4 192.168.122.10",
    ]


def test_network_entries() -> None:
    """DNS and DHCP on the bridge stay libvirt's; hairpins; clients keep addresses."""
    subnets = [("192.168.122.1", "192.168.122.0/24"), ("fd00:122::1", "fd00:122::/64")]

    found = network_entries(pairs(subnets))

    assert written(found) == [
        "left 4 192.168.122.1 tcp 53 53",
        "left 4 192.168.122.1 udp 53 53",
        "left 4 192.168.122.1 udp 67 67",
        "left 4 192.168.122.1 udp 69 69",
        "hairpin 4 192.168.122.0/24",
        "inside 4 192.168.122.0/24",
        "left 6 fd00:122::1 tcp 53 53",
        "left 6 fd00:122::1 udp 53 53",
        "left 6 fd00:122::1 udp 547 547",
        "hairpin 6 fd00:122::/64",
        "inside 6 fd00:122::/64",
    ]


def test_entries_of_a_network_with_two_addresses_in_a_subnet() -> None:
    """What holds for the subnet is there once."""
    subnet = "10.0.0.0/24"

    found = network_entries(pairs([("10.0.0.1", subnet), ("10.0.0.2", subnet)]))

    rest = [entry for entry in found if not isinstance(entry, Exempt)]
    assert (len(found), written(rest)) == (
        10,
        [f"hairpin 4 {subnet}", f"inside 4 {subnet}"],
    )


def test_entries_of_a_network_with_a_subnet_inside_another() -> None:
    """The larger one holds for both; the ports of each address are left."""
    subnets = [
        ("10.0.0.1", "10.0.0.0/24"),
        ("10.0.0.9", "10.0.0.9/32"),
        ("fd00::9", "fd00::9/128"),
        ("fd00::1", "fd00::/64"),
        ("10.0.1.9", "10.0.1.9/32"),
    ]

    found = network_entries(pairs(subnets))

    left = {one.published.host for one in found if isinstance(one, Exempt)}
    rest = [entry for entry in found if not isinstance(entry, Exempt)]
    assert len(left) == len(subnets)
    assert written(rest) == [
        *("hairpin 4 10.0.0.0/24", "inside 4 10.0.0.0/24"),
        *("hairpin 6 fd00::/64", "inside 6 fd00::/64"),
        *("hairpin 4 10.0.1.9/32", "inside 4 10.0.1.9/32"),
    ]


def test_the_ports_that_are_left() -> None:
    """Those that a forward on every address may meet on a bridge of libvirt's."""
    subnets = [("192.168.122.1", "192.168.122.0/24"), ("fd00:122::1", "fd00:122::/64")]

    left = [one for one in network_entries(pairs(subnets)) if isinstance(one, Exempt)]

    assert {one.published.first for one in left} == set(EXEMPT_PORTS)


def test_what_was_synced() -> None:
    """Three lists, in this order."""
    removed, added = parsed("accept 4 10.0.0.1"), parsed("accept 4 10.0.0.2")

    found = SyncResult(removed, added, ["problem"])

    assert (found.removed, found.added, found.problems) == (removed, added, ["problem"])


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("dnat 4 * tcp 80 81 192.168.122.10 80", "dnat 4 * tcp 80 81"),
        ("guard 4 * tcp 80 81 allow_0f5c", "guard 4 * tcp 80 81"),
        ("reject 4 * tcp 80 81", "reject 4 * tcp 80 81"),
        ("left 4 192.168.122.1 udp 53 53", "left 4 192.168.122.1 udp 53 53"),
        ("accept 4 192.168.122.10", "accept 4 192.168.122.10"),
        ("snat 4 192.168.122.10 203.0.113.7", "snat 4 192.168.122.10"),
    ],
)
def test_key_of_an_entry(entry: str, key: str) -> None:
    """Two entries with one key cannot both be in a map, wherever they lead."""
    (one,) = parsed(entry)

    found = keys({key_of(one): ""})

    assert list(found) == [key]


SOME = parsed(*(f"reject 4 * tcp {port} {port}" for port in range(8)))
ENTRIES = st.lists(st.sampled_from(SOME), unique=True)


@PROPERTY
@given(ENTRIES, ENTRIES)
def test_a_change_leads_from_old_to_new(old: list[Entry], new: list[Entry]) -> None:
    """Old less what is removed plus what is added is new; nothing is in both."""
    change = Delta("owner", old, new)

    removed, added = change.removed(), change.added()

    assert (set(old) - set(removed)) | set(added) == set(new)
    assert set(removed) <= set(old) and not set(added) & set(old)


def test_a_change_keeps_the_order() -> None:
    """What goes and what comes is in the order it was planned in."""
    a, b, c, y, z = SOME[:5]
    change = Delta("owner", [c, b, a], [z, b, y])

    found = change.owner, change.removed(), change.added()

    assert found == ("owner", [c, a], [z, y])


HOLES = {
    # the forward, the ports that stay the host's, the entries
    "in the middle": (
        "* tcp 20 30 20 30 -",
        [22],
        ["dnat 4 * tcp 20 21 {0} 20", "dnat 4 * tcp 23 30 {0} 23"],
    ),
    "first and last": ("* tcp 20 30 20 30 -", [30, 20], ["dnat 4 * tcp 21 29 {0} 21"]),
    "beside each other": (
        "203.0.113.5 udp 20 30 20 30 -",
        [24, 25],
        [
            "dnat 4 203.0.113.5 udp 20 23 {0} 20",
            "dnat 4 203.0.113.5 udp 26 30 {0} 26",
        ],
    ),
    "one is left": ("* tcp 20 22 20 22 -", [20, 21], ["dnat 4 * tcp 22 22 {0} 22"]),
    "none is left": ("* tcp 20 21 20 21 -", [20, 21], []),
    "shifted": (
        "* tcp 20 22 80 82 -",
        [21],
        ["dnat 4 * tcp 20 20 {0} 80", "dnat 4 * tcp 22 22 {0} 82"],
    ),
    "to one port": (
        "* tcp 20 22 80 80 -",
        [20],
        ["dnat 4 * tcp 21 21 {0} 80", "dnat 4 * tcp 22 22 {0} 80"],
    ),
    "for some": (
        "* tcp 20 22 20 22 allow_1",
        [21],
        [
            "guard 4 * tcp 20 20 allow_1",
            "reject 4 * tcp 20 20",
            "guard 4 * tcp 22 22 allow_1",
            "reject 4 * tcp 22 22",
            "dnat 4 * tcp 20 20 {0} 20",
            "dnat 4 * tcp 22 22 {0} 22",
        ],
    ),
}


@pytest.mark.parametrize("name", HOLES)
def test_a_range_without_some_of_its_ports(name: str) -> None:
    """What is left: parts that keep their numbers, each one entry, or single ports."""
    line, ports, wanted = HOLES[name]

    found = parse_forward(line).entries(IPV4, FOUR, ports)

    assert written(found) == [entry.format(FOUR) for entry in wanted]


def test_ports_of_a_range_that_are_not_claimed() -> None:
    """Nor are they rejected while the guest is off; other forwards are untouched."""
    settings = parse_settings(
        ["claimed * tcp 20 30 20 30 -", "claimed * tcp 80 81 80 81 -"]
    )

    found = settings.claimed((), {published("4 * tcp 20 30"): [22]})

    assert written(found) == [
        "reject 4 * tcp 20 21",
        "reject 4 * tcp 23 30",
        "reject 6 * tcp 20 30",
        "reject 4 * tcp 80 81",
        "reject 6 * tcp 80 81",
    ]


def test_entries_that_mark_connections() -> None:
    """Each of the host's addresses by itself, in the family, without the ports that
    services keep; and nothing of a forward beside it."""
    settings = parse_settings(
        [
            "forward 0.0.0.0 tcp 80 82 80 82 - return_path=True",
            "forward 203.0.113.5 udp 53 53 53 53 - return_path=True",
            "forward * tcp 22 22 22 22 - masquerade=True",
        ]
    )
    every, one, _ = settings.forwards
    first, second = map(parse_address, ("198.51.100.1", "203.0.113.5"))
    every.return_marks = [(first, "eth1", 1), (second, "eth2", 2)]
    one.return_marks = [(second, "eth2", 2)]

    found = settings.entries(
        {IPV4: FOUR, IPV6: SIX}, (), {published("4 * tcp 80 82"): [81]}
    )

    assert settings.is_returned
    marks = [e for e in found if isinstance(e, (ReturnMark, Masquerade))]
    assert written(marks) == [
        "backany 4 198.51.100.1 tcp 80 80 eth1 1",
        "backany 4 198.51.100.1 tcp 82 82 eth1 1",
        "backany 4 203.0.113.5 tcp 80 80 eth2 2",
        "backany 4 203.0.113.5 tcp 82 82 eth2 2",
        "back 4 203.0.113.5 udp 53 53 eth2 2",
        "masq 4 * tcp 22 22",
        "masq 6 * tcp 22 22",
    ]
