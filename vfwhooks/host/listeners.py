"""Sockets that listen on ports of the host: the kernel lists them by sock_diag, for the
ports in question alone. Only /proc knows their processes (see socket_owners)."""

from __future__ import annotations

import struct
import sys
from _socket import AF_INET, AF_INET6
from dataclasses import dataclass

from ..values.protocols import PROTOCOL_NUMBERS
from ..values.published import Address, unpack_address
from .netlink import Netlink, attribute, attributes, message

Range = tuple[int, int]
_SOCK_DIAG_BY_FAMILY = 20
_TCPF_LISTEN, _TCPF_CLOSE = 1 << 10, 1 << 7
_INET_DIAG_REQ_BYTECODE = 1
_INET_DIAG_BC_JMP, _INET_DIAG_BC_S_GE, _INET_DIAG_BC_S_LE = 1, 2, 3
_OPERATION = struct.Struct("=BBH")
_FEW = 64
_MESSAGE = struct.Struct("=Bxxx2s2x16s16xIxxxxxxxxxxxxxxxxxxxxxxxxI")
_INET_DIAG_SKV6ONLY, _INET_DIAG_SOCKOPT = 11, 22
# This is a bit field in C, which begins at the other end on a big-endian machine.
_MC_LOOP = 0x10 if sys.byteorder == "little" else 0x08
_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(eq=False)
class Listener:
    """A listening socket: its address (None for every one), families ("4", "6" or
    "46"), port and device (interface index, 0 for none). With `is_kernels` it belongs
    to a tunnel of the kernel itself, WireGuard or VXLAN."""

    protocol: str
    families: str
    address: Address | None
    port: int
    device: int = 0
    inode: int = 0
    is_kernels: bool = False

    def __str__(self) -> str:
        address = self.address or ("0.0.0.0" if self.families == "4" else "::")
        shown = f"[{address}]" if ":" in f"{address}" else address
        return f"{self.protocol} {shown}:{self.port}"

    @property
    def reason(self) -> str:
        """Why a forward is not in force; status adds the process."""
        if self.is_kernels:
            return f"the kernel (WireGuard, VXLAN or the like) listens on {self}"
        return f"the host listens on {self}"


def list_listeners(link: Netlink, protocol: str, ranges: list[Range]) -> list[Listener]:
    """The listeners on these ports, and on other ports if the ranges are many; a
    connected udp socket does not count."""
    states = _TCPF_CLOSE if protocol == "udp" else _TCPF_LISTEN
    only = b""
    if len(ranges) <= _FEW:
        only = attribute(_INET_DIAG_REQ_BYTECODE, _bytecode(ranges))
    found = []
    for family in (AF_INET, AF_INET6):
        asked = struct.pack("=BBxxI48x", family, PROTOCOL_NUMBERS[protocol], states)
        for _, answer in link.dump(message(_SOCK_DIAG_BY_FAMILY, asked + only)):
            found.append(_listener(protocol, answer))
    return found


def _bytecode(ranges: list[Range]) -> bytes:
    """The filter: a port from the first to the last of one of the ranges.

    Each operation has two offsets, one if it holds and one if not; an offset four bytes
    behind the end refuses the socket.
    """
    size = 20
    code, end = b"", size * len(ranges) - 4
    for number, (first, last) in enumerate(ranges):
        at = number * size
        is_last = number == len(ranges) - 1
        other = end + 4 if is_last else at + size
        code += _OPERATION.pack(_INET_DIAG_BC_S_GE, 8, other - at)
        code += _OPERATION.pack(0, 0, first)
        code += _OPERATION.pack(_INET_DIAG_BC_S_LE, 8, other - at - 8)
        code += _OPERATION.pack(0, 0, last)
        if not is_last:
            code += _OPERATION.pack(_INET_DIAG_BC_JMP, 4, end - at - 16)
    return code


def _listener(protocol: str, answer: bytes) -> Listener:
    family, port, address, device, inode = _MESSAGE.unpack_from(answer)
    families, is_kernels = "4", False
    is_udp = protocol == "udp"
    about = attributes(answer[_MESSAGE.size :]) if is_udp or family == AF_INET6 else {}
    if is_udp and _INET_DIAG_SOCKOPT in about:
        # The kernel clears this bit for the socket of every tunnel, and reports it
        # since 5.10. Such a socket has inode and owner like any other.
        is_kernels = not about[_INET_DIAG_SOCKOPT][0] & _MC_LOOP
    if family == AF_INET6:
        is_only = about.get(_INET_DIAG_SKV6ONLY, b"\0") != b"\0"
        families = "6" if is_only or any(address) else "46"
        if address.startswith(_MAPPED):
            family, families, address = AF_INET, "4", address[12:]
    packed = address if family == AF_INET6 else address[:4]
    return Listener(
        protocol,
        families,
        unpack_address(packed) if any(packed) else None,
        int.from_bytes(port, "big"),
        device,
        inode,
        is_kernels,
    )
