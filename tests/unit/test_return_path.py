"""return_path: which ways answers have to take, what stands for them, and what is given
back. Routes and rules are made up; the kernel's: tests/e2e/test_return_path.py."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import cast

import pytest

from unit.builders import (
    addresses,
    at,
    fresh_state,
    guest,
    network,
    parsed,
    record,
    written,
)
from vfwhooks.config.compiled_lines import parse_settings
from vfwhooks.config.value_syntax import Address
from vfwhooks.firewall.entry_delta import Delta
from vfwhooks.host import routes as host_routes
from vfwhooks.host.policy_rules import PolicyRule, PolicyRules
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.reconcile.return_path import (
    ReturnRoutes,
    allot_value,
    find_return_routes,
    firewalls,
    known_value,
    return_routes_of,
    values,
)
from vfwhooks.store.records import Record
from vfwhooks.store.state import State
from vfwhooks.values.needs import ReturnRouteNeed
from vfwhooks.values.published import BOTH

GUEST = at("192.168.122.10", "fd00:122::10")
MAIN = 254
ETH0, ETH1, TUN0, VIRBR0 = 2, 3, 4, 9
NAMES = {ETH0: "eth0", ETH1: "eth1", TUN0: "wg-0.1"}
WAY = "way 4 virbr0 100 1 eth1"
Way = tuple[int, int]


class Routes:
    """Made up: the way out of each of the host's addresses, and of the guest."""

    def __init__(self, own: dict[str, Way], of_guest: Way | None) -> None:
        self._own = own
        self._of_guest = of_guest

    def route_from(self, source: Address, by: int = 0, mark: int = 0) -> Way | None:
        """As Routes has it."""
        assert by in (0, VIRBR0) and not mark
        return self._of_guest if by else self._own.get(str(source))

    def own_addresses(self, family: str) -> list[Address]:
        """The same."""
        return [one for one in addresses(*self._own) if one.version == int(family)]

    def link(self, index: int = 0, name: str = "") -> tuple[int, str]:
        """The same; there is one bridge."""
        return (VIRBR0, name) if name else (index, NAMES.get(index, ""))


class Host(Inventory):
    """An inventory of that."""

    def __init__(self, own: dict[str, Way], of_guest: Way | None) -> None:
        super().__init__("/nonexistent")
        self._made = Routes(own, of_guest)

    @property
    def routes(self) -> host_routes.Routes:
        return cast("host_routes.Routes", self._made)

    def bridge_addresses(self) -> set[Address]:
        """Its address."""
        return set(addresses("192.168.122.1"))


def found(
    lines: list[str], own: dict[str, Way], of_guest: Way | None = (ETH0, MAIN)
) -> tuple[list[list[tuple[str, str, int]]], list[ReturnRouteNeed], list[str]]:
    """The ways of each forward, what the guest needs, and what there is no mark for;
    table 100 + N has the mark N, up to 15."""
    settings, networks = parse_settings(lines), [network()]
    host = Host(own, of_guest)
    needed, unmarked = find_return_routes(
        settings,
        GUEST,
        dict.fromkeys(BOTH, networks),
        host,
        lambda table: table - 100 if table <= 115 else 1 if table == MAIN else 0,
    )
    ways = [
        [(str(host), uplink, value) for host, uplink, value in forward.return_marks]
        for forward in settings.forwards
    ]
    return ways, needed, unmarked


BOUND = ["forward 198.51.100.1 tcp 80 80 80 80 - return_path=True"]
EVERY = ["forward * tcp 80 80 80 80 - return_path=True"]


@pytest.mark.parametrize(
    ("own", "of_guest", "expected"),
    [
        ({"198.51.100.1": (ETH1, 101)}, (ETH0, MAIN), ("eth1", 1)),
        ({"198.51.100.1": (ETH1, 101)}, None, ("eth1", 1)),
        ({"198.51.100.1": (ETH0, 101)}, (ETH0, MAIN), ("eth0", 1)),
        ({"198.51.100.1": (ETH1, MAIN)}, (TUN0, 51820), ("eth1", 1)),
        ({"198.51.100.1": (ETH0, MAIN)}, (ETH0, MAIN), None),
        ({"198.51.100.1": (ETH1, 101)}, (ETH1, 101), None),
        ({}, (ETH0, MAIN), None),
        ({"198.51.100.1": (99, 101)}, (ETH0, MAIN), None),
    ],
    ids=[
        "another interface",
        "nowhere",
        "another gateway",
        "by the table main",
        "the same",
        "the same, by a rule of the host's",
        "the host has no way out",
        "the interface has gone",
    ],
)
def test_a_forward_on_an_address(
    own: dict[str, Way], of_guest: Way | None, expected: tuple[str, int] | None
) -> None:
    """Its answers have to take a way where the kernel would take another."""
    ways, needed, unmarked = found(BOUND, own, of_guest)

    assert (ways, len(needed), unmarked) == (
        [[("198.51.100.1", *expected)] if expected else []],
        1 if expected else 0,
        [],
    )


