"""neighbours: the kernel's neighbour tables, by the kernel's words."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

import pytest

from unit.builders import MAC
from unit.netlinks import Link, nla
from vfwhooks.host.neighbours import Neighbour, list_neighbours, probe

BRIDGE = 7
REACHABLE, STALE, FAILED, NOARP, BRIDGES_OWN = 0x02, 0x04, 0x20, 0x40, 7


def known(text: str, state: int, mac: str = MAC, family: int = 0) -> bytes:
    """A neighbour: struct ndmsg, NDA_DST and NDA_LLADDR."""
    address = ip_address(text)
    family = family or (AF_INET6 if address.version == 6 else AF_INET)
    head = struct.pack("=BxxxiHBB", family, BRIDGE, state, 0, 0)
    whose = nla(2, bytes.fromhex(mac.replace(":", ""))) if mac else b""
    return head + nla(1, address.packed) + whose


def test_who_is_where() -> None:
    """Those with a MAC, and addresses where nobody answers, which are nobody's; not a
    bridge's table of MACs."""
    link = Link(
        known("192.168.122.10", STALE),
        known("fd00:122::10", REACHABLE),
        known("192.168.122.11", FAILED),
        known("192.168.122.12", NOARP, mac=""),
        known("192.168.122.13", REACHABLE, family=BRIDGES_OWN),
    )

    found = list_neighbours(link)

    assert [(one.interface, str(one.address), one.mac, one.state) for one in found] == [
        (BRIDGE, "192.168.122.10", MAC, STALE),
        (BRIDGE, "fd00:122::10", MAC, REACHABLE),
        (BRIDGE, "192.168.122.11", "", FAILED),
    ]


def test_who_can_be_sent_to() -> None:
    """A stale one can, and was not heard of late; one that failed cannot."""
    states = REACHABLE, STALE, FAILED
    some = [Neighbour(BRIDGE, ip_address("::1"), MAC, state) for state in states]

    found = [(one.is_usable, one.is_confirmed) for one in some]

    assert found == [(True, True), (True, False), (False, False)]


@pytest.mark.parametrize(
    ("mac", "flags", "more"),
    [("", 0x100, b""), (MAC, 0x500, nla(2, bytes.fromhex(MAC.replace(":", ""))))],
    ids=["known", "by its MAC"],
)
def test_a_probe(mac: str, flags: int, more: bytes) -> None:
    """RTM_NEWNEIGH with NUD_PROBE replaces what is in the table (NLM_F_REPLACE), and
    with a MAC makes it (NLM_F_CREATE); a refusal is nobody's trouble."""
    link = Link(error=2)

    probe(link, BRIDGE, ip_address("192.168.122.10"), mac)

    head = struct.pack("=BxxxiHBB", AF_INET, BRIDGE, 0x10, 0, 0)
    (sent,) = link.asked
    kind, sent_flags = struct.unpack_from("=HH", sent, 4)
    address = nla(1, ip_address("192.168.122.10").packed)
    assert (kind, sent_flags & 0xF00, sent[16:]) == (28, flags, head + address + more)
