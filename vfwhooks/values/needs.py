"""Needs that guests share: a network's entries, loopback by its bridge, return routes.

A need is stored by its name in the guests' records and in members/ (see references),
and it has a record of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from .entries import ReturnRoute
from .published import Family, parse_family

# No network's name has a slash, but for the first letter of a host bridge's (guests).
_LOOPBACK, _WAY = "loopback", "way-"


@dataclass(frozen=True)
class Need:
    """The entries of a network."""

    network: str

    @property
    def name(self) -> str:
        """The name in records and in members/."""
        return self.network


@dataclass(frozen=True)
class LoopbackNeed(Need):
    """The entry that leads from the host's loopback to the network's bridge."""

    @property
    def name(self) -> str:
        """The name in records and in members/."""
        return f"{self.network}/{_LOOPBACK}"


@dataclass(frozen=True)
class ReturnRouteNeed(Need):
    """A return route for answers that come in through the network (see return_path)."""

    family: Family
    table: int
    value: int
    uplink: str

    @property
    def name(self) -> str:
        """The name in records and in members/."""
        way = f"{self.family}-{self.table}-{self.value}-{self.uplink}"
        return f"{self.network}/{_WAY}{way}"

    def route(self, bridge: str) -> ReturnRoute:
        """The entry of this return route."""
        return ReturnRoute(self.family, bridge, self.table, self.value, self.uplink)


def parse_need(name: str) -> Need:
    """The need that has this name. Raises ValueError."""
    network, slash, what = name[1:].partition("/")
    network = name[:1] + network
    if not slash:
        return Need(network)
    if what == _LOOPBACK:
        return LoopbackNeed(network)
    if not what.startswith(_WAY):
        raise ValueError(f"nothing is needed by the name {name!r}")
    family, table, value, uplink = what[len(_WAY) :].split("-", 3)
    return ReturnRouteNeed(
        network, parse_family(family), int(table), int(value), uplink
    )
