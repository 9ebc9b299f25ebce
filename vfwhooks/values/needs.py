"""What guests need once for all of them: a network's entries, and what goes with them.

By its name it is kept in the guests' records, counted in members/ (see references), and
has a record of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from .entries import ReturnRoute
from .published import Family, parse_family

# No network's name has a slash, but for the first letter of one that stands for a
# bridge of the host's own (see guests).
_LOOPBACK, _WAY = "loopback", "way-"


@dataclass(frozen=True)
class Need:
    """A network's entries."""

    network: str

    @property
    def name(self) -> str:
        """What it is kept by."""
        return self.network


@dataclass(frozen=True)
class LoopbackNeed(Need):
    """What leads from the host's loopback to the network's bridge."""

    @property
    def name(self) -> str:
        """What it is kept by."""
        return f"{self.network}/{_LOOPBACK}"


@dataclass(frozen=True)
class WayNeed(Need):
    """A way back for what answers through the network (see return_path)."""

    family: Family
    table: int
    value: int
    uplink: str

    @property
    def name(self) -> str:
        """What it is kept by."""
        way = f"{self.family}-{self.table}-{self.value}-{self.uplink}"
        return f"{self.network}/{_WAY}{way}"

    def route(self, bridge: str) -> ReturnRoute:
        """Its entry."""
        return ReturnRoute(self.family, bridge, self.table, self.value, self.uplink)


def parse_need(name: str) -> Need:
    """What is kept by this name. Raises ValueError."""
    network, slash, what = name[1:].partition("/")
    network = name[:1] + network
    if not slash:
        return Need(network)
    if what == _LOOPBACK:
        return LoopbackNeed(network)
    if not what.startswith(_WAY):
        raise ValueError(f"nothing is needed by the name {name!r}")
    family, table, value, uplink = what[len(_WAY) :].split("-", 3)
    return WayNeed(network, parse_family(family), int(table), int(value), uplink)
