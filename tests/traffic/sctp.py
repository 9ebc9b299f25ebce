"""The first two packets of SCTP, for machines whose kernel has no SCTP sockets.

conntrack and NAT know SCTP all the same, and both check its checksum: an INIT through
real rules to a raw socket, and the INIT ACK back, whose cookie holds the answer.
"""

from __future__ import annotations

import secrets
import struct

PROTOCOL = 132
_INIT, _INIT_ACK, _COOKIE = 1, 2, 7
_HEADER = struct.Struct("!HHII")
_CHUNK = struct.Struct("!BBHIIHHI")
_PARAMETER = struct.Struct("!HH")


def _table() -> list[int]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return found


_CRC32C = _table()


def _checksum(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC32C[(crc ^ byte) & 0xFF]
    return int.from_bytes((crc ^ 0xFFFFFFFF).to_bytes(4, "little"), "big")


def _packet(source: int, port: int, tag: int, kind: int, parameters: bytes) -> bytes:
    size = _CHUNK.size + len(parameters)
    chunk = _CHUNK.pack(kind, 0, size, secrets.randbits(31) | 1, 1 << 16, 1, 1, 1)
    chunk += parameters + bytes(-len(parameters) % 4)
    bare = _HEADER.pack(source, port, tag, 0) + chunk
    return _HEADER.pack(source, port, tag, _checksum(bare)) + chunk


def _payload(data: bytes, is_ipv4: bool) -> bytes:
    return data[(data[0] & 15) * 4 :] if is_ipv4 else data


def init(source: int, port: int) -> bytes:
    """An INIT from one port to another."""
    return _packet(source, port, 0, _INIT, b"")


def read_init(data: bytes, is_ipv4: bool, port: int) -> tuple[int, int] | None:
    """The sender's port and tag, if a raw socket has read an INIT to this port."""
    data = _payload(data, is_ipv4)
    if len(data) < _HEADER.size + _CHUNK.size:
        return None
    source, to, _, _ = _HEADER.unpack_from(data)
    kind, _, _, tag, *_ = _CHUNK.unpack_from(data, _HEADER.size)
    return (source, tag) if kind == _INIT and to == port else None


def init_ack(source: int, port: int, tag: int, text: str) -> bytes:
    """The answer to an INIT with this tag, with a text for its cookie."""
    cookie = text.encode()
    head = _PARAMETER.pack(_COOKIE, _PARAMETER.size + len(cookie))
    return _packet(source, port, tag, _INIT_ACK, head + cookie)


def read_init_ack(data: bytes, is_ipv4: bool, source: int, port: int) -> str:
    """The text in an INIT ACK from `port` to `source`; '' for any other packet."""
    data = _payload(data, is_ipv4)
    at = _HEADER.size + _CHUNK.size
    if len(data) < at + _PARAMETER.size or _HEADER.unpack_from(data)[:2] != (
        port,
        source,
    ):
        return ""
    kind, size = _PARAMETER.unpack_from(data, at)
    if data[_HEADER.size] != _INIT_ACK or kind != _COOKIE:
        return ""
    return data[at + _PARAMETER.size : at + size].decode(errors="replace")
