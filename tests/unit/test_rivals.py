"""rivals: which listener keeps which port from being forwarded."""

from __future__ import annotations

import pytest

from unit.builders import Host, network
from vfwhooks.listeners import Listener
from vfwhooks.rivals import find_left, find_meetings, find_rivals

DEFAULT = "203.0.113.1"

LO, BRIDGE, ELSEWHERE = 1, 7, 3


def listener(
    address: str = "", families: str = "4", device: int = 0, port: int = 22, **more: str
) -> Listener:
    """sshd, as a rule on every IPv4 address."""
    return Listener(more.get("protocol", "tcp"), families, address, port, device)


def is_rival(claim: str, *listeners: Listener, held: tuple[str, ...] = ()) -> bool:
    """Whether the claim yields, on a host that the world knows by 203.0.113.1."""
    host = Host(network(), listeners=list(listeners), default_sources=[DEFAULT])
    return claim in find_rivals(find_meetings([claim], list(held), host), host)


CASES = {
    # claim, listener, whether it yields
    "every address, wildcard": ("4 * tcp 22 22", listener(), True),
    "every address, one": ("4 * tcp 22 22", listener("203.0.113.5"), True),
    "the same address": ("4 203.0.113.5 tcp 22 22", listener("203.0.113.5"), True),
    "another address": ("4 203.0.113.5 tcp 22 22", listener("203.0.113.6"), False),
    "default source, wildcard": (f"4 {DEFAULT} tcp 22 22", listener(), True),
    "second address, wildcard": ("4 203.0.113.5 tcp 22 22", listener(), False),
    "loopback": ("4 * tcp 22 22", listener("127.0.0.53"), False),
    "loopback, IPv6": ("6 * tcp 22 22", listener("::1", "6"), False),
    "loopback's device": ("4 * tcp 22 22", listener(device=LO), False),
    "loopback, asked for": ("4 127.0.0.1 tcp 22 22", listener("127.0.0.1"), True),
    "libvirt's bridge": ("4 * tcp 22 22", listener("192.168.122.1"), False),
    "libvirt's bridge's device": ("4 * tcp 22 22", listener(device=BRIDGE), False),
    "another device": ("4 * tcp 22 22", listener(device=ELSEWHERE), True),
    "multicast": ("4 * tcp 22 22", listener("224.0.0.251"), False),
    "the highest multicast": ("4 * tcp 22 22", listener("239.255.255.250"), False),
    "beyond multicast": ("4 * tcp 22 22", listener("240.0.0.1"), True),
    "multicast, IPv6": ("6 * tcp 22 22", listener("ff02::fb", "6"), False),
    "an address that begins like loopback": (
        "4 * tcp 22 22",
        listener("12.7.0.1"),
        True,
    ),
    "dual stack for IPv4": ("4 * tcp 22 22", listener(families="46"), True),
    "dual stack for IPv6": ("6 * tcp 22 22", listener(families="46"), True),
    "IPv6 only": ("4 * tcp 22 22", listener(families="6"), False),
    "IPv4 for IPv6": ("6 * tcp 22 22", listener(), False),
    "another port": ("4 * tcp 22 22", listener(port=23), False),
    "another protocol": ("4 * udp 22 22", listener(), False),
    "first of a range": ("4 * tcp 22 30", listener(), True),
    "last of a range": ("4 * tcp 10 22", listener(), True),
    "beside a range": ("4 * tcp 23 30", listener(), False),
    "udp": ("4 * udp 5000 5000", listener(port=5000, protocol="udp"), True),
    "udp, high in a range": (
        "4 * udp 5000 5001",
        listener(port=5000, protocol="udp"),
        False,
    ),
    "udp, low in a range": (
        "4 * udp 100 5001",
        listener(port=161, protocol="udp"),
        True,
    ),
    "udp, the highest of the low in a range": (
        "4 * udp 100 5001",
        listener(port=1023, protocol="udp"),
        True,
    ),
    "udp, the lowest of the high in a range": (
        "4 * udp 100 5001",
        listener(port=1024, protocol="udp"),
        False,
    ),
    "sctp": ("4 * sctp 22 22", listener(protocol="sctp"), True),
}


