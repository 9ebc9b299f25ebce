"""listeners: real sockets of this machine, as the kernel tells of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import pytest

from vfwhooks.host.listeners import Listener, list_listeners
from vfwhooks.host.netlink import NETLINK_SOCK_DIAG, Netlink
from vfwhooks.host.socket_owners import name_socket_owners
from vfwhooks.values.published import parse_address

KINDS = {
    "every IPv4 address": ("tcp", "0.0.0.0", 0, "4", ""),
    "one IPv4 address": ("tcp", "127.0.0.3", 0, "4", "127.0.0.3"),
    "every address": ("tcp", "::", 0, "46", ""),
    "every IPv6 address": ("tcp", "::", 1, "6", ""),
    "one IPv6 address": ("tcp", "::1", 0, "6", "::1"),
    "an IPv4 address by IPv6": ("tcp", "::ffff:127.0.0.3", 0, "4", "127.0.0.3"),
    "udp": ("udp", "0.0.0.0", 0, "4", ""),
    "udp on every address": ("udp", "::", 0, "46", ""),
}


@contextmanager
def listening(
    protocol: str, address: str, only_ipv6: int = 0
) -> Iterator[socket.socket]:
    """A socket on a free port of its own."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
        sock.bind((address, 0))
        if protocol == "tcp":
            sock.listen()
        yield sock


def listed(protocol: str, *ranges: tuple[int, int]) -> list[Listener]:
    """What the kernel says."""
    link = Netlink(NETLINK_SOCK_DIAG)
    try:
        return list_listeners(link, protocol, list(ranges))
    finally:
        link.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_listener(kind: str) -> None:
    """Its protocol, families, address, port and inode."""
    protocol, address, only_ipv6, families, shown = KINDS[kind]
    with listening(protocol, address, only_ipv6) as sock:
        port = sock.getsockname()[1]
        inode = os.fstat(sock.fileno()).st_ino

        found = listed(protocol, (port, port))

    bound = parse_address(shown) if shown else None
    wanted = Listener(protocol, families, bound, port, 0, inode)
    assert [asdict(one) for one in found] == [asdict(wanted)]


@pytest.mark.parametrize("ports", [1, 2, 3, 64])
def test_only_the_ports_that_are_asked_for(ports: int) -> None:
    """Whichever of the ranges a listener is in, and at whichever end of it."""
    with listening("tcp", "127.0.0.1") as one, listening("tcp", "127.0.0.1") as two:
        mine, other = one.getsockname()[1], two.getsockname()[1]
        others = [(n, n) for n in range(1, ports)]
        asked = [(mine, mine), (mine - 1, mine), (mine, mine + 1)]

        found = [
            sorted(a.port for a in listed("tcp", *others[:at], ports, *others[at:]))
            for ports in asked
            for at in (0, len(others))
        ]

    beside = [[mine] + [other] * (low <= other <= high) for low, high in asked]
    assert found == [sorted(b) for b in beside for _ in (0, 1)]


def test_many_ports() -> None:
    """With very many, everybody is listed; who asks compares anyway."""
    with listening("tcp", "127.0.0.1") as sock:
        mine = sock.getsockname()[1]

        found = listed("tcp", *[(port, port) for port in range(1, 100)])

    assert mine in [one.port for one in found]


def test_a_connected_udp_socket_is_none() -> None:
    """It waits for one peer only."""
    with listening("udp", "127.0.0.1") as sock:
        sock.connect(("127.0.0.1", 9))
        port = sock.getsockname()[1]

        assert listed("udp", (port, port)) == []


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_tunnels_socket(protocol: str) -> None:
    """The kernel's tunnels do not hear their own multicast; what a process sets to the
    same is taken for one, and a tcp socket never."""
    with listening(protocol, "127.0.0.1") as one, listening(protocol, "::") as two:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        ports = [sock.getsockname()[1] for sock in (one, two)]

        found = [listed(protocol, (port, port))[0].is_kernels for port in ports]

    assert found == [protocol == "udp", False]


def test_what_is_said_of_a_tunnels_socket() -> None:
    """No process is looked for: the kernel has it."""
    tunnel = Listener("udp", "4", None, 51820, is_kernels=True)

    assert tunnel.reason == (
        "the kernel (WireGuard, VXLAN or the like) listens on udp 0.0.0.0:51820"
    )


def test_an_open_connection_is_none() -> None:
    """A tcp socket that does not listen owns no port."""
    with (
        listening("tcp", "127.0.0.1") as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        port = client.getsockname()[1]

        assert listed("tcp", (port, port)) == []


def test_who_it_is() -> None:
    """The process is found by its socket; one that is nobody's is left out."""
    name = f"{open('/proc/self/comm').read().strip()} (pid {os.getpid()})"  # noqa: SIM115, PTH123 - shortest
    with listening("tcp", "127.0.0.1") as sock:
        port = sock.getsockname()[1]
        (mine,) = listed("tcp", (port, port))
        nobodys = Listener("tcp", "4", None, 1, 0, 0)

        found = name_socket_owners([mine, nobodys])

    assert found == {mine.reason: f"{name} listens on tcp 127.0.0.1:{port}"}
