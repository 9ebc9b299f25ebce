"""Netlink sockets and messages, as far as nf_tables, conntrack and routes need them.

The start and stop path uses this module in place of the tools nft and conntrack: a
spawn costs 3 ms. After a delete, closing the socket waits for an RCU grace period of 13
to 40 ms; `is_slow_to_close` says so.

_socket stands in for socket, whose enums cost 2 ms at start.
"""

import errno
import os
import struct
from _socket import (
    AF_INET,
    AF_INET6,
    MSG_DONTWAIT,
    SO_RCVBUF,
    SO_SNDBUF,
    SOCK_CLOEXEC,
    SOCK_RAW,
    SOL_SOCKET,
)
from _socket import socket as Socket
from collections.abc import Callable

from ..values.errors import Refused, VfwError

AF_NETLINK = 16
FAMILIES = {4: AF_INET, 6: AF_INET6}  # by an address's version
NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_NETFILTER = 0, 4, 12
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLA_F_NESTED = 0x8000
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_DUMP_INTR = 0x10
_NFNL_MSG_BATCH_BEGIN, _NFNL_MSG_BATCH_END = 16, 17
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
OUR_PORTS = 0x5646  # our sockets' ports in the upper half: marks our changes
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE, _RECEIVE_NEWS = 1 << 18, 1 << 16
_PADDING = b"", b"\0\0\0", b"\0\0", b"\0"


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute: length, kind, value, padded to four bytes."""
    size = len(value)
    return _ATTRIBUTE.pack(4 + size, kind) + value + _PADDING[size & 3]


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that contains attributes; each of them is padded already."""
    value = b"".join(parts)
    return _ATTRIBUTE.pack(4 + len(value), kind | _NLA_F_NESTED) + value


def named(kind: int, name: str) -> bytes:
    """An attribute that contains a NUL-terminated name."""
    return attribute(kind, name.encode() + b"\0")


def text_of(value: bytes) -> str:
    """The name in such an attribute."""
    return value.rstrip(b"\0").decode("utf-8", "replace")


def each(data: bytes) -> list[tuple[int, bytes]]:
    """The attributes in `data`, in order, as (kind, value)."""
    found = []
    at, end = 0, len(data)
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            break
        found.append((kind & 0x3FFF, data[at + 4 : at + length]))
        at += length + (-length % 4)
    return found


