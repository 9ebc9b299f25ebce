"""What libvirt's XML says, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .published import Address, Subnet

# Before the name of a bridge that is the host's own, where networks are named: neither
# a network's name nor a bridge's has a slash, and a bridge's no colon.
_HOSTS_OWN = "/bridge:"


def hosts_own(bridge: str) -> str:
    """The name of a bridge of the host's own among networks."""
    return f"{_HOSTS_OWN}{bridge}"


def own_bridge(name: str) -> str:
    """The bridge of the host's own that is so called; '' for a network of libvirt's."""
    return name[len(_HOSTS_OWN) :] if name.startswith(_HOSTS_OWN) else ""


@dataclass
class Nic:
    """One interface of a guest, as libvirt's XML has it; nothing known is ''."""

    mac: str
    kind: str
    network: str = ""
    bridge: str = ""
    device: str = ""


@dataclass
class Guest:
    """A guest: the driver whose hook spoke of it, its name, UUID and interfaces."""

    driver: str
    name: str
    uuid: str
    nics: list[Nic]


@dataclass(eq=False)
class Network:
    """A network of libvirt's, or a bridge of the host's own that stands for one: named
    by `hosts_own`, and of mode open, since libvirt has no rules for it either.

    `subnets` are pairs of the bridge's own address and its subnet; `reservations` maps
    a MAC in lower case to its addresses; `backend` is the firewall backend that libvirt
    noted, '' before 10.4.
    """

    name: str
    bridge: str
    mode: str
    subnets: list[tuple[Address, Subnet]]
    reservations: dict[str, list[Address]]
    backend: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether its guests are behind libvirt: not bridged, not passed through."""
        return self.mode in ("none", "nat", "route", "open")

    @property
    def is_hosts_own(self) -> bool:
        """Whether it is a bridge that libvirt has not made."""
        return bool(own_bridge(self.name))

    def is_inside(self, is_default_source: Callable[[Address], bool]) -> bool:
        """Whether its guests are behind the host, and the host's addresses there for
        them. A bridge that has the LAN as a port is not so: by its address the world
        knows the host."""
        if not self.is_hosts_own:
            return self.is_ours
        return not any(is_default_source(address) for address, _ in self.subnets)
