"""The kernel's connection table, by ctnetlink: dumps with a filter, and deletes.

A dump takes the kernel 9 ms and more, whatever it finds: the kernel walks through a
table that is mostly empty. So each question is one dump, for any number of addresses.
"""

import errno
import struct
import time
from _socket import AF_INET, AF_INET6, AF_UNSPEC
from collections.abc import Callable, Collection
from os import strerror

from ..values.errors import OutOfTime
from ..values.protocols import PROTOCOL_NUMBERS
from .listeners import Range
from .netlink import Netlink, attribute, find, message, nested, netfilter

IsStale = Callable[["Tuple", "Tuple"], bool]
Show = Callable[[bytes, bool, "Tuple", "Tuple"], None]

_CTNETLINK = 1 << 8  # NFNL_SUBSYS_CTNETLINK
_IPCTNL_MSG_CT_GET, _IPCTNL_MSG_CT_DELETE = 1, 2
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_STATUS = 1, 2, 3
_CTA_ID, _CTA_ZONE, _CTA_FILTER = 12, 18, 25
_CTA_IP_V4_SRC, _CTA_IP_V4_DST = 1, 2
_CTA_FILTER_ORIG_FLAGS, _CTA_FILTER_REPLY_FLAGS = 1, 2
_FLAGS = {
    _CTA_TUPLE_ORIG: _CTA_FILTER_ORIG_FLAGS,
    _CTA_TUPLE_REPLY: _CTA_FILTER_REPLY_FLAGS,
}
_CTA_FILTER_F_CTA_PROTO_NUM, _CTA_FILTER_F_CTA_PROTO_DST_PORT = 8, 32
_IPS_SEEN_REPLY, _IPS_SRC_NAT, _IPS_DST_NAT = 1 << 1, 1 << 4, 1 << 5
_SNATED, _DNATED = struct.pack(">I", _IPS_SRC_NAT), struct.pack(">I", _IPS_DST_NAT)
_FAMILIES = {4: AF_INET, 16: AF_INET6}  # by the length of an address
_HEAD = 4
# The kernel answers each message that it refuses, and the socket needs room for this.
_AT_ONCE = 64
_UDP = bytes((PROTOCOL_NUMBERS["udp"],))


class Tuple:
    """One direction of a connection: packed addresses, port and protocol numbers."""

    __slots__ = ("destination", "port", "protocol", "source", "source_port")

    def __init__(self, data: bytes) -> None:
        ip, protocol = find(data, 1), find(data, 2)
        self.source = find(ip, _CTA_IP_V4_SRC) or find(ip, _CTA_IP_V4_SRC + 2)
        self.destination = find(ip, _CTA_IP_V4_DST) or find(ip, _CTA_IP_V4_DST + 2)
        self.protocol = int.from_bytes(find(protocol, 1), "big")
        self.source_port = int.from_bytes(find(protocol, 2), "big")
        self.port = int.from_bytes(find(protocol, 3), "big")


