"""host_bridges: the subnets behind a bridge of the host's own, by the kernel's
words."""

from __future__ import annotations

import struct
from socket import AF_INET, AF_INET6, inet_pton

from unit.builders import fields, network
from unit.netlinks import Link, nla
from vfwhooks.libvirt.host_bridges import read_bridge


def own(address: str, length: int, index: int = 7, **more: object) -> bytes:
    """An address of the host's: struct ifaddrmsg, IFA_ADDRESS and IFA_LOCAL."""
    family = AF_INET6 if ":" in address else AF_INET
    peer = inet_pton(family, str(more.get("peer", address)))
    head = struct.pack("=BBBBI", family, length, 0, more.get("scope", 0), index)
    local = nla(2, inet_pton(family, address)) if family == AF_INET else b""
    return head + nla(1, peer) + local


def test_its_subnets() -> None:
    """Of both families, those of the bridge that are valid beyond the link."""
    link = Link(
        own("10.9.0.1", 24),
        own("10.8.0.1", 24, index=8),
        own("fd00:9::1", 64),
        own("fe80::1", 64, scope=253),
        own("10.7.1.200", 25),
        own("192.0.2.1", 32, peer="10.6.0.9"),
    )

    found = read_bridge("br-nat", 7, link)

    subnets = [
        ("10.9.0.1", "10.9.0.0/24"),
        ("fd00:9::1", "fd00:9::/64"),
        ("10.7.1.200", "10.7.1.128/25"),
        ("192.0.2.1", "10.6.0.9/32"),
    ]
    one = network("/bridge:br-nat", "br-nat", "open", subnets)
    assert fields(found) == fields(one)


def test_none_of_that_name() -> None:
    """The kernel is not asked for addresses then."""
    link = Link()

    found = read_bridge("br-gone", 0, link)

    assert (found, link.asked) == (None, [])
