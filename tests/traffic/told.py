"""What status says of the packets that come from outside to a forward.

Whose a packet is is read from the row's forwards in the plainest way; nothing of
vfwhooks is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import yaml
from oracle import read_port

from .cells import Cell
from .expect import asked_address, own_address
from .places import CABLES, GUESTS, HOST
from .table import Ask, Row

FROM_OUTSIDE = ("outside", "elsewhere")
EVERYWHERE = "*"
_LOOPBACK = "127."
# The host's own addresses, without those on libvirt's bridges.
_OUTER = {address for pair in (*CABLES.values(), *HOST.values()) for address in pair}
Statuses = list[dict[str, Any]]


@dataclass(frozen=True)
class Owner:
    """The forward that a packet is for: its guest, and the address it is bound to."""

    guest: str
    host: str


@dataclass(frozen=True)
class Told:
    """One such packet: whether the forward's guest answered, and what status said of
    the forward, as state and reason."""

    cell: Cell
    port: str
    is_answered: bool
    said: tuple[tuple[str, str], ...]

    def wrong(self, why: str) -> str:
        """What status said that is not so; `why` is in the reason of a forward that
        does not answer."""
        if self.is_answered:
            is_right = {state for state, _ in self.said} == {"active"}
        else:
            is_right = bool(why and self.said) and all(
                why in reason for _, reason in self.said
            )
        answered = "answered" if self.is_answered else "not answered"
        return "" if is_right else f"{self.cell} {self.port}: {answered}, {self.said}"


@dataclass(frozen=True)
class _Published:
    owner: Owner
    protocol: str
    first: int
    last: int
    allow_from: tuple[str, ...]

    def has(self, protocol: str, port: int, address: str) -> bool:
        is_same = self.protocol in (protocol, "all") and self.first <= port <= self.last
        hosts = [address, *([EVERYWHERE] if address in _OUTER else [])]
        return is_same and self.owner.host in hosts


def find_owner(row: Row, ask: Ask, cell: Cell) -> Owner | None:
    """The forward that a question from outside is for: one on the address asked, or
    else on every address, whose allow_from has who asks. None for a packet of nobody's,
    and for one on a connection that is older than the forwards."""
    if (
        cell.origin not in FROM_OUTSIDE
        or ask.word(cell.origin, cell.backend) == "closed"
    ):
        return None
    index = 0 if cell.family == "4" else 1
    address = asked_address(row, ask, cell.origin)[index]
    if address.startswith(_LOOPBACK):
        return None
    met = [p for p in _published(row) if p.has(ask.protocol, ask.port, address)]
    met.sort(key=lambda one: one.owner.host == EVERYWHERE)
    source = own_address(row, cell.origin)[index]
    if met and _is_allowed(source, met[0].allow_from):
        return met[0].owner
    return None


def find_said(
    forwards: Statuses, owner: Owner, ask: Ask, family: str
) -> tuple[tuple[str, str], ...]:
    """State and reason of the forward in `status --json`."""
    return tuple(
        (one["state"], one["reason"])
        for one in forwards
        if (one["guest"], one["host_ip"]) == (_title(owner.guest), owner.host)
        and one["protocol"] in (ask.protocol, "all")
        and _has_port(one["published"], ask.port)
        and (not one["address"] or (":" in one["address"]) == (family == "6"))
    )


def _title(guest: str) -> str:
    return GUESTS[guest].title if guest in GUESTS else guest


def _has_port(published: str, port: int) -> bool:
    first, _, last = published.partition("-")
    return published == "all" or int(first) <= port <= int(last or first)


def _is_allowed(source: str, networks: tuple[str, ...]) -> bool:
    address = ip_address(source)
    return not networks or any(address in ip_network(one) for one in networks)


def _published(row: Row) -> Iterator[_Published]:
    """Everything that the row's forwards publish."""
    known = {word: key for key, g in GUESTS.items() for word in (g.title, g.uuid)}
    tree: Mapping[str, Any] = yaml.load(row.forwards, yaml.BaseLoader) or {}
    for name, given in tree.items():
        settings = given if isinstance(given, dict) else {"ports": given}
        key = known.get(name, name)
        whole = _words(settings.get("public_ip"))
        if whole and "ports" not in settings:
            for host in whole:
                sources = _words(settings.get("allow_from"))
                yield _Published(Owner(key, host), "all", 0, 65535, sources)
        for port in settings.get("ports", ()):
            sources = _words(port.get("allow_from")) if isinstance(port, dict) else ()
            for default in whole or (EVERYWHERE,):
                for host, protocol, first, last, _, _ in read_port(port, default):
                    yield _Published(Owner(key, host), protocol, first, last, sources)


def _words(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())
