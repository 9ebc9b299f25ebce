"""The kernel's neighbour tables: which MAC is at which address, as the host has seen
it."""

from __future__ import annotations

import struct
from _socket import AF_INET, AF_INET6
from dataclasses import dataclass

from ..values.published import Address, unpack_address
from .netlink import FAMILIES, Netlink, attribute, attributes, message

RTM_NEWNEIGH = 28
_RTM_GETNEIGH = 30
_NLM_F_REPLACE, _NLM_F_CREATE, _NTF_USE = 0x100, 0x400, 0x01
_HEAD = struct.Struct("=BxxxiHBB")
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_REACHABLE, _NUD_STALE, _NUD_DELAY, _NUD_PROBE = 0x02, 0x04, 0x08, 0x10
_NUD_FAILED, _NUD_PERMANENT = 0x20, 0x80
_CONFIRMED = _NUD_REACHABLE | _NUD_PERMANENT
_USABLE = _CONFIRMED | _NUD_STALE | _NUD_DELAY | _NUD_PROBE


@dataclass(eq=False)
class Neighbour:
    """A neighbour on the interface with this index: address, MAC ('' if the kernel has
    asked and got no answer) and state bits (NUD_*)."""

    interface: int
    address: Address
    mac: str
    state: int

    @property
    def is_usable(self) -> bool:
        """Whether the kernel sends packets to the neighbour."""
        return bool(self.state & _USABLE)

    @property
    def is_confirmed(self) -> bool:
        """Whether the kernel has heard from the neighbour recently."""
        return bool(self.state & _CONFIRMED)


def parse_neighbour(payload: bytes) -> Neighbour | None:
    """The neighbour of a message; None if it has neither a MAC nor a failure."""
    family, interface, state, _, _ = _HEAD.unpack_from(payload)
    about = attributes(payload[_HEAD.size :])
    mac = "" if state & _NUD_FAILED else about.get(_NDA_LLADDR, b"").hex(":")
    is_told = _NDA_DST in about and (mac or state & _NUD_FAILED)
    if family not in (AF_INET, AF_INET6) or not is_told:
        return None
    return Neighbour(interface, unpack_address(about[_NDA_DST]), mac, state)


def list_neighbours(link: Netlink) -> list[Neighbour]:
    """All neighbours that the kernel knows, of both families."""
    answers = link.dump(message(_RTM_GETNEIGH, bytes(_HEAD.size)))
    found = [parse_neighbour(answer) for _, answer in answers]
    return [one for one in found if one]


def neighbour_at(link: Netlink, interface: int, address: Address) -> str:
    """The MAC of the neighbour at the address; '' for none."""
    found = _ask(link, interface, address)
    return found.mac if found and found.is_usable else ""


def is_silent(link: Netlink, interface: int, address: Address) -> bool:
    """Whether the kernel has asked for the neighbour at the address, and nobody has
    answered; it forgets this sooner or later."""
    found = _ask(link, interface, address)
    return bool(found and found.state & _NUD_FAILED)


def _ask(link: Netlink, interface: int, address: Address) -> Neighbour | None:
    head = _HEAD.pack(FAMILIES[address.version], interface, 0, 0, 0)
    asked = head + attribute(_NDA_DST, address.packed)
    try:
        return parse_neighbour(link.ask(message(_RTM_GETNEIGH, asked)))
    except OSError:
        return None


def probe(link: Netlink, interface: int, address: Address, mac: str = "") -> None:
    """Have the kernel ask whether the neighbour at the address, with this MAC if there
    is one, is still there; if it has gone, the kernel reports it a few seconds later.
    One that is not in the table is asked for, too."""
    family = FAMILIES[address.version]
    to = attribute(_NDA_DST, address.packed)
    asked = _HEAD.pack(family, interface, _NUD_PROBE, 0, 0) + to
    flags = _NLM_F_REPLACE
    if mac:
        asked += attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
        flags |= _NLM_F_CREATE
    try:
        link.request(message(RTM_NEWNEIGH, asked, flags))
    except OSError:
        try:
            asked = _HEAD.pack(family, interface, 0, _NTF_USE, 0) + to
            link.request(message(RTM_NEWNEIGH, asked, _NLM_F_CREATE))
        except OSError:
            pass  # the interface has just gone
