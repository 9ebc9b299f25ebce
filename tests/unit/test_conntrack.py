"""conntrack: the connections that are cut are exactly those that have to go."""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address
from typing import NamedTuple

import pytest

from unit.builders import Host, network
from unit.netlinks import nla
from vfwhooks.conntrack import beside, cut, may_cut
from vfwhooks.netlink import Netlink, attributes

GUEST, OTHER, HOST = "192.168.122.10", "192.168.122.11", "203.0.113.1"
BRIDGE = "192.168.122.1"
TCP, UDP = 6, 17


class Connection(NamedTuple):
    """Who asked for what, and who answers from which port."""

    destination: str
    port: int
    answers: str
    answers_from: int
    protocol: int = TCP


FORWARDED = Connection(HOST, 8080, GUEST, 80)
CONNECTIONS = {
    "forwarded": FORWARDED,
    "forwarded on another address": Connection("203.0.113.9", 8080, GUEST, 80),
    "another port of the guest's": Connection(HOST, 8443, GUEST, 443),
    "the same port, by way of another forward": Connection(HOST, 8080, GUEST, 81),
    "another forward to the same target": Connection(HOST, 9090, GUEST, 80),
    "another guest's": Connection(HOST, 8080, OTHER, 80),
    "another protocol": Connection(HOST, 8080, GUEST, 80, UDP),
    "the administrator's own, to the host": Connection(HOST, 8080, HOST, 8080),
    "straight at the guest": Connection(GUEST, 8080, GUEST, 8080),
    "out of a guest, to that port elsewhere": Connection(
        "198.51.100.7", 8080, "198.51.100.7", 8080
    ),
    "a range's first port": Connection(HOST, 5000, GUEST, 5000),
    "a range's last port": Connection(HOST, 5010, GUEST, 5010),
    "beyond a range": Connection(HOST, 5011, GUEST, 5011),
    "a range's port, elsewhere": Connection(HOST, 5001, GUEST, 5000),
    "a UDP flow that ends at the host": Connection(HOST, 53, HOST, 53, UDP),
    "a UDP flow to another port of the host": Connection(HOST, 54, HOST, 54, UDP),
    "a UDP flow through the host": Connection("1.1.1.1", 53, "1.1.1.1", 53, UDP),
    "a UDP flow that is forwarded": Connection(HOST, 53, GUEST, 53, UDP),
    "a guest's flow to libvirt's DNS": Connection(BRIDGE, 53, BRIDGE, 53, UDP),
    "a guest's flow to the host": Connection(BRIDGE, 54, BRIDGE, 54, UDP),
    "a TCP connection to the host": Connection(HOST, 53, HOST, 53, TCP),
    "IPv6": Connection("2001:db8::1", 8080, "fd00:122::10", 80),
    "IPv6 at the host": Connection("2001:db8::1", 53, "2001:db8::1", 53, UDP),
}


def direction(
    kind: int, to: str, port: int, frm: str, sport: int, protocol: int
) -> bytes:
    """CTA_TUPLE_ORIG or CTA_TUPLE_REPLY."""
    first = 1 if ip_address(to).version == 4 else 3
    source, destination = ip_address(frm).packed, ip_address(to).packed
    return nla(
        0x8000 | kind,
        nla(0x8001, nla(first, source), nla(first + 1, destination)),
        nla(
            0x8002,
            nla(1, bytes((protocol,))),
            nla(2, struct.pack(">H", sport)),
            nla(3, struct.pack(">H", port)),
        ),
    )


def listed(number: int, one: Connection) -> bytes:
    """What a dump says of a connection of somebody outside, port 40000."""
    client = (
        "198.51.100.2" if ip_address(one.destination).version == 4 else "2001:db8::9"
    )
    kind = one.protocol
    original = direction(1, one.destination, one.port, client, 40000, kind)
    reply = direction(2, client, 40000, one.answers, one.answers_from, kind)
    return bytes(4) + original + reply + nla(12, struct.pack(">I", number))


def is_kept_back(asked: bytes, one: Connection) -> bool:
    """Whether a kernel that is asked for an IPv6 address leaves just this out: its
    comparison is the wrong way round."""
    answers = ip_address(one.answers)
    return 2 in attributes(asked) and answers.version == 6 and answers.packed in asked


class Table(Netlink):
    """A connection table; `filters` says whether its kernel knows filters."""

    def __init__(self, error: int = 0, filters: bool = True) -> None:
        self.names = list(CONNECTIONS)
        self.cut: list[str] = []
        self._error = error
        self._filters = filters

    def dump(self, one: bytes) -> list[tuple[int, bytes]]:
        asked = one[20:]
        if asked and not self._filters:
            raise OSError(errno.EOPNOTSUPP, "no")
        version = 4 if one[16] == 2 else 6
        found = [
            (0, listed(number, CONNECTIONS[name]))
            for number, name in enumerate(self.names)
            if ip_address(CONNECTIONS[name].destination).version == version
            and not is_kept_back(asked, CONNECTIONS[name])
        ]
        return [*found, (0, bytes(4)), (0, bytes(4) + nla(12, b"\0\0\0\7"))]

    def request(self, one: bytes) -> None:
        if self._error:
            raise OSError(self._error, "no")
        parts = attributes(one[20:])
        name = self.names[int.from_bytes(parts[12], "big")]
        original = attributes(listed(0, CONNECTIONS[name])[4:])[1]
        assert (parts[1], one[16]) == (
            original,
            10 if ":" in str(CONNECTIONS[name]) else 2,
        )
        self.cut.append(name)


