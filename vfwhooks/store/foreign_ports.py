"""Ports that foreign DNAT rules take, in one file for events to read.

The reader of these rules makes the file (see reader); no event reads the rules. An
event reads the claims on its own ports, at the same cost for any number of claims: 64
ports of a family and a protocol are a block, and in a block each port of each address
has at most one claim. Without claims there is no file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ..values.protocols import ALL_PROTOCOLS, PROTOCOL_NUMBERS
from ..values.published import Address
from .entry_text import format_host, parse_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..values.foreign_claims import ForeignClaim

NAME = "taken"
_MAGIC = b"vfwT1\n"
_SLOT = struct.Struct(">II")
_BITS = 6
_BLOCKS = 1 << (16 - _BITS)
# ALL stands for an address with any ports: its first block has the addresses alone.
_KINDS = [(f, p) for f in "46" for p in (*PROTOCOL_NUMBERS, ALL_PROTOCOLS)]
_HEAD = len(_MAGIC) + _SLOT.size * _BLOCKS * len(_KINDS)
_PORTS = 1 << 16


@dataclass(frozen=True)
class ForeignPort:
    """Ports `first` to `last` of an address (None: of every address) that a foreign
    rule takes."""

    protocol: str
    host: Address | None
    first: int
    last: int
    whose: str

    @property
    def port(self) -> int:
        """The first port, as a listener has its port."""
        return self.first

    def __str__(self) -> str:
        if self.protocol == ALL_PROTOCOLS:
            return f"ports of {self.host}"
        at = f"{self.host}:" if self.host else ""
        at = f"[{self.host}]:" if self.host and self.host.version == 6 else at
        ports = f"{self.first}" + (f"-{self.last}" if self.last > self.first else "")
        return f"{self.protocol} {at}{ports}"

    @property
    def reason(self) -> str:
        """Why a forward is not in force."""
        whose, _, kind = self.whose.rpartition(" by ")
        return f"{whose} takes {self} by {kind}"


class ForeignPorts:
    """An open file of claims. Raises ValueError if it is not whole."""

    _fd = -1

    def __init__(self, fd: int) -> None:
        self._size = os.fstat(fd).st_size
        if os.pread(fd, len(_MAGIC), 0) != _MAGIC or self._size < _HEAD:
            raise ValueError("not a whole file of claims")
        self._fd = fd

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def find(
        self, family: str, protocol: str, first: int, last: int
    ) -> list[ForeignPort]:
        """The claims on any of these ports; each address has at most one claim on a
        port."""
        kind = _KINDS.index((family, protocol))
        at = kind * _BLOCKS + (first >> _BITS)
        count = (last >> _BITS) - (first >> _BITS) + 1
        slots = os.pread(self._fd, count * _SLOT.size, len(_MAGIC) + at * _SLOT.size)
        some = [slot for slot in _SLOT.iter_unpack(slots) if slot[1]]
        if not some:
            return []
        start, end = some[0][0], sum(some[-1])
        data = os.pread(self._fd, end - start, _HEAD + start)
        found = []
        lines = data.decode("utf-8", "surrogateescape").split("\n")[:-1]
        for line in dict.fromkeys(lines):  # a claim on a range is in several blocks
            host, low, high, whose = line.split(" ", 3)
            if int(low) <= last and first <= int(high):
                where = parse_host(host), int(low), int(high)
                found.append(ForeignPort(protocol, *where, whose))
        return found


def load(path: str) -> ForeignPorts | None:
    """The claims in the file; None if there is no file, or it is not whole."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return ForeignPorts(fd)
    except (ValueError, IsADirectoryError):
        os.close(fd)
        return None


def hold(claims: Iterable[ForeignClaim]) -> ForeignPorts | None:
    """The claims as an open file in memory; None if there are none."""
    data = build(claims)
    if not data:
        return None
    fd = os.memfd_create(NAME)
    os.pwrite(fd, data, 0)
    return ForeignPorts(fd)


def build(claims: Iterable[ForeignClaim]) -> bytes:
    """The file's content; b"" if there are no claims."""
    blocks: dict[int, list[str]] = {}
    for (family, protocol, host), parts in sorted(_parts(claims).items()):
        kind = _KINDS.index((family, protocol))
        for first, last, whose in parts:
            line = f"{host} {first} {last} {whose}\n"
            for block in range(first >> _BITS, (last >> _BITS) + 1):
                blocks.setdefault(kind * _BLOCKS + block, []).append(line)
    if not blocks:
        return b""
    slots: list[bytes] = []
    data, at = [b""], 0
    for number in range(len(_KINDS) * _BLOCKS):
        text = "".join(blocks.get(number, ())).encode("utf-8", "surrogateescape")
        if text and text == data[-1]:  # the blocks of a long range have one text
            slots.append(slots[-1])
            continue
        slots.append(_SLOT.pack(at, len(text)))
        data.append(text)
        at += len(text)
    return b"".join((_MAGIC, *slots, *data))


def _parts(
    claims: Iterable[ForeignClaim],
) -> dict[tuple[str, str, str], list[tuple[int, int, str]]]:
    """The owner of each port, by family, protocol and address: the first rule that
    takes every packet, or else the first limited one; and under ALL each address with a
    claim on one of its ports."""
    of: dict[tuple[str, str, str], list[ForeignClaim]] = {}
    found: dict[tuple[str, str, str], list[tuple[int, int, str]]] = {}
    for one in sorted(claims, key=lambda claim: claim.is_limited):
        host = format_host(one.host)
        of.setdefault((one.family, one.protocol, host), []).append(one)
        if one.host:
            found.setdefault((one.family, ALL_PROTOCOLS, host), [(0, 0, one.whose)])
    for key, some in of.items():
        ports = bytearray(_PORTS)  # of one address at a time: there may be thousands
        for one in some:
            for first, last in _take(ports, one.first, one.last):
                found.setdefault(key, []).append((first, last, one.whose))
    return found


def _take(taken: bytearray, first: int, last: int) -> Iterable[tuple[int, int]]:
    """The parts of a range that nobody has taken yet; they are taken by then."""
    port = taken.find(0, first, last + 1)
    while port >= 0:
        end = taken.find(1, port, last + 1)
        end = end if end >= 0 else last + 1
        taken[port:end] = b"\1" * (end - port)
        yield port, end - 1
        port = taken.find(0, end, last + 1)
