"""flows: how the kernel's connections are looked through, and taken out."""

from __future__ import annotations

import errno

import pytest

from unit.flowtable import TCP, UDP, Connection, Table
from vfwhooks.errors import VfwError
from vfwhooks.flows import Flows

HOST, HOST6 = "203.0.113.1", "2001:db8::1"
GUESTS = [f"192.168.122.{number}" for number in range(10, 20)]
GUESTS6 = [f"fd00:122::{number}" for number in range(10, 20)]
TABLE = {
    **{guest: Connection(HOST, 8080, guest, 80) for guest in (*GUESTS, "10.0.0.1")},
    **{guest: Connection(HOST6, 8080, guest, 80) for guest in (*GUESTS6, "fd00::1")},
    "to the host": Connection(HOST, 53, HOST, 53, UDP),
    "to the host, IPv6": Connection(HOST6, 53, HOST6, 53, UDP),
    "out of a guest": Connection("1.1.1.1", 443, "1.1.1.1", 443, TCP, GUESTS[0], HOST),
}
KERNELS = "filters", "ignores", "refuses"


def answering(table: Table, *guests: str) -> list[str]:
    """Who answers what is forwarded to these guests."""
    return [flow.reply.source for flow in Flows(table).forwarded_to(guests)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("count", [1, 1_000_000])
@pytest.mark.parametrize("guests", [GUESTS[:1], GUESTS, GUESTS[:3] + GUESTS6[:3]])
def test_what_is_forwarded_to_guests(
    guests: list[str], count: int, kernel: str
) -> None:
    """To few or many, by whatever way is cheaper, and whatever the kernel can do."""
    found = answering(Table(TABLE, kernel, count=count), *guests)

    assert sorted(found) == sorted(guests)


@pytest.mark.parametrize(
    ("guests", "count", "kernel", "dumps"),
    [
        ([], 0, "filters", 0),
        (GUESTS[:1], 1, "filters", 1),
        (GUESTS, 9_000, "filters", 1),
        (GUESTS, 9_001, "filters", 10),
        (GUESTS, 9_001, "ignores", 1),
        (GUESTS6, 9_001, "filters", 1),
    ],
)
def test_how_often_the_table_is_looked_through(
    guests: list[str], count: int, kernel: str, dumps: int
) -> None:
    """Each guest's connections by themselves only where all of them would take longer
    than that; where the kernel lists all anyway, once."""
    table = Table(TABLE, kernel, count=count)

    answering(table, *guests)

    assert table.dumps == dumps


def test_one_guest() -> None:
    """How many connections there are does not matter then."""
    table = Table(TABLE)

    answering(table, GUESTS[0])

    assert (table.asked, table.told) == (0, [GUESTS[0]])


def test_the_kernel_lists_no_more_than_it_has_to() -> None:
    """What is forwarded, and UDP; the rest would have to be taken to pieces."""
    table = Table(TABLE)

    answering(table, *GUESTS)
    Flows(table).over_udp("4")

    assert table.told == [*GUESTS, "10.0.0.1", "to the host"]


def test_a_kernel_that_does_not_let_us_look() -> None:
    """That is an error, other than a filter that it does not know."""
    with pytest.raises(PermissionError):
        answering(Table(TABLE, "forbids"), GUESTS[0])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("count", [1, 1_000_000])
def test_the_other_ways_to_ask(kernel: str, count: int) -> None:
    """By who began it, by what was asked for, by the protocol."""
    flows = Flows(Table(TABLE, kernel, count=count))

    found = [
        *flows.sent_by([*GUESTS]),
        *flows.sent_to(["1.1.1.1", "1.1.1.2"]),
        *flows.over_udp("4"),
        *flows.over_udp("6"),
    ]

    assert [flow.original.destination for flow in found] == [
        "1.1.1.1",
        "1.1.1.1",
        HOST,
        HOST6,
    ]


def test_a_host_that_has_too_many() -> None:
    """Whoever may not take longer does not."""
    flows = Flows(Table(TABLE), until=0.0)

    with pytest.raises(VfwError, match="too many connections"):
        flows.forwarded_to(GUESTS)


def test_there_is_no_time_left_to_cut() -> None:
    """Looking through them may have taken it."""
    table = Table(TABLE)
    found = Flows(table).forwarded_to(GUESTS)

    with pytest.raises(VfwError, match="too many connections"):
        Flows(table, until=0.0).delete(found)

    assert table.cut == []


def test_many_are_cut() -> None:
    """Some dozens at once."""
    table = Table({str(n): Connection(HOST, n, GUESTS[0], n) for n in range(200)})
    flows = Flows(table)

    count = flows.delete(flows.forwarded_to(GUESTS))

    assert (count, table.cut) == (200, [str(n) for n in range(200)])


@pytest.mark.parametrize(("error", "count"), [(errno.ENOENT, 0), (errno.EPERM, None)])
def test_some_that_cannot_be_cut(error: int, count: int | None) -> None:
    """They have ended meanwhile; anything else is an error."""
    flows = Flows(Table(TABLE, error=error))
    found = flows.forwarded_to(GUESTS)

    if count is None:
        with pytest.raises(PermissionError):
            flows.delete(found)
    else:
        assert flows.delete(found) == count
