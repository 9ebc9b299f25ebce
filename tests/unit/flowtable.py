"""A kernel's table of connections, as ctnetlink tells of it."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from unit.netlinks import nla
from vfwhooks.host.netlink import Netlink, attributes

TCP, UDP = 6, 17
_ANY, _INET, _INET6 = 0, 2, 10
_GET, _DELETE = 0x0101, 0x0102
_ANSWERED, _SNATED, _DNATED = 0x2, 0x10, 0x20
# What CTA_FILTER's flags say is to be compared, by the direction that they are for.
_SOURCE, _DESTINATION, _PROTOCOL, _PORT = 1, 2, 8, 32
CLIENTS = {4: "198.51.100.2", 6: "2001:db8::9"}


class Connection(NamedTuple):
    """Who asked whom for what port, and who answers to whom from which port."""

    destination: str
    port: int
    answers: str
    answers_from: int
    protocol: int = TCP
    source: str = ""
    answers_to: str = ""
    is_answered: bool = True

    @property
    def client(self) -> str:
        """Who asked: somebody outside, as a rule."""
        return self.source or CLIENTS[ip_address(self.destination).version]

    @property
    def status(self) -> int:
        """Whether it was ever answered, and whether somebody else answers than was
        asked, and to somebody else."""
        is_dnated = self.answers != self.destination
        is_snated = (self.answers_to or self.client) != self.client
        is_nat = _DNATED * is_dnated | _SNATED * is_snated
        return _ANSWERED * self.is_answered | is_nat


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
    """What a dump says of a connection from port 40000."""
    kind = one.protocol
    original = direction(1, one.destination, one.port, one.client, 40000, kind)
    to = one.answers_to or one.client
    reply = direction(2, to, 40000, one.answers, one.answers_from, kind)
    status, own = struct.pack(">I", one.status), struct.pack(">I", number)
    return bytes(4) + original + reply + nla(3, status) + nla(12, own)


def is_asked_for(asked: bytes, one: Connection) -> bool:
    """Whether a kernel that knows filters lists it. It compares IPv6 addresses the
    wrong way round, and leaves out just the ones that it is asked for."""
    wanted, known = attributes(asked), attributes(listed(0, one)[4:])
    status = int.from_bytes(wanted.get(3, b""), "big")
    if status & ~one.status:
        return False
    flags = attributes(wanted.get(25, b""))
    for kind in (1, 2):
        flag = int.from_bytes(flags.get(kind, b""), "little")
        if not flag:
            continue
        mine, theirs = attributes(wanted[kind]), attributes(known[kind])
        if flag in (_PROTOCOL, _PROTOCOL | _PORT):
            ports, own = attributes(mine[2]), attributes(theirs[2])
            kinds = {_PROTOCOL: (1,), _PROTOCOL | _PORT: (1, 3)}[flag]
            return all(ports[one] == own[one] for one in kinds)
        addresses, own = attributes(mine[1]), attributes(theirs[1])
        ((which, address),) = addresses.items()
        assert which in (flag, flag + 2)
        return (own[which] == address) == (which < 3)
    return True


class Table(Netlink):
    """A connection table. Its kernel filters, or it "ignores", "refuses" or "forbids"
    that; all deletions may be an `error`, or those by name in `errors`. `looks` counts
    how often it was looked through, `told` is what it listed last."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        kernel: str = "filters",
        error: int = 0,
    ) -> None:
        self.connections = connections
        self.names = list(connections)
        self.errors = dict.fromkeys(self.names, error) if error else {}
        self.cut: list[str] = []
        self.told: list[str] = []
        self.looks = 0
        self._kernel = kernel

    def dump(
        self, one: bytes, is_wanted: Callable[[bytes], bool] | None = None
    ) -> list[tuple[int, bytes]]:
        asked, is_filtering = one[20:], self._kernel == "filters"
        assert _kind(one) == _GET
        if asked and self._kernel in ("refuses", "forbids"):
            number = errno.EPERM if self._kernel == "forbids" else errno.EOPNOTSUPP
            raise OSError(number, "no")
        self.looks += 1
        versions = {_ANY: (4, 6), _INET6: (6,)}.get(one[16], (4,))
        self.told = [
            name
            for name, connection in self.connections.items()
            if ip_address(connection.destination).version in versions
            and (not is_filtering or is_asked_for(asked, connection))
        ]
        found = [self._listed(name) for name in self.told]
        if not is_filtering:
            found += [bytes(4), bytes(4) + nla(12, b"\0\0\0\7")]
        return [(0, one) for one in found if is_wanted is None or is_wanted(one)]

    def _listed(self, name: str) -> bytes:
        connection = self.connections[name]
        family = _INET6 if ":" in connection.destination else _INET
        payload = listed(self.names.index(name), connection)
        return bytes((family,)) + payload[1:]

    def tell(self, messages: list[bytes]) -> list[int]:
        names = list(map(self._deleted, messages))
        self.cut += [name for name in names if name not in self.errors]
        return [self.errors[name] for name in names if name in self.errors]

    def _deleted(self, one: bytes) -> str:
        assert _kind(one) == _DELETE
        parts = attributes(one[20:])
        name = self.names[int.from_bytes(parts[12], "big")]
        connection = self.connections[name]
        original = attributes(listed(0, connection)[4:])[1]
        family = _INET6 if ":" in connection.destination else _INET
        assert (parts[1], one[16]) == (original, family)
        return name


def _kind(one: bytes) -> int:
    return int.from_bytes(one[4:6], "little")
