"""Packets that no kernel would send: to the host's loopback, by the cable."""

from __future__ import annotations

import random
import socket
import struct
import time

from lab.net import Net

_EVERYTHING = 3
_TYPES = {"4": 0x0800, "6": 0x86DD}
_NUMBERS = {"tcp": 6, "udp": 17}
_RESET = 4


class Frame:
    """A packet to the host's MAC, for an address that packets never have out here."""

    def __init__(
        self, net: Net, protocol: str, mac: str, source: str, address: str, port: int
    ) -> None:
        self._net = net
        self._protocol = protocol
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._source = source
        self._address = address
        self._port = port

    def ask(self, timeout: float) -> str:
        """What came back on the ports that were used, until the time was over."""
        family = "6" if ":" in self._address else "4"
        own = random.randint(32768, 60999)
        with self._net.open_socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING)
        ) as sock:
            sock.bind(("eth0", _EVERYTHING))
            head = self._mac + sock.getsockname()[4] + struct.pack("!H", _TYPES[family])
            sock.send(head + self._packet(family, own))
            deadline = time.monotonic() + timeout
            while (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    data, about = sock.recvfrom(2048)
                except socket.timeout:
                    break
                at = 54 if family == "6" else 34
                ports = struct.pack("!HH", self._port, own)
                if about[2] != socket.PACKET_OUTGOING and data[at : at + 4] == ports:
                    is_reset = self._protocol == "tcp" and data[at + 13] & _RESET
                    return "refused" if is_reset else "answered"
        return "timed out"

    def close(self) -> None:
        """Nothing is kept."""

    def _packet(self, family: str, own: int) -> bytes:
        number = _NUMBERS[self._protocol]
        kind = socket.AF_INET6 if family == "6" else socket.AF_INET
        ends = socket.inet_pton(kind, self._source) + socket.inet_pton(
            kind, self._address
        )
        if self._protocol == "tcp":
            part = struct.pack("!HHIIBBHHH", own, self._port, 1, 0, 80, 2, 8192, 0, 0)
            place = 16
        else:
            part = struct.pack("!HHHH", own, self._port, 9, 0) + b"?"
            place = 6
        pseudo = ends + struct.pack("!II", len(part), number)
        check = struct.pack("!H", _checksum(pseudo + part))
        part = part[:place] + check + part[place + 2 :]
        if family == "6":
            return struct.pack("!IHBB", 6 << 28, len(part), number, 64) + ends + part
        size = 20 + len(part)
        bare = struct.pack("!BBHHHBBH", 0x45, 0, size, 0, 0, 64, number, 0) + ends
        return bare[:10] + struct.pack("!H", _checksum(bare)) + bare[12:] + part


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total