@pytest.mark.parametrize("name", CASES)
def test_who_yields(name: str) -> None:
    """Every pair of a claim and a listener."""
    claim, other, yields = CASES[name]

    assert is_rival(claim, other) is yields


LEFT = {
    # claims, what is in force, the listener, what is left to the host
    "a bridge's address": (
        "4 * tcp 22 22",
        "",
        listener("192.168.122.1"),
        "left 4 192.168.122.1 tcp 22 22",
    ),
    "a bridge": (
        "4 * tcp 10 30",
        "",
        listener(device=BRIDGE),
        "left 4 192.168.122.1 tcp 22 22",
    ),
    "bound elsewhere": ("4 203.0.113.5 tcp 22 22", "", listener("192.168.122.1"), ""),
    "not of a bridge": ("4 * tcp 22 22", "", listener("203.0.113.5"), ""),
    "every address": ("4 * tcp 22 22", "", listener(), ""),
    "libvirt's DNS": ("4 * tcp 53 53", "", listener("192.168.122.1", port=53), ""),
    "came later": (
        "4 * tcp 22 22",
        "dnat 4 * tcp 22 22 192.168.122.10 22",
        listener("192.168.122.1"),
        "",
    ),
    "in force": (
        "4 * tcp 22 22",
        "left 4 192.168.122.1 tcp 22 22",
        listener("203.0.113.5"),
        "left 4 192.168.122.1 tcp 22 22",
    ),
    "not published any more": (
        "4 * tcp 23 23",
        "left 4 192.168.122.1 tcp 22 22",
        listener("203.0.113.5"),
        "",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_to_services_on_bridges(name: str) -> None:
    """A service bound to libvirt's bridge keeps its port there, as long as the port is
    published on every address."""
    claim, held, other, left = LEFT[name]
    host = Host(network(), listeners=[other])

    in_force = [held] * bool(held)
    met = find_meetings([claim], in_force, host)

    found = find_left([claim], in_force, met, host)

    assert found == [left] * bool(left)


HELD = {
    # what is in force, the claim, whether it yields to a listener on tcp 0.0.0.0:22
    "the same": ("dnat 4 * tcp 22 22 192.168.122.10 22", "4 * tcp 22 22", False),
    "within": ("dnat 4 * tcp 20 30 192.168.122.10 20", "4 * tcp 22 25", False),
    "grown around it": ("dnat 4 * tcp 20 30 192.168.122.10 20", "4 * tcp 10 40", False),
    "grown over it": ("dnat 4 * tcp 24 30 192.168.122.10 24", "4 * tcp 20 30", True),
    "bound, was every": (
        "dnat 4 * tcp 22 22 192.168.122.10 22",
        f"4 {DEFAULT} tcp 22 22",
        False,
    ),
    "every, was bound": (
        f"dnat 4 {DEFAULT} tcp 22 22 192.168.122.10 22",
        "4 * tcp 22 22",
        True,
    ),
    "another protocol": ("dnat 4 * udp 22 22 192.168.122.10 22", "4 * tcp 22 22", True),
    "the other family": ("dnat 6 * tcp 22 22 fd00:122::10 22", "4 * tcp 22 22", True),
    "rejected while stopped": ("reject 4 * tcp 22 22", "4 * tcp 22 22", False),
    "another entry": ("guard 4 * tcp 22 22 allow_1", "4 * tcp 22 22", True),
}


@pytest.mark.parametrize("name", HELD)
def test_what_is_in_force_stays(name: str) -> None:
    """A listener that came later than the port was published takes nothing back."""
    held, claim, yields = HELD[name]

    assert is_rival(claim, listener(), held=(held,)) is yields