def find(data: bytes, kind: int, at: int = 0) -> bytes:
    """The first attribute of this kind from the offset `at` on; b"" for none."""
    end = len(data)
    while at + 4 <= end:
        length, found = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            break
        if found & 0x3FFF == kind:
            return data[at + 4 : at + length]
        at += length + (-length % 4)
    return b""


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by kind; of two with one kind the last counts."""
    return dict(each(data))


def message(kind: int, payload: bytes, flags: int = 0) -> bytes:
    """One message; `Netlink` gives it its sequence number when it sends it."""
    return _HEADER.pack(16 + len(payload), kind, _NLM_F_REQUEST | flags, 0, 0) + payload


def netfilter(family: int, payload: bytes = b"", resource: int = 0) -> bytes:
    """`payload` behind the nfgenmsg header that every nfnetlink message has."""
    return struct.pack(">BBH", family, 0, resource) + payload


def _flagged(one: bytes, flags: int) -> bytes:
    (old,) = struct.unpack_from("=H", one, 6)
    return one[:6] + struct.pack("=H", old | flags) + one[8:]


class NotTaken(Refused):
    """The kernel refused one message of a transaction: its errno and its index (from
    0)."""

    def __init__(self, error: int, index: int) -> None:
        super().__init__(f"nf_tables: {os.strerror(error)}")
        self.errno = error
        self.index = index


class Netlink:
    """One socket of one netlink protocol, and the number of messages sent on it."""

    def __init__(self, protocol: int = NETLINK_NETFILTER, groups: int = 0) -> None:
        self.socket = Socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
        # A listening socket does not take our port, which is for sockets that make
        # changes.
        port = 0 if groups else OUR_PORTS << 16 | os.getpid() & 0xFFFF
        try:
            self.socket.bind((port, groups))
        except OSError:
            self.socket.bind((0, groups))  # another socket of this process has the port
        self._sequence = 0
        self.is_slow_to_close = False

    def fileno(self) -> int:
        return self.socket.fileno()

    def request(self, one: bytes) -> None:
        """Send one message. Raises OSError with the kernel's errno if the kernel
        refuses it."""
        self._send([_flagged(one, _NLM_F_ACK)])
        for error, _ in self._answers():
            if error:
                raise _refused(error)

    def tell(self, messages: list[bytes]) -> list[int]:
        """Send a few dozen messages at once; the errnos of the refused ones."""
        self._send(messages)
        return [error for error, _ in self._answers() if error]

    def ask(self, one: bytes) -> bytes:
        """The payload of the single answer to a message. Raises OSError if it is
        refused."""
        self._send([one])
        for kind, _, _, _, payload in split(self.socket.recv(_RECEIVE)):
            if kind != _NLMSG_ERROR:
                return payload
            raise _refusal(payload)
        raise OSError("netlink: no answer")

    def batch(self, messages: list[bytes]) -> None:
        """Change nf_tables in one transaction, or raise Refused and change nothing."""
        border = netfilter(0, resource=10)
        last = _flagged(messages[-1], _NLM_F_ACK)
        begin = message(_NFNL_MSG_BATCH_BEGIN, border)
        end = message(_NFNL_MSG_BATCH_END, border)
        parts = [begin, *messages[:-1], last, end]
        try:
            self._send(parts)
            answers = self._answers()
        except OSError as error:
            raise Refused(f"nf_tables: {error.strerror}") from error
        self.is_slow_to_close = True
        for number, sequence in answers:
            if number:
                raise NotTaken(number, sequence - self._sequence + len(parts) - 2)
        if not answers:
            raise Refused("nf_tables: the kernel did not answer the transaction")

    def dump(
        self, one: bytes, is_wanted: "Callable[[bytes], bool] | None" = None
    ) -> list[tuple[int, bytes]]:
        """All answers to a dump request, or those whose payloads are wanted, as
        (message kind, payload). Raises VfwError if the list changes all the time."""
        for _ in range(9):
            found, whole = self._dump(one, is_wanted)
            if whole:
                return found
        raise VfwError("netlink: the list changed nine times while it was read")

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, messages: list[bytes]) -> None:
        parts = []
        for one in messages:
            self._sequence += 1
            parts.append(one[:8] + struct.pack("=I", self._sequence) + one[12:])
        data = b"".join(parts)
        if len(data) > 100_000:
            self.grow(2 * len(data))
        self.socket.sendto(data, (0, 0))

    def grow(self, size: int) -> None:
        """Make both buffers of the socket this large, in bytes."""
        for forced, plain in (
            (_SO_SNDBUFFORCE, SO_SNDBUF),
            (_SO_RCVBUFFORCE, SO_RCVBUF),
        ):
            try:
                self.socket.setsockopt(SOL_SOCKET, forced, size)
            except OSError:
                self.socket.setsockopt(SOL_SOCKET, plain, size)

    def _answers(self) -> list[tuple[int, int]]:
        """The answers so far, as (errno, sequence): they have arrived when send
        returns."""
        found: list[tuple[int, int]] = []
        while True:
            try:
                data = self.socket.recv(_RECEIVE, MSG_DONTWAIT)
            except BlockingIOError:
                return found
            for kind, _, sequence, _, payload in split(data):
                if kind == _NLMSG_ERROR:
                    found.append((-struct.unpack_from("=i", payload)[0], sequence))

    def _dump(
        self, one: bytes, is_wanted: "Callable[[bytes], bool] | None"
    ) -> tuple[list[tuple[int, bytes]], bool]:
        self._send([_flagged(one, _NLM_F_DUMP)])
        found: list[tuple[int, bytes]] = []
        whole = True
        while True:
            for kind, flags, _, _, payload in split(self.socket.recv(_RECEIVE)):
                whole = whole and not flags & _NLM_F_DUMP_INTR
                if kind == _NLMSG_DONE:
                    return found, whole
                if kind == _NLMSG_ERROR:
                    raise _refusal(payload)
                if is_wanted is None or is_wanted(payload):
                    found.append((kind, payload))


def _refusal(payload: bytes) -> OSError:
    return _refused(-struct.unpack_from("=i", payload)[0])


def _refused(error: int) -> OSError:
    if error == errno.EPERM:  # root has it, but for root in a container
        return PermissionError("the kernel wants CAP_NET_ADMIN: use the host itself")
    return OSError(error, os.strerror(error))


def split(data: bytes) -> list[tuple[int, int, int, int, bytes]]:
    """The messages of a datagram: kind, flags, sequence, sender's port, payload."""
    found = []
    at, end = 0, len(data)
    while at + 16 <= end:
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, at)
        found.append((kind, flags, sequence, port, data[at + 16 : at + length]))
        at += max(16, length + (-length % 4))
    return found


def messages(link: Netlink) -> "list[tuple[int, int, bytes]]":
    """The messages that have arrived: kind, sender's port, payload; kind -1 for lost
    ones."""
    found: list[tuple[int, int, bytes]] = []
    while True:
        try:
            data = link.socket.recv(_RECEIVE_NEWS, MSG_DONTWAIT)
        except BlockingIOError:
            return found
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            found.append((-1, 0, b""))
            continue
        found += [(kind, port, payload) for kind, _, _, port, payload in split(data)]
