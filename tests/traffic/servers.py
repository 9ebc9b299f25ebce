"""Servers of many ports in many network namespaces, all in one thread.

Each answers whatever it is sent by "NAME PORT CLIENT": who it is, which port it was
asked at, and the client's address as it saw it.
"""

from __future__ import annotations

import socket
import struct

from lab.net import Net
from lab.server import Answer, Answering

from . import sctp

FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}
_ANYWHERE = {"4": "0.0.0.0", "6": "::"}
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50


class Servers(Answering):
    """Servers that can be put up and taken down together, for a `with` block."""

    def put_up(
        self, net: Net, name: str, protocol: str, port: int, family: str, at: str = ""
    ) -> None:
        """A server in that network stack, on one address or on all of a family."""
        kind, number = {
            "tcp": (socket.SOCK_STREAM, 0),
            "udp": (socket.SOCK_DGRAM, 0),
            "sctp": (socket.SOCK_RAW, sctp.PROTOCOL),
        }[protocol]
        sock = net.open_socket(FAMILIES[family], kind, number)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == "6" and protocol != "sctp":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        address = at or _ANYWHERE[family]
        sock.bind((address, 0 if protocol == "sctp" else port))
        if protocol == "tcp":
            sock.listen(64)
            self.watch(sock, self._accept(name, port))
        elif protocol == "udp":
            level = socket.IPPROTO_IPV6 if family == "6" else socket.IPPROTO_IP
            option = _IPV6_RECVPKTINFO if family == "6" else _IP_PKTINFO
            sock.setsockopt(level, option, 1)
            self.watch(sock, _datagram(name, port, family))
        else:
            self.watch(sock, _init(name, port, family))

    def _accept(self, name: str, port: int) -> Answer:
        def accept(sock: socket.socket) -> None:
            accepted, client = sock.accept()
            self.watch(accepted, self._line(f"{name} {port} {_plain(client[0])}"))

        return accept

    def _line(self, greeting: str) -> Answer:
        def answer(sock: socket.socket) -> None:
            if sock.recv(65536):
                sock.sendall(f"{greeting}\n".encode())
            else:
                raise ConnectionError

        return answer


def _datagram(name: str, port: int, family: str) -> Answer:
    def answer(sock: socket.socket) -> None:
        _, about, _, client = sock.recvmsg(2048, 256)
        # The answer leaves from the address that was asked, not from the best one.
        level, kind, data = about[0]
        if family == "4":
            _, _, asked = struct.unpack("=i4s4s", data)
            data = struct.pack("=i4s4s", 0, asked, bytes(4))
        else:
            data = data[:16] + bytes(4)
        text = f"{name} {port} {_plain(client[0])}".encode()
        sock.sendmsg([text], [(level, kind, data)], 0, client)

    return answer


def _init(name: str, port: int, family: str) -> Answer:
    def answer(sock: socket.socket) -> None:
        data, client = sock.recvfrom(2048)
        asked = sctp.read_init(data, family == "4", port)
        if asked:
            text = f"{name} {port} {_plain(client[0])}"
            packet = sctp.init_ack(port, asked[0], asked[1], text)
            sock.sendto(packet, (client[0], 0))

    return answer


def _plain(address: str) -> str:
    return address.partition("%")[0]
