"""neighbours: the kernel's neighbour tables, by the kernel's words."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

import pytest

from unit.builders import MAC
from unit.netlinks import Link, nla
from vfwhooks.host.neighbours import (
    Neighbour,
    is_silent,
    list_neighbours,
    neighbour_at,
    probe,
)

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


def probes(error: int, mac: str) -> list[tuple[int, int, bytes]]:
    """What the kernel is asked: kind, flags and the rest of each message."""
    link = Link(error=error)
    probe(link, BRIDGE, ip_address("192.168.122.10"), mac)
    heads = [struct.unpack_from("=HH", sent, 4) for sent in link.asked]
    return [(k, f & 0xF00, s[16:]) for (k, f), s in zip(heads, link.asked)]


def head(state: int, flags: int = 0) -> bytes:
    """struct ndmsg and NDA_DST."""
    at = nla(1, ip_address("192.168.122.10").packed)
    return struct.pack("=BxxxiHBB", AF_INET, BRIDGE, state, flags, 0) + at


@pytest.mark.parametrize(
    ("mac", "flags", "more"),
    [("", 0x100, b""), (MAC, 0x500, nla(2, bytes.fromhex(MAC.replace(":", ""))))],
    ids=["known", "by its MAC"],
)
def test_a_probe(mac: str, flags: int, more: bytes) -> None:
    """RTM_NEWNEIGH with NUD_PROBE replaces what is in the table (NLM_F_REPLACE), and
    with a MAC makes it (NLM_F_CREATE)."""
    assert probes(0, mac) == [(28, flags, head(0x10) + more)]


@pytest.mark.parametrize("mac", ["", MAC])
def test_a_probe_of_one_that_is_not_in_the_table(mac: str) -> None:
    """The kernel is to ask for it (NTF_USE); a refusal is nobody's trouble."""
    found = probes(2, mac)

    assert (len(found), found[1:]) == (2, [(28, 0x400, head(0, 1))])


@pytest.mark.parametrize(
    ("state", "mac", "expected"),
    [
        (FAILED, "", (True, "")),
        (REACHABLE, MAC, (False, MAC)),
        (STALE, MAC, (False, MAC)),
        (0x01, "", (False, "")),
    ],
)
def test_who_is_at_an_address(state: int, mac: str, expected: object) -> None:
    """One that does not answer is silent; one that is being asked is not, yet."""
    at = ip_address("192.168.122.10")
    link = Link(known("192.168.122.10", state, mac))

    assert (is_silent(link, BRIDGE, at), neighbour_at(link, BRIDGE, at)) == expected


def test_an_address_that_is_not_in_the_table() -> None:
    """Nobody has asked for it."""
    link = Link(error=2)

    assert not is_silent(link, BRIDGE, ip_address("192.168.122.10"))