class Flows:
    """The connection table; `is_stale` decides by both directions of a connection.

    A dump may take until the time `until` (monotonic), for there may be millions of
    connections. Then OutOfTime is raised, and the socket is of no use any more.
    """

    def __init__(self, link: Netlink, until: float = float("inf")) -> None:
        self._link = link
        self._until = until

    def cut_forwarded(self, to: "Collection[bytes]", is_stale: "IsStale") -> int:
        """Cut stale connections that DNAT leads to one of these addresses; their
        number."""
        return self._cut_of(_CTA_TUPLE_REPLY, _CTA_IP_V4_SRC, to, _DNATED, is_stale)

    def cut_leaving(self, by: "Collection[bytes]", is_stale: "IsStale") -> int:
        """Cut stale connections from these addresses that leave from another one by
        SNAT."""
        return self._cut_of(_CTA_TUPLE_ORIG, _CTA_IP_V4_SRC, by, _SNATED, is_stale)

    def cut_sent(self, to: "Collection[bytes]", is_stale: "IsStale") -> int:
        """Cut stale connections that clients opened to one of these addresses."""
        return self._cut_of(_CTA_TUPLE_ORIG, _CTA_IP_V4_DST, to, b"", is_stale)

    def cut_udp(
        self,
        family: str,
        ports: "Collection[Range]",
        is_here: Callable[[bytes], bool],
        is_stale: "IsStale",
    ) -> int:
        """Cut stale UDP flows of a family ("4", "6") to these ports of addresses for
        which `is_here` holds. There may be some 100,000 other flows: the kernel filters
        by a single port; for more ports this code reads no more of a flow than it must.
        """
        is_six = family == "6"
        number, to = (AF_INET6 if is_six else AF_INET), _CTA_IP_V4_DST + 2 * is_six
        (first, last), *more = {*ports}
        asked, flag = attribute(1, _UDP), _CTA_FILTER_F_CTA_PROTO_NUM
        if first == last and not more:
            asked += attribute(3, first.to_bytes(2, "big"))
            flag |= _CTA_FILTER_F_CTA_PROTO_DST_PORT
        asked = nested(_CTA_TUPLE_ORIG, nested(2, asked))
        flags = attribute(_CTA_FILTER_ORIG_FLAGS, struct.pack("=I", flag))
        asked += nested(_CTA_FILTER, flags)
        is_asked = bytearray(1 << 16)
        for first, last in ports:
            is_asked[first : last + 1] = b"\1" * (last + 1 - first)

        def is_it(payload: bytes) -> bool:
            original = find(payload, _CTA_TUPLE_ORIG, _HEAD)
            about = find(original, 2)
            return (
                is_asked[int.from_bytes(find(about, 3), "big")] == 1
                and find(about, 1) == _UDP
                and is_here(find(find(original, 1), to))
                and _is(is_stale, payload)
            )

        return self._cut(number, asked, is_it)

    def show_forwarded(self, show: "Show") -> None:
        """Call `show` for each connection with DNAT: its id, whether it was ever
        answered, and both directions. One dump covers both families; a connection that
        begins meanwhile may be shown twice."""

        def is_kept(payload: bytes) -> bool:
            status = int.from_bytes(find(payload, _CTA_STATUS, _HEAD), "big")
            if status & _IPS_DST_NAT:
                original, reply = (find(payload, kind, _HEAD) for kind in _FLAGS)
                number = find(payload, _CTA_ID, _HEAD)
                is_answered = bool(status & _IPS_SEEN_REPLY)
                show(number, is_answered, Tuple(original), Tuple(reply))
            return False

        self._dump(AF_UNSPEC, attribute(_CTA_STATUS, _DNATED), is_kept)

    def _cut_of(
        self,
        direction: int,
        which: int,
        addresses: "Collection[bytes]",
        status: bytes,
        is_stale: "IsStale",
    ) -> int:
        """Cut the stale connections that have one of these addresses in this place;
        `status` is the status bit that all of them have; b"" for none."""
        count = 0
        for size, family in _FAMILIES.items():
            some = {address for address in addresses if len(address) == size}
            kind = which if family == AF_INET else which + 2
            asked = attribute(_CTA_STATUS, status) if status else b""
            # Every kernel so far lists all IPv6 connections but those of the address in
            # the filter.
            if len(some) == 1 and family == AF_INET:
                flags = struct.pack("=I", which)
                asked += nested(direction, nested(1, attribute(kind, *some)))
                asked += nested(_CTA_FILTER, attribute(_FLAGS[direction], flags))
            is_of = _is_of(direction, kind, some, is_stale)
            count += self._cut(family, asked, is_of) if some else 0
        return count

    def _cut(
        self, family: int, asked: bytes, is_wanted: Callable[[bytes], bool]
    ) -> int:
        """Delete the wanted connections of a dump; their number."""
        return self._delete(self._dump(family, asked, is_wanted))

    def _dump(
        self, family: int, asked: bytes, is_wanted: Callable[[bytes], bool]
    ) -> list[bytes]:
        """Dump the wanted connections. Kernels before 5.8 ignore the filter, or refuse
        it, and list everything."""

        def is_one(payload: bytes) -> bool:
            self._hurry()
            return is_wanted(payload)

        self._hurry()
        kind = _CTNETLINK | _IPCTNL_MSG_CT_GET
        try:
            found = self._link.dump(message(kind, netfilter(family, asked)), is_one)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT):
                raise
            found = self._link.dump(message(kind, netfilter(family)), is_one)
        return [payload for _, payload in found]

    def _delete(self, found: list[bytes]) -> int:
        """Delete these connections; the number deleted: some may have ended by then."""
        count, wrong = 0, 0
        for at in range(0, len(found), _AT_ONCE):
            self._hurry()
            some = found[at : at + _AT_ONCE]
            refused = self._link.tell(list(map(_deletion, some)))
            count += len(some) - len(refused)
            wrong = next((one for one in refused if one != errno.ENOENT), wrong)
        if wrong:
            raise OSError(wrong, strerror(wrong))
        return count

    def _hurry(self) -> None:
        if time.monotonic() > self._until:
            raise OutOfTime("there are too many connections to look at all in time")


def _is_of(
    direction: int, kind: int, addresses: set[bytes], is_stale: "IsStale"
) -> Callable[[bytes], bool]:
    def is_it(payload: bytes) -> bool:
        ip = find(find(payload, direction, _HEAD), 1)
        return find(ip, kind) in addresses and _is(is_stale, payload)

    return is_it


def _is(is_stale: "IsStale", payload: bytes) -> bool:
    original = find(payload, _CTA_TUPLE_ORIG, _HEAD)
    reply = find(payload, _CTA_TUPLE_REPLY, _HEAD)
    return is_stale(Tuple(original), Tuple(reply))


def _deletion(payload: bytes) -> bytes:
    """The message that deletes a connection. It names the tuple and the id: a new
    connection may have the same tuple meanwhile."""
    key = nested(_CTA_TUPLE_ORIG, find(payload, _CTA_TUPLE_ORIG, _HEAD))
    for kind in (_CTA_ID, _CTA_ZONE):
        value = find(payload, kind, _HEAD)
        key += attribute(kind, value) if value else b""
    return message(_CTNETLINK | _IPCTNL_MSG_CT_DELETE, netfilter(payload[0], key))
