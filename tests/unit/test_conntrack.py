"""conntrack: how the kernel's connections are looked through, and taken out."""

from __future__ import annotations

import errno
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from unit.flowtable import TCP, UDP, Connection, Table
from vfwhooks.host.conntrack import Flows, Tuple
from vfwhooks.host.listeners import Range
from vfwhooks.values.errors import OutOfTime

HOST, HOST6, FAR = "203.0.113.1", "2001:db8::1", "1.1.1.1"
GUESTS = [f"192.168.122.{number}" for number in range(10, 20)]
GUESTS6 = [f"fd00:122::{number}" for number in range(10, 20)]
TABLE = {
    **{guest: Connection(HOST, 8080, guest, 80) for guest in (*GUESTS, "10.0.0.1")},
    **{guest: Connection(HOST6, 8080, guest, 80) for guest in (*GUESTS6, "fd00::1")},
    "to the host": Connection(HOST, 53, HOST, 53, UDP),
    "to the host, IPv6": Connection(HOST6, 53, HOST6, 53, UDP),
    "out of a guest": Connection(FAR, 443, FAR, 443, TCP, GUESTS[0], HOST),
}
KERNELS = "filters", "ignores", "refuses"


def packed(*addresses: str) -> list[bytes]:
    """As they are on the wire."""
    return [ip_address(address).packed for address in addresses]


def every(original: Tuple, reply: Tuple) -> bool:
    """All are stale."""
    return True


def here(address: bytes) -> bool:
    """All are this host's."""
    return True


def cut_forwarded(table: Table, *guests: str) -> int:
    """Everything that is forwarded to these guests."""
    return Flows(table).cut_forwarded(packed(*guests), every)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("guests", [GUESTS[:1], GUESTS, GUESTS[:3] + GUESTS6[:3]])
def test_what_is_forwarded_to_guests(guests: list[str], kernel: str) -> None:
    """To one or many, whatever the kernel can do."""
    table = Table(TABLE, kernel)

    count = cut_forwarded(table, *guests)

    assert (count, table.cut) == (len(guests), guests)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_other_ways_to_ask(kernel: str) -> None:
    """By who began it, by what was asked for, by the protocol."""
    table = Table(TABLE, kernel)
    flows = Flows(table)

    flows.cut_leaving(packed(*GUESTS), every)
    flows.cut_sent(packed(FAR, "1.1.1.2"), every)
    flows.cut_udp("4", [(53, 53)], here, every)
    flows.cut_udp("6", [(50, 60), (99, 99)], here, every)

    names = ["out of a guest"] * 2 + ["to the host", "to the host, IPv6"]
    assert table.cut == names


@pytest.mark.parametrize(
    ("guests", "looks"),
    [([], 0), (GUESTS[:1], 1), (GUESTS, 1), (GUESTS6, 1), (GUESTS + GUESTS6, 2)],
)
def test_how_often_the_table_is_looked_through(guests: list[str], looks: int) -> None:
    """Once a family, for however many guests."""
    table = Table(TABLE)

    cut_forwarded(table, *guests)

    assert table.looks == looks


def test_the_kernel_lists_no_more_than_it_has_to() -> None:
    """One guest's, or all that is forwarded; UDP; what leaves by another address. The
    rest would have to be taken to pieces."""
    table = Table(TABLE)
    flows = Flows(table)
    looks: list[Callable[[], int]] = [
        lambda: cut_forwarded(table, GUESTS[0]),
        lambda: cut_forwarded(table, *GUESTS[:2]),
        lambda: flows.cut_udp("4", [(54, 60), (53, 53)], here, every),
        lambda: flows.cut_udp("4", [(54, 54)], here, every),
        lambda: flows.cut_leaving(packed(*GUESTS[:2]), every),
        lambda: flows.cut_sent(packed(FAR), every),
    ]
    told = []

    for look in looks:
        look()
        told.append(table.told)

    assert told == [
        GUESTS[:1],
        [*GUESTS, "10.0.0.1"],
        ["to the host"],
        [],
        ["out of a guest"],
        ["out of a guest"],
    ]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ports", [[(53, 53)], [(53, 53), (99, 99)], [(50, 60)]])
def test_udp_flows_that_are_not_read(ports: list[Range], kernel: str) -> None:
    """To other ports, which may be 100,000, and to addresses elsewhere: neither both
    directions nor an address is looked at in vain."""
    to = {
        number: Connection(HOST, number, HOST, number, UDP) for number in (49, 53, 61)
    }
    tcp = Connection("10.0.0.2", 53, "10.0.0.2", 53, TCP)
    table = Table(
        {str(port): one for port, one in to.items()}
        | {"far": Connection(FAR, 53, FAR, 53, UDP), "TCP": tcp},
        kernel,
    )
    looked, read = [], []

    def is_here(address: bytes) -> bool:
        looked.append(str(ip_address(address)))
        return looked[-1] == HOST

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        read.append(original.port)
        return True

    Flows(table).cut_udp("4", ports, is_here, is_stale)

    assert (looked, read, table.cut) == ([HOST, FAR], [53], ["53"])


def test_what_both_directions_say() -> None:
    """Packed addresses and ports of each."""
    seen = []

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        seen.extend([original, reply])
        return False

    count = Flows(Table(TABLE)).cut_leaving(packed(GUESTS[0]), is_stale)

    guest, far, host = packed(GUESTS[0], FAR, HOST)
    assert count == 0
    assert [
        (one.source, one.source_port, one.destination, one.port, one.protocol)
        for one in seen
    ] == [(guest, 40000, far, 443, TCP), (far, 443, host, 40000, TCP)]


@pytest.mark.parametrize("guests", [GUESTS, ["10.0.0.2"]])
def test_there_is_no_time_to_look(guests: list[str]) -> None:
    """Not even where nothing would be found."""
    table = Table(TABLE)

    with pytest.raises(OutOfTime):
        Flows(table, until=0.0).cut_forwarded(packed(*guests), every)

    assert (table.looks, table.cut) == (0, [])


def test_there_is_no_time_to_go_on() -> None:
    """While a large table is looked through, and while much is cut."""
    table = Table(TABLE)
    flows = Flows(table, until=float("inf"))

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        flows._until = 0.0
        return True

    with pytest.raises(OutOfTime):
        flows.cut_forwarded(packed(*GUESTS), is_stale)

    assert (table.looks, table.cut) == (1, [])


def test_many_are_cut() -> None:
    """Some dozens at once."""
    table = Table({str(n): Connection(HOST, n, GUESTS[0], n) for n in range(200)})

    count = cut_forwarded(table, GUESTS[0])

    assert (count, table.cut) == (200, [str(n) for n in range(200)])


def test_what_has_ended_meanwhile() -> None:
    """Is as good as cut, and not counted."""
    assert cut_forwarded(Table(TABLE, error=errno.ENOENT), *GUESTS) == 0


def test_what_cannot_be_cut() -> None:
    """That is an error, when all that can be cut has been."""
    table = Table({str(n): Connection(HOST, n, GUESTS[0], n) for n in range(200)})
    table.errors = {"0": errno.EBUSY, "1": errno.ENOENT}

    with pytest.raises(OSError, match="busy"):
        cut_forwarded(table, GUESTS[0])

    assert len(table.cut) == 198


def test_a_kernel_that_does_not_let_us_look() -> None:
    """That is an error, other than a filter that it does not know."""
    with pytest.raises(PermissionError):
        cut_forwarded(Table(TABLE, "forbids"), GUESTS[0])
