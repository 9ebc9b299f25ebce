"""unanswered: forwards whose connections no guest has answered; e2e has a kernel's."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from unit.flowtable import UDP, Connection, Table
from vfwhooks.diagnosis.status_rows import ForwardStatus
from vfwhooks.diagnosis.unanswered import check_unanswered, judge
from vfwhooks.host.conntrack import Flows
from vfwhooks.values.errors import OutOfTime

HOST, HOST6, SECOND = "203.0.113.1", "2001:db8::1", "203.0.113.5"
GUEST, GUEST6, OTHER = "192.168.122.10", "fd00:122::10", "192.168.122.11"
WHY = "unanswered: default route or firewall in the guest?"
ICMP = 1


def row(
    host: str = "*",
    published: str = "8080",
    target: str = "80",
    protocol: str = "tcp",
    address: str = GUEST,
    state: str = "active",
    reason: str = "",
) -> ForwardStatus:
    """A forward of web1's, as status has it."""
    return ForwardStatus(
        "web1", host, published, target, protocol, address, state, reason, 0
    )


def lost(
    port: int = 8080,
    to: int = 80,
    host: str = HOST,
    guest: str = GUEST,
    protocol: int = 6,
) -> Connection:
    """A connection that was never answered."""
    return Connection(host, port, guest, to, protocol, is_answered=False)


def heard(port: int = 8080, to: int = 80, host: str = HOST) -> Connection:
    """One that was."""
    return lost(port, to, host)._replace(is_answered=True)


def reasons(
    rows: list[ForwardStatus], *connections: Connection, kernel: str = "filters"
) -> list[str]:
    """What is said of each, the table having these connections."""
    table = Table({str(n): one for n, one in enumerate(connections)}, kernel)
    return [one.reason for one in judge(rows, Flows(table))]


@pytest.mark.parametrize("kernel", ["filters", "ignores", "refuses"])
def test_all_unanswered(kernel: str) -> None:
    """They are counted, of either family."""
    rows = [row(), row(address=GUEST6), row(published="8081")]
    six = lost(host=HOST6, guest=GUEST6)

    found = reasons(rows, lost(), six, lost(host=SECOND), lost(), kernel=kernel)

    assert found == [f"3 of 3 {WHY}", f"1 of 1 {WHY}", ""]


@pytest.mark.parametrize("connections", [(heard(), lost()), (lost(), heard())])
def test_one_is_answered(connections: tuple[Connection, ...]) -> None:
    """Then nothing is said, whichever comes first."""
    assert reasons([row()], *connections) == [""]


@pytest.mark.parametrize(
    "connection",
    [
        lost(port=8081),
        lost(to=81),
        lost(guest=OTHER),
        lost(protocol=UDP),
        lost(guest=HOST, to=8080),
        Connection(GUEST, 80, GUEST, 80, is_answered=False),
    ],
    ids=["port", "target", "guest", "protocol", "the host's own", "straight"],
)
def test_connections_of_others(connection: Connection) -> None:
    """What our DNAT has not made for the forward does not count."""
    assert reasons([row()], connection) == [""]


def test_the_address_that_is_published_on() -> None:
    """A connection belongs to the forward on its address before the one on all."""
    rows = [row(), row(SECOND)]

    found = [
        reasons(rows, lost(host=SECOND), heard()),
        reasons(rows, heard(host=SECOND), lost()),
        reasons(rows, lost()),
    ]

    assert found == [
        ["", f"1 of 1 {WHY}"],
        [f"1 of 1 {WHY}", ""],
        [f"1 of 1 {WHY}", ""],
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "*", HOST])
def test_every_address(host: str) -> None:
    """However that is written; 0.0.0.0 is IPv4's."""
    assert reasons([row(host)], lost()) == [f"1 of 1 {WHY}"]


@pytest.mark.parametrize(
    ("one", "connections", "count"),
    [
        (
            row(published="5000-5010", target="5000-5010", protocol="udp"),
            [lost(5000, 5000, protocol=UDP), lost(5010, 5010, protocol=UDP)],
            2,
        ),
        (
            row(published="9100-9110", target="9000-9010"),
            [lost(9100, 9000), lost(9110, 9010), lost(9105, 9105)],
            2,
        ),
        (
            row(published="9200-9204", target="80"),
            [lost(9200, 80), lost(9204, 80), lost(9205, 80)],
            2,
        ),
        (
            row(SECOND, "all", "all", "all"),
            [
                lost(22, 22, SECOND),
                lost(53, 53, SECOND, protocol=UDP),
                lost(0, 0, SECOND, protocol=ICMP),
            ],
            3,
        ),
    ],
    ids=["range", "shifted", "to one", "a whole address"],
)
def test_many_ports(
    one: ForwardStatus, connections: list[Connection], count: int
) -> None:
    """Ranges, and a whole address with all protocols."""
    assert reasons([one], *connections) == [f"{count} of {count} {WHY}"]


def test_what_is_not_active() -> None:
    """It keeps its reason, and what is active beside it is judged."""
    rows = [row(SECOND, state="blocked", reason="why"), row()]

    assert reasons(rows, lost(host=SECOND)) == ["why", f"1 of 1 {WHY}"]


def test_what_has_a_note() -> None:
    """It has both; that of an answered one stays alone."""
    note = "NAME listens on …; the forward was first"
    rows = [row(reason=note), row(published="8081", reason=note)]

    found = reasons(rows, lost(), lost(8081), heard(8081))

    assert found == [f"{note}; 1 of 1 {WHY}", note]


def test_one_look() -> None:
    """At the table, for all forwards of both families; all else of a row stays."""
    table = Table({"four": lost(), "six": lost(host=HOST6, guest=GUEST6)})

    found = judge([row(), row(address=GUEST6)], Flows(table)), table.looks

    why = f"1 of 1 {WHY}"
    assert found == ([row(reason=why), row(address=GUEST6, reason=why)], 1)


class Resized(Table):
    """A table that lists what it has a second time, as the kernel's may while it is
    resized or read again."""

    def dump(
        self, one: bytes, is_wanted: Callable[[bytes], bool] | None = None
    ) -> list[tuple[int, bytes]]:
        super().dump(one, is_wanted)
        return super().dump(one, is_wanted)


def test_what_is_listed_twice_is_counted_once() -> None:
    """By its number."""
    table = Resized({"one": lost(), "other": lost()})

    found = judge([row()], Flows(table))

    assert found == [row(reason=f"2 of 2 {WHY}")]


def test_a_table_that_takes_too_long() -> None:
    """The look ends."""
    with pytest.raises(OutOfTime):
        judge([row()], Flows(Table({"one": lost()}), until=0))


def test_a_kernel_that_does_not_tell() -> None:
    """Its word is passed on."""
    with pytest.raises(OSError) as caught:
        judge([row()], Flows(Table({"one": lost()}, "forbids")))

    assert caught.value.errno == errno.EPERM


def test_what_doctor_says() -> None:
    """A note for each, with the next step; nothing of other reasons."""
    rows = [
        row(reason=f"3 of 3 {WHY}"),
        row(),
        row(SECOND, reason="NAME listens on …"),
        row(SECOND, address=GUEST, reason=f"1 of 1 {WHY}"),
    ]

    found = [str(one) for one in check_unanswered(rows)]

    cure = "look in the guest: ip route, ip -6 route, nft list ruleset"
    assert found == [
        f"note   web1: 8080/tcp to {GUEST}: 3 of 3 {WHY}; {cure}",
        f"note   web1: {SECOND} 8080/tcp to {GUEST}: 1 of 1 {WHY}; {cure}",
    ]
