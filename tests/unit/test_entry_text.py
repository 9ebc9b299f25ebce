"""entrytext, entries, published: entries as lines, and back, and as values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from unit.builders import parsed, published, written
from vfwhooks.store.entry_text import format_entry, format_published
from vfwhooks.values.entries import HairpinMode, entry_family, key_of

# As the state directory has had them in every release: one of each kind and family.
LINES = [
    "dnat 4 * tcp 8080 8080 192.168.122.10 80",
    "dnat 4 203.0.113.5 udp 5000 5010 192.168.122.10 5000",
    "dnat 6 2001:db8::5 sctp 80 81 fd00:122::10 80",
    "dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0",
    "guard 4 * tcp 8443 8443 allow_0f5c",
    "reject 6 * tcp 80 82",
    "masq 4 203.0.113.5 tcp 80 80",
    "back 4 203.0.113.5 tcp 80 80 eth1 1",
    "backany 6 2001:db8::5 tcp 80 82 enp3s0f1np1.100 15",
    "left 4 192.168.122.1 udp 53 53",
    "snat 6 fd00:122::10 2001:db8::7",
    "hairpin 4 192.168.122.0/24",
    "inside 6 fd00:122::/64",
    "localnet 4 virbr0",
    "accept 4 192.168.122.10",
    "accept 6 fd00:122::10",
    "way 6 virbr0 101 2 eth2",
]


@pytest.mark.parametrize("line", LINES)
def test_any_line_comes_back(line: str) -> None:
    """What a former release has written is read after an upgrade, and written alike."""
    (found,) = parsed(line)

    assert written([found]) == [line]


@pytest.mark.parametrize("line", LINES)
def test_the_family_of_an_entry(line: str) -> None:
    """It stands behind the verb."""
    (found,) = parsed(line)

    assert entry_family(found) == line.split(" ")[1]


def test_a_port_in_hairpin_mode() -> None:
    """It is said in the same way, and never read."""
    found = format_entry(HairpinMode("virbr0", "vnet0"))

    assert found == "mode virbr0 vnet0"


@pytest.mark.parametrize("line", LINES)
def test_equal_entries_are_one_in_a_set(line: str) -> None:
    """Whoever has made them, and whenever their hash was first asked for."""
    (one,), (other,) = parsed(line), parsed(line)
    before = hash(one)

    assert {one, other} == {other}
    assert hash(one) == before


def test_entries_of_two_kinds_are_two() -> None:
    """What publishes the same and does something else with it is something else."""
    some = parsed("reject 4 * tcp 80 80", "masq 4 * tcp 80 80", "left 4 * tcp 80 80")

    assert len({*some, *map(key_of, some)}) == 6


def test_the_two_marks_of_an_address_are_two() -> None:
    """A forward on an address may have one, and so may one on every address."""
    some = parsed(
        "back 4 203.0.113.5 tcp 80 80 eth1 1", "backany 4 203.0.113.5 tcp 80 80 eth1 1"
    )

    assert len(set(map(key_of, some))) == 2


def test_an_entry_never_changes() -> None:
    """It is in sets, and in more records than one."""
    (found,) = parsed(LINES[0])

    with pytest.raises(FrozenInstanceError):
        found.published = published("4 * tcp 1 1")  # type: ignore[misc,union-attr] # tried


def test_parts_of_what_is_published() -> None:
    """Of the same address and protocol."""
    one = published("4 203.0.113.5 udp 5000 5010")

    found = [one.at(5003), one.ports(5001, 5002)]

    assert list(map(format_published, found)) == [
        "4 203.0.113.5 udp 5003 5003",
        "4 203.0.113.5 udp 5001 5002",
    ]
    assert all(part.is_beside(one) for part in found)