class Local(Host):
    """The host that has these addresses."""

    def is_local(self, address: str) -> bool:
        return address in (HOST, BRIDGE, "2001:db8::1")


def cut_by(removed: str = "", added: str = "", filters: bool = True) -> list[str]:
    """Which connections are cut."""
    table = Table(filters=filters)
    host = Local(network())
    count = cut(table, host, [removed] * bool(removed), [added] * bool(added))
    assert count == len(table.cut)
    return table.cut


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (
            f"dnat 4 * tcp 8080 8080 {GUEST} 80",
            ["forwarded", "forwarded on another address"],
        ),
        (f"dnat 4 {HOST} tcp 8080 8080 {GUEST} 80", ["forwarded"]),
        (f"dnat 4 * tcp 8080 8080 {OTHER} 80", ["another guest's"]),
        (f"dnat 4 * udp 8080 8080 {GUEST} 80", ["another protocol"]),
        (
            f"dnat 4 * tcp 5000 5010 {GUEST} 5000",
            ["a range's first port", "a range's last port"],
        ),
        (f"dnat 4 * tcp 1 1 {GUEST} 1", []),
        ("dnat 6 * tcp 8080 8080 fd00:122::10 80", ["IPv6"]),
        (f"accept 4 {GUEST}", []),
        ("reject 4 * tcp 8080 8080", []),
    ],
)
@pytest.mark.parametrize("filters", [True, False])
def test_what_a_removed_forward_still_leads_somewhere(
    entry: str, names: list[str], filters: bool
) -> None:
    """By original port, guest and target port together, never by a port alone; also
    where the kernel cannot filter."""
    found = cut_by(removed=entry, filters=filters)

    assert found == names


@pytest.mark.parametrize(
    ("stay", "names"),
    [
        ([], ["forwarded", "forwarded on another address"]),
        ([f"dnat 4 {HOST} tcp 8080 8080 {GUEST} 80"], ["forwarded on another address"]),
        ([f"dnat 4 * tcp 8079 8090 {GUEST} 79"], []),
        (
            [f"dnat 4 * tcp 8080 8080 {GUEST} 81"],
            ["forwarded", "forwarded on another address"],
        ),
        (
            [
                f"dnat 4 * tcp 8079 8090 {GUEST} 79",
                f"dnat 4 {HOST} tcp 8080 8080 {OTHER} 80",
            ],
            ["forwarded"],
        ),
    ],
)
def test_what_an_entry_that_stays_leads_there_as_well(
    stay: list[str], names: list[str]
) -> None:
    """It is forwarded as before; what is on one address goes before what is on every
    one."""
    table = Table()

    cut(table, Local(network()), [f"dnat 4 * tcp 8080 8080 {GUEST} 80"], [], stay)

    assert table.cut == names


def test_entries_beside_those_that_are_removed() -> None:
    """Those of the same guest; one that is removed and put in again is another's."""
    gone = [f"dnat 4 * tcp {port} {port} {GUEST} 80" for port in (80, 81)]
    kept = f"dnat 4 * tcp 82 82 {GUEST} 80"
    held = [gone[1], kept, f"dnat 4 * tcp 83 83 {OTHER} 80", f"accept 4 {GUEST}"]

    found = beside([*gone, f"accept 4 {GUEST}"], held)

    assert (found, beside([f"accept 4 {GUEST}"], held)) == ([kept], [])


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (f"dnat 4 * udp 53 53 {GUEST} 53", ["a UDP flow that ends at the host"]),
        (f"dnat 4 {HOST} udp 53 53 {GUEST} 53", ["a UDP flow that ends at the host"]),
        (f"dnat 4 203.0.113.9 udp 53 53 {GUEST} 53", []),
        (f"dnat 4 * tcp 53 53 {GUEST} 53", []),
        (
            f"dnat 4 * udp 50 60 {GUEST} 50",
            [
                "a UDP flow that ends at the host",
                "a UDP flow to another port of the host",
                "a guest's flow to the host",
            ],
        ),
        ("dnat 6 * udp 53 53 fd00:122::10 53", ["IPv6 at the host"]),
        ("reject 4 * udp 53 53", ["a UDP flow that ends at the host"]),
    ],
)
@pytest.mark.parametrize("filters", [True, False])
def test_what_an_added_forward_takes_over(
    entry: str, names: list[str], filters: bool
) -> None:
    """UDP flows that end at the host itself, none that passes through, and none of a
    guest's to libvirt's DNS."""
    found = cut_by(added=entry, filters=filters)

    assert found == names


