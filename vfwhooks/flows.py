"""The kernel's table of connections, by ctnetlink: looked through, and taken out of.

A look costs the kernel 9 ms, whatever it finds: it walks through a table that is mostly
empty. To take a thousand connections to pieces costs us as much. So what a few
addresses have is asked for one by one, and what many have at once.
"""

import errno
import struct
import time
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from posix import strerror

from .elements import PROTOCOLS
from .errors import VfwError
from .netlink import Netlink, attribute, attributes, find, message, nested, netfilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CONNTRACK = 1 << 8
_GET, _DELETE, _GET_STATS = 1, 2, 5
_ORIGINAL, _REPLY, _STATUS, _ID, _FILTER = 1, 2, 3, 12, 25
_SOURCE, _DESTINATION = 1, 2
_FLAGS = {_ORIGINAL: 1, _REPLY: 2}
_FLAG_PROTOCOL = 8
_DNATED = struct.pack(">I", 1 << 5)
_A_LOOK = 1000  # connections
_AT_ONCE = 64
_UDP = bytes((PROTOCOLS["udp"],))


class Tuple:
    """One direction of a connection: addresses as text, ports as numbers."""

    __slots__ = ("destination", "port", "protocol", "source", "source_port")

    def __init__(self, data: bytes) -> None:
        parts = attributes(data)
        ip, protocol = attributes(parts.get(1, b"")), attributes(parts.get(2, b""))
        family, first = (AF_INET, 1) if 1 in ip else (AF_INET6, 3)
        self.source = inet_ntop(family, ip[first])
        self.destination = inet_ntop(family, ip[first + 1])
        self.protocol = protocol.get(1, b"\0")[0]
        self.source_port = int.from_bytes(protocol.get(2, b""), "big")
        self.port = int.from_bytes(protocol.get(3, b""), "big")


class Flow:
    """A connection: what was asked for, and who answers."""

    __slots__ = ("_key", "original", "reply")

    def __init__(self, parts: dict[int, bytes]) -> None:
        self._key = parts[_ORIGINAL], parts.get(_ID)
        self.original = Tuple(parts[_ORIGINAL])
        self.reply = Tuple(parts[_REPLY])

    def deletion(self) -> bytes:
        """The message that deletes it, and none that has the same tuple later."""
        tuple_, number = self._key
        key = nested(_ORIGINAL, tuple_)
        if number is not None:
            key += attribute(_ID, number)
        family = AF_INET6 if ":" in self.original.source else AF_INET
        return message(_CONNTRACK | _DELETE, netfilter(family, key))

    @property
    def ends_where_it_was_sent(self) -> bool:
        """Whether it is not forwarded anywhere."""
        return (self.original.destination, self.original.port) == (
            self.reply.source,
            self.reply.source_port,
        )


class Flows:
    """The table; whoever looks at it may take `until` then (monotonic), for there may
    be millions. Then VfwError is raised, and the socket is of no use any more."""

    def __init__(self, link: Netlink, until: float = float("inf")) -> None:
        self._link = link
        self._until = until

    def forwarded_to(self, addresses: "Iterable[str]") -> list[Flow]:
        """Those that one of the addresses answers in another's place."""
        status = attribute(_STATUS, _DNATED)
        return self._of(_REPLY, _SOURCE, addresses, status)

    def sent_by(self, addresses: "Iterable[str]") -> list[Flow]:
        """Those that one of the addresses began."""
        return self._of(_ORIGINAL, _SOURCE, addresses)

    def sent_to(self, addresses: "Iterable[str]") -> list[Flow]:
        """Those that were begun towards one of the addresses."""
        return self._of(_ORIGINAL, _DESTINATION, addresses)

    def over_udp(self, family: str) -> list[Flow]:
        """All UDP flows of a family ("4", "6")."""
        flags = struct.pack("=I", _FLAG_PROTOCOL)
        wanted = nested(_ORIGINAL, nested(2, attribute(1, _UDP)))
        wanted += nested(_FILTER, attribute(_FLAGS[_ORIGINAL], flags))
        number = AF_INET6 if family == "6" else AF_INET
        return _flows(self._list(number, wanted, _is_udp)[0])

    def delete(self, flows: list[Flow]) -> int:
        """Cut these connections; how many, for some may have ended meanwhile."""
        count = 0
        for at in range(0, len(flows), _AT_ONCE):
            self._hurry()
            some = [one.deletion() for one in flows[at : at + _AT_ONCE]]
            refused = self._link.tell(some)
            count += len(some) - len(refused)
            for number in refused:
                if number != errno.ENOENT:
                    raise OSError(number, strerror(number))
        return count

    def _of(
        self,
        direction: int,
        which: int,
        addresses: "Iterable[str]",
        status: bytes = b"",
    ) -> list[Flow]:
        """The connections one of whose addresses is one of these; `status` leaves out
        others where the kernel knows it."""
        packed: dict[int, set[bytes]] = {}
        for address in addresses:
            number = AF_INET6 if ":" in address else AF_INET
            packed.setdefault(number, set()).add(inet_pton(number, address))
        found: list[bytes] = []
        for number, some in packed.items():
            kind = which if number == AF_INET else which + 2

            def is_wanted(
                payload: bytes, kind: int = kind, some: set[bytes] = some
            ) -> bool:
                way = find(payload, direction, 4)
                return find(find(way, 1), kind) in some

            # Every kernel so far lists all but the IPv6 address it is asked for.
            if number == AF_INET6 or not self._is_cheaper_one_by_one(len(some)):
                found += self._list(number, status, is_wanted)[0]
                continue
            flags = attribute(_FLAGS[direction], struct.pack("=I", which))
            for one in sorted(some):
                asked = nested(direction, nested(1, attribute(kind, one)))
                asked += nested(_FILTER, flags)
                listed, is_all = self._list(number, asked, is_wanted)
                found += listed
                if is_all:
                    break
        return _flows(found)

    def _is_cheaper_one_by_one(self, addresses: int) -> bool:
        return addresses == 1 or (addresses - 1) * _A_LOOK < self._count()

    def _count(self) -> int:
        """How many connections there are."""
        answer = self._link.ask(message(_CONNTRACK | _GET_STATS, netfilter(0)))
        return int.from_bytes(find(answer, 1, 4), "big")

    def _list(
        self, number: int, asked: bytes, is_wanted: "Callable[[bytes], bool]"
    ) -> tuple[list[bytes], bool]:
        """The wanted ones of those that are asked for; and whether others came as well,
        as from kernels before 5.8, which ignore what is asked, or refuse it."""
        others = 0

        def is_one(payload: bytes) -> bool:
            nonlocal others
            self._hurry()
            is_it = is_wanted(payload)
            others += not is_it
            return is_it

        kind = _CONNTRACK | _GET
        try:
            found = self._link.dump(message(kind, netfilter(number, asked)), is_one)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT):
                raise
            found = self._link.dump(message(kind, netfilter(number)), is_one)
        return [payload for _, payload in found], others > 0

    def _hurry(self) -> None:
        if time.monotonic() > self._until:
            raise VfwError(
                "there are too many connections to look at all in time: some may still "
                "go to guests that are not forwarded to any more"
            )


def _is_udp(payload: bytes) -> bool:
    return find(find(find(payload, _ORIGINAL, 4), 2), 1) == _UDP


def _flows(listed: list[bytes]) -> list[Flow]:
    found = [attributes(payload[4:]) for payload in listed]
    return [Flow(parts) for parts in found if _ORIGINAL in parts and _REPLY in parts]