def test_a_forward_on_every_address() -> None:
    """Each of the host's addresses that needs it, of both families, but on bridges."""
    own = {
        "203.0.113.1": (ETH0, MAIN),
        "198.51.100.1": (ETH1, 101),
        "10.8.0.1": (TUN0, 102),
        "192.168.122.1": (ETH1, 101),
        "2001:db8::1": (ETH1, 101),
    }

    ways, needed, _ = found([*EVERY, "forward * tcp 81 81 81 81 -"], own)

    assert ways == [
        [
            ("198.51.100.1", "eth1", 1),
            ("10.8.0.1", "wg-0.1", 2),
            ("2001:db8::1", "eth1", 1),
        ],
        [],
    ]
    assert written(need.route("virbr0") for need in needed) == [
        "way 4 virbr0 101 1 eth1",
        "way 4 virbr0 102 2 wg-0.1",
        "way 6 virbr0 101 1 eth1",
    ]


def test_more_tables_than_marks() -> None:
    """Those that have one work, and of the others it is said."""
    own = {f"198.51.{n}.1": (ETH1, 100 + n) for n in range(1, 18)}

    ways, needed, unmarked = found(EVERY, own)

    said = "return_path knows 15 tables at most, and table {} is one more".format
    assert (len(ways[0]), len(needed), unmarked) == (15, 15, [said(116), said(117)])


def test_values_are_allotted_once(tmp_path: Path) -> None:
    """The same table has the same value; what is not needed any more is free again,
    once there is no other."""
    state = fresh_state(tmp_path)
    state.keep(record(guest("net/way-4-103-4-eth1", driver="network"), entries=[]))
    state.keep(record(entries=["way 4 virbr0 100 1 eth1"]))

    first = [allot_value(state, table) for table in (100, 101, 100)]
    known = known_value(state, 101), known_value(state, 999)
    more = [allot_value(state, table) for table in range(102, 115)]
    one_more = allot_value(state, 115)

    assert (first, known, more) == ([1, 2, 1], (2, 0), list(range(3, 16)))
    assert (one_more, values(state)) == (2, {1: 100, 2: 115})


def test_values_that_were_given_just_now_stay(tmp_path: Path) -> None:
    """A sync that needs more tables than there are values: no two get one value."""
    state = fresh_state(tmp_path)
    given: list[int] = []

    for table in range(100, 117):
        given.append(allot_value(state, table, given))

    assert given == [*range(1, 16), 0, 0]


def test_no_value_is_taken_from_who_needs_it(tmp_path: Path) -> None:
    """Fifteen tables in use leave none."""
    state = fresh_state(tmp_path)
    used = [f"way 4 virbr0 {99 + n} {n} eth{n}" for n in range(1, 16)]
    state.keep(record(entries=used))
    for number in range(1, 16):
        allot_value(state, 99 + number)

    assert (allot_value(state, 200), len(values(state))) == (0, 15)


def test_firewalls_know_nothing_of_ways() -> None:
    """What is given to them is all else."""
    way, a, b = parsed(WAY, "accept 4 10.0.0.1", "accept 4 10.0.0.2")

    [found] = firewalls([Delta("owner", [way, b], [a, way])])

    assert (found.owner, found.old, found.new) == ("owner", [b], [a])


class Rules(PolicyRules):
    """The kernel's rules, by what they are: `there` are those that are in place."""

    def __init__(self) -> None:
        self.there: set[tuple[str, str, int, int]] = set()
        self.error = 0

    def close(self) -> None:
        """Nothing to close."""

    def sync(self, wanted: list[PolicyRule], is_all: bool) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self.there = {rule.what for rule in wanted} | (set() if is_all else self.there)

    def remove(self, gone: list[PolicyRule]) -> None:
        self.there -= {rule.what for rule in gone}


