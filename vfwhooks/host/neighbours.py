"""The kernel's neighbour tables: who is at which address, as the host has met him."""

from __future__ import annotations

import struct
from _socket import AF_INET, AF_INET6
from dataclasses import dataclass

from ..values.published import Address, unpack_address
from .netlink import FAMILIES, Netlink, attribute, attributes, message

NEWNEIGH = 28
_GETNEIGH = 30
_REPLACE, _PROBE = 0x100, 0x10
_HEAD = struct.Struct("=BxxxiHBB")
_ADDRESS, _MAC = 1, 2
_CONFIRMED = 0x02 | 0x80
_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_FAILED = 0x20


@dataclass(eq=False)
class Neighbour:
    """Who is at an address on the interface with the kernel's number of it: his MAC,
    '' where the kernel has asked and nobody answered; and how it stands with him."""

    interface: int
    address: Address
    mac: str
    state: int

    @property
    def is_usable(self) -> bool:
        """Whether packets are sent to him."""
        return bool(self.state & _USABLE)

    @property
    def is_confirmed(self) -> bool:
        """Whether he has been heard of late."""
        return bool(self.state & _CONFIRMED)


def parse_neighbour(payload: bytes) -> Neighbour | None:
    """The neighbour that a message is about, if it says who or that nobody is there."""
    family, interface, state, _, _ = _HEAD.unpack_from(payload)
    about = attributes(payload[_HEAD.size :])
    mac = "" if state & _FAILED else about.get(_MAC, b"").hex(":")
    is_told = _ADDRESS in about and (mac or state & _FAILED)
    if family not in (AF_INET, AF_INET6) or not is_told:
        return None
    return Neighbour(interface, unpack_address(about[_ADDRESS]), mac, state)


def list_neighbours(link: Netlink) -> list[Neighbour]:
    """All that the kernel knows."""
    answers = link.dump(message(_GETNEIGH, bytes(_HEAD.size)))
    found = [parse_neighbour(answer) for _, answer in answers]
    return [one for one in found if one]


def neighbour_at(link: Netlink, interface: int, address: Address) -> str:
    """The MAC of who is at the address; '' for nobody."""
    head = _HEAD.pack(FAMILIES[address.version], interface, 0, 0, 0)
    asked = head + attribute(_ADDRESS, address.packed)
    try:
        answer = link.ask(message(_GETNEIGH, asked))
    except OSError:
        return ""
    found = parse_neighbour(answer)
    return found.mac if found and found.is_usable else ""


def probe(link: Netlink, interface: int, address: Address) -> None:
    """Have the kernel ask whether the neighbour is still at the address; if he is not,
    that is news a few seconds later."""
    head = _HEAD.pack(FAMILIES[address.version], interface, _PROBE, 0, 0)
    asked = head + attribute(_ADDRESS, address.packed)
    try:
        link.request(message(NEWNEIGH, asked, _REPLACE))
    except OSError:
        pass  # he is not in the table, so there is nothing to ask
