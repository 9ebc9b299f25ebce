"""Questions over the network, and what each came to, as one line of text."""

from __future__ import annotations

import random
import secrets
import socket
import struct
import time

from lab.net import Net
from lab.probe import outcome_of

from . import sctp
from .servers import FAMILIES

DNS_ANSWER = "a DNS answer"
_QUESTION = b"\1\0\0\1\0\0\0\0\0\0" + b"\4host\4test\0" + b"\0\1\0\1"


class Flow:
    """A client's flow: the same socket, and so the same ports, for every question."""

    def __init__(self, net: Net, protocol: str, address: str, port: int) -> None:
        self._net = net
        self._protocol = protocol
        self._address = address
        self._port = port
        self._family = "6" if ":" in address else "4"
        self._sock: socket.socket | None = None

    def ask(self, timeout: float) -> str:
        """Who answered, by its own words; or the outcome's name."""
        try:
            answer = _ASK[self._protocol](self, timeout)
        except OSError as error:
            self.close()
            return outcome_of(error).value
        if not answer:
            self.close()
        return answer or "closed"

    def close(self) -> None:
        """Close the socket; the next question opens another."""
        if self._sock:
            self._sock.close()
            self._sock = None

    def _connected(self, kind: int, timeout: float, protocol: int = 0) -> socket.socket:
        if self._sock is None:
            family = FAMILIES[self._family]
            self._sock = self._net.open_socket(family, kind, protocol)
            self._sock.settimeout(timeout)
            self._sock.connect((self._address, 0 if protocol else self._port))
        self._sock.settimeout(timeout)
        return self._sock

    def _tcp(self, timeout: float) -> str:
        sock = self._connected(socket.SOCK_STREAM, timeout)
        sock.sendall(b"?\n")
        return sock.recv(2048).decode().rstrip("\n")

    def _udp(self, timeout: float) -> str:
        sock = self._connected(socket.SOCK_DGRAM, timeout)
        sock.send(b"?")
        return sock.recv(2048).decode()

    def _dns_tcp(self, timeout: float) -> str:
        sock = self._connected(socket.SOCK_STREAM, timeout)
        query = secrets.token_bytes(2) + _QUESTION
        sock.sendall(struct.pack("!H", len(query)) + query)
        return _read_dns(sock.recv(2048), query, 2)

    def _dns_udp(self, timeout: float) -> str:
        sock = self._connected(socket.SOCK_DGRAM, timeout)
        query = secrets.token_bytes(2) + _QUESTION
        sock.send(query)
        return _read_dns(sock.recv(2048), query, 0)

    def _sctp(self, timeout: float) -> str:
        sock = self._connected(socket.SOCK_RAW, timeout, sctp.PROTOCOL)
        source = random.randint(32768, 60999)
        sock.send(sctp.init(source, self._port))
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            data = sock.recv(2048)
            text = sctp.read_init_ack(data, self._family == "4", source, self._port)
            if text:
                return text
        raise socket.timeout


_ASK = {
    "tcp": Flow._tcp,
    "udp": Flow._udp,
    "sctp": Flow._sctp,
    "dns/tcp": Flow._dns_tcp,
    "dns/udp": Flow._dns_udp,
}


def _read_dns(data: bytes, query: bytes, head: int) -> str:
    if data[head : head + 2] == query[:2] and data[head + 2 : head + 3] >= b"\x80":
        return DNS_ANSWER
    return data.decode(errors="replace").rstrip("\n")