class Place:
    """A host's state directory, rules and settings, with what changes them."""

    def __init__(self, tmp_path: Path, **before: str) -> None:
        self.state: State = fresh_state(tmp_path)
        self.root = tmp_path
        self.rules = Rules()
        for name, value in before.items():
            conf = tmp_path / "proc/sys/net/ipv4/conf" / name
            conf.mkdir(parents=True)
            (conf / "src_valid_mark").write_text(f"{value}\n")

    @property
    def ways(self) -> ReturnRoutes:
        """For the next holder of the lock."""
        return ReturnRoutes(self.state, str(self.root), connect=lambda: self.rules)

    def settings(self) -> dict[str, str]:
        """What is set."""
        found = (self.root / "proc/sys/net/ipv4/conf").iterdir()
        return {p.name: (p / "src_valid_mark").read_text().strip() for p in found}


def net(way: str) -> Record:
    """What a network needs for it."""
    _, family, _, table, value, uplink = way.split(" ")
    name = f"default/way-{family}-{table}-{value}-{uplink}"
    return record(guest(name, driver="network"), entries=[way])


def needing(one: Record) -> Record:
    """A guest that needs it."""
    return record(entries=["accept 4 192.168.122.10"], needs=[one.guest.name])


def test_a_way_and_its_end(tmp_path: Path) -> None:
    """The rule is there, and strict rp_filter takes account of the mark; both end with
    who needs them last, and what was set before is set again."""
    place, one = Place(tmp_path, eth1="0", eth2="0"), net(WAY)
    place.state.keep(one)

    place.ways.change([(None, needing(one)), (None, one)])
    during = place.rules.there, place.settings(), place.state.names("vmark")
    place.ways.change([(needing(one), None), (one, None)])

    assert during == (
        {("4", "virbr0", 100, 1)},
        {"eth1": "1", "eth2": "0"},
        ["eth1"],
    )
    assert (place.rules.there, place.settings(), place.state.names("vmark")) == (
        set(),
        {"eth1": "0", "eth2": "0"},
        [],
    )


def test_a_rule_that_was_removed(tmp_path: Path) -> None:
    """Whoever needs it is planned anew, changes nothing, and has it again."""
    place, one = Place(tmp_path, eth1="1"), net(WAY)
    place.state.keep(one)

    place.ways.change([(needing(one), needing(one))])

    assert (place.rules.there, place.settings()) == (
        {("4", "virbr0", 100, 1)},
        {"eth1": "1"},
    )


def test_what_two_ways_share(tmp_path: Path) -> None:
    """One rule for two uplinks of one table, one uplink for two networks: they stay
    while the other needs them."""
    other = "way 4 virbr0 100 1 eth2", "way 4 virbr1 100 1 eth1"
    place, one = Place(tmp_path, eth1="0", eth2="0"), net(WAY)
    for way in (one, *map(net, other)):
        place.state.keep(way)
    place.ways.sync(set(return_routes_of(parsed(WAY, *other))))

    place.ways.change([(one, None)])

    assert (place.rules.there, place.settings()) == (
        {("4", "virbr0", 100, 1), ("4", "virbr1", 100, 1)},
        {"eth1": "1", "eth2": "1"},
    )


def test_everything_is_compared(tmp_path: Path) -> None:
    """What is not wanted goes, with the values that stand for it; IPv6 has no setting,
    and an uplink that is not there has none either."""
    place = Place(tmp_path, eth1="2", eth2="0")
    for table in (100, 101):
        allot_value(place.state, table)
    place.ways.sync(
        set(
            return_routes_of(
                parsed(WAY, "way 6 virbr0 101 2 eth2", "way 4 virbr0 100 1 ppp0")
            )
        )
    )
    during = place.settings()

    place.ways.sync(set(return_routes_of(parsed("way 6 virbr0 101 2 eth2"))))

    assert (during, place.settings()) == (
        {"eth1": "1", "eth2": "0"},
        {"eth1": "2", "eth2": "0"},
    )
    assert (place.rules.there, values(place.state)) == (
        {("6", "virbr0", 101, 2)},
        {2: 101},
    )


def test_a_kernel_that_refuses(tmp_path: Path) -> None:
    """Its own word; what was set is remembered by then, until it can be set again."""
    place = Place(tmp_path, eth1="0")
    place.rules.error = errno.EPERM

    def refuse(_: str, __: bytes) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    ways = ReturnRoutes(place.state, str(place.root), refuse, lambda: place.rules)
    opening = ways.sync(set(return_routes_of(parsed(WAY))))
    kept = place.state.read("vmark/eth1").strip()
    closing = ways.sync(set())
    still_kept = place.state.read("vmark/eth1").strip()

    rules = "rules for return_path cannot be set: Operation not permitted"
    setting = "net.ipv4.conf.eth1.src_valid_mark cannot be set: Read-only file system"
    assert (opening, closing) == ([rules, setting], [rules, setting])
    assert (kept, still_kept) == ("0", "0")
