"""A network stack in a box: the host's own, or that of somebody outside."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Union

from . import netns as namespaces
from .box import Box, Done
from .probe import Reply, ask_http, ask_tcp, ask_udp, family_of
from .server import Server

Interface = Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]


class Net:
    """A network namespace in a box, to run commands and talk from.

    `gateway` is the host's address next to it, `address` its own first one.
    """

    def __init__(
        self, box: Box, netns: Path, name: str, address: str = "", gateway: str = ""
    ) -> None:
        self._box = box
        self.netns = netns
        self.name = name
        self.address = address
        self.gateway = gateway

    def call(
        self,
        command: Sequence[str],
        *,
        input: str = "",
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """Runs a command in here; its failure is in the value."""
        return self._box.call(
            command, input=input, timeout=timeout, netns=self.netns, env=env
        )

    def run(
        self,
        command: Sequence[str],
        *,
        input: str = "",
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """The output of a command in here, which must succeed."""
        return self.call(command, input=input, timeout=timeout, env=env).check()

    def ip(self, *lines: str) -> None:
        """Several `ip` commands at once, each without its first word."""
        self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def route(self, destination: str, via: str = "") -> None:
        """Routes a network through an address, as a rule the host's."""
        self.ip(f"route replace {destination} via {via or self.gateway}")

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of this process in here."""
        sock = namespaces.open_socket(self.netns, family, kind, protocol)
        self._box.sockets.add(sock)
        return sock

    def http(self, url: str, timeout: float = 5) -> Reply:
        """What a GET of the URL from here comes to."""
        return ask_http(self.open_socket, url, timeout)

    def udp(
        self,
        address: str,
        port: int,
        payload: str = "?",
        *,
        timeout: float = 5,
        source_port: int = 0,
    ) -> Reply:
        """What one datagram from here comes to."""
        family = family_of(address)
        with self.open_socket(family, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if source_port:
                sock.bind(("", source_port))
            return ask_udp(sock, address, port, payload, timeout)

    def connect(self, address: str, port: int, timeout: float = 5) -> socket.socket:
        """An open TCP connection from here; see ask() for what to do with it."""
        sock = self.open_socket(family_of(address), socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock

    @staticmethod
    def ask(connection: socket.socket, line: str = "?", timeout: float = 5) -> Reply:
        """One line to a guest or Server on an open connection, and its answer."""
        return ask_tcp(connection, line, timeout)

    def serve_tcp(self, port: int, address: str = "::") -> Server:
        """A TCP server (HTTP, and lines) in here, for a `with` block."""
        return Server(self._bind(socket.SOCK_STREAM, port, address), self.name)

    def serve_udp(self, port: int, address: str = "::") -> Server:
        """A UDP server in here, for a `with` block."""
        return Server(self._bind(socket.SOCK_DGRAM, port, address), self.name)

    def _bind(self, kind: int, port: int, address: str) -> socket.socket:
        sock = self.open_socket(family_of(address), kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        return sock


def _make_netns(box: Box, name: str) -> Path:
    box.call(["ip", "netns", "add", name]).check()
    return box.path(f"/run/netns/{name}")


def _address_line(interface: Interface, device: str) -> str:
    # Without nodad an IPv6 address is not usable for its first second.
    nodad = " nodad" if interface.version == 6 else ""
    return f"addr add {interface} dev {device}{nodad}"


def add_outside(host: Net, box: Box, name: str, addresses: Sequence[str]) -> Net:
    """A namespace joined to the host's by a cable, with a default route there.

    The host gets the first address of each network; addresses are ready at once.
    """
    own = [ipaddress.ip_interface(address) for address in addresses]
    gateways = [
        ipaddress.ip_interface(f"{each.network[1]}/{each.network.prefixlen}")
        for each in own
    ]
    net = Net(box, _make_netns(box, name), name, str(own[0].ip), str(gateways[0].ip))
    host.ip(
        f"link add {name} type veth peer name eth0 netns {name}",
        *(_address_line(gateway, name) for gateway in gateways),
        f"link set {name} up",
    )
    net.ip(
        "link set lo up",
        *(_address_line(interface, "eth0") for interface in own),
        "link set eth0 up",
        *(f"route add default via {gateway.ip}" for gateway in gateways),
    )
    return net


def add_standin(
    host: Net, box: Box, name: str, mac: str, addresses: Sequence[str], bridge: str
) -> Net:
    """What a guest is on the network: a MAC and addresses on a libvirt bridge.

    It has no other ones: after some seconds it would have one more by the
    advertisements of libvirt's dnsmasq, and speak from that one.
    """
    own = [ipaddress.ip_interface(address) for address in addresses]
    net = Net(box, _make_netns(box, name), name, str(own[0].ip))
    net.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_ra=0"])
    host.ip(
        f"link add {name} type veth peer name eth0 address {mac} netns {name}",
        f"link set {name} master {bridge} up",
    )
    net.ip(
        "link set lo up",
        *(_address_line(interface, "eth0") for interface in own),
        "link set eth0 up",
    )
    return net