def test_nothing_changed() -> None:
    """Nothing is cut, and nothing is listed."""
    found = cut_by()

    assert found == []


def test_a_connection_that_has_ended_meanwhile() -> None:
    """It is not there any more: as good as cut, and not counted."""
    table = Table(error=errno.ENOENT)

    found = cut(table, Local(), [f"dnat 4 * tcp 8080 8080 {GUEST} 80"], [])

    assert found == 0


def test_a_kernel_that_does_not_let_us() -> None:
    """Any other error is one."""
    with pytest.raises(PermissionError):
        cut(
            Table(error=errno.EPERM),
            Local(),
            [f"dnat 4 * tcp 8080 8080 {GUEST} 80"],
            [],
        )


PUBLIC, ELSE, FAR = "203.0.113.7", "203.0.113.1", "198.51.100.9"
# Who asked whom, who answered to whom, over what.
OWN = {
    "by its own address": (GUEST, FAR, FAR, PUBLIC, TCP),
    "by its own address, UDP": (GUEST, FAR, FAR, PUBLIC, UDP),
    "by the host's address": (GUEST, FAR, FAR, ELSE, TCP),
    "by the host's address, UDP": (GUEST, FAR, FAR, ELSE, UDP),
    "to the host itself": (GUEST, BRIDGE, BRIDGE, GUEST, UDP),
    "to a forward": (GUEST, HOST, OTHER, BRIDGE, UDP),
    "another guest's": (OTHER, FAR, FAR, ELSE, UDP),
    "somebody's to the address": (FAR, PUBLIC, PUBLIC, FAR, UDP),
    "somebody's TCP to the address": (FAR, PUBLIC, PUBLIC, FAR, TCP),
    "somebody's to the guest": (FAR, PUBLIC, GUEST, FAR, UDP),
    "somebody's TCP to the guest": (FAR, PUBLIC, GUEST, FAR, TCP),
    "through the host to the address": (FAR, ELSE, ELSE, FAR, UDP),
}


class OwnTable(Table):
    """A connection table with what guests have open towards outside."""

    def __init__(self) -> None:
        super().__init__()
        self.names = list(OWN)

    def dump(self, one: bytes) -> list[tuple[int, bytes]]:
        found = []
        for number, (source, to, answers, back, kind) in enumerate(OWN.values()):
            original = direction(1, to, 999, source, 40000, kind)
            reply = direction(2, back, 40000, answers, 999, kind)
            listed = bytes(4) + original + reply + nla(12, struct.pack(">I", number))
            found.append((0, listed))
        return found if one[16] == 2 else []

    def request(self, one: bytes) -> None:
        self.cut.append(self.names[int.from_bytes(attributes(one[20:])[12], "big")])


class Public(Host):
    """The host that has these addresses."""

    def is_local(self, address: str) -> bool:
        return address in (HOST, PUBLIC, BRIDGE)


WAY_OUT = f"snat 4 {GUEST} {PUBLIC}"
IN = f"dnat 4 {PUBLIC} all 0 65535 {GUEST} 0"


@pytest.mark.parametrize(
    ("removed", "added", "names"),
    [
        ([WAY_OUT], [], ["by its own address", "by its own address, UDP"]),
        ([], [WAY_OUT], ["by the host's address, UDP"]),
        ([IN], [], ["somebody's to the guest", "somebody's TCP to the guest"]),
        ([], [IN], ["somebody's to the address"]),
        ([], [f"reject 4 {PUBLIC} all 0 65535"], ["somebody's to the address"]),
    ],
)
def test_what_is_open_by_a_whole_address(
    removed: list[str], added: list[str], names: list[str]
) -> None:
    """What is taken away is cut, in and out; what is given takes the flows over that
    are not TCP's; nobody else's."""
    table = OwnTable()

    count = cut(table, Public(network()), removed, added)

    assert (table.cut, count) == (names, len(names))


@pytest.mark.parametrize(
    ("removed", "added", "expected"),
    [
        ([], [], False),
        ([WAY_OUT], [], True),
        ([], [WAY_OUT], True),
        ([IN], [], True),
        ([], [IN], True),
        ([], ["reject 4 * udp 53 53"], True),
        ([], ["reject 4 * tcp 53 53"], False),
        ([], [f"dnat 4 * tcp 80 80 {GUEST} 80"], False),
        ([], [f"dnat 4 * sctp 80 80 {GUEST} 80"], False),
        ([], [f"dnat 4 * udp 53 53 {GUEST} 53"], True),
        ([f"dnat 4 * tcp 80 80 {GUEST} 80"], [], True),
        ([f"accept 4 {GUEST}"], [f"left 4 {BRIDGE} udp 53 53"], False),
        ([], [f"accept 4 {GUEST}"], False),
    ],
)
def test_when_connections_are_looked_at(
    removed: list[str], added: list[str], expected: bool
) -> None:
    """A look takes the kernel 9 ms: not for a start that only adds TCP."""
    found = may_cut(removed, added)

    assert found == expected
