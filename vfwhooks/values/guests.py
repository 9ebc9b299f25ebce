"""Guests and networks of libvirt's XML, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .published import Address, Subnet

# This prefix marks the name of a host bridge where networks are named: no name of a
# network or of a bridge has a slash, and no name of a bridge has a colon.
_HOSTS_OWN = "/bridge:"
# The namespace of forwards in a domain's metadata.
FORWARDS = "urn:vfwhooks:forwards:1"
# The first character of a guest's metadata that could not be read; the reason follows.
UNREADABLE = "!"


def hosts_own(bridge: str) -> str:
    """The name of a host bridge among the names of networks."""
    return f"{_HOSTS_OWN}{bridge}"


def own_bridge(name: str) -> str:
    """The host bridge that has this name; '' for the name of a libvirt network."""
    return name[len(_HOSTS_OWN) :] if name.startswith(_HOSTS_OWN) else ""


@dataclass
class Nic:
    """One interface of a guest, as in libvirt's XML; an unknown field is ''."""

    mac: str
    kind: str
    network: str = ""
    bridge: str = ""
    device: str = ""


@dataclass
class Guest:
    """A guest: the driver that called the hook, and its name, UUID and interfaces.
    `metadata` is the text of the forwards in its metadata, '' for none (see
    libvirt/forwards_element)."""

    driver: str
    name: str
    uuid: str
    nics: list[Nic]
    metadata: str = ""


@dataclass(eq=False)
class Network:
    """A libvirt network, or a host bridge in the place of one. A host bridge has a name
    from `hosts_own`, and the mode open: libvirt has no rules for either.

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
        """Whether the network's guests are behind libvirt: not bridged, not passed
        through."""
        return self.mode in ("none", "nat", "route", "open")

    @property
    def is_hosts_own(self) -> bool:
        """Whether the network is a bridge that libvirt has not made."""
        return bool(own_bridge(self.name))

    def is_inside(self, is_default_source: Callable[[Address], bool]) -> bool:
        """Whether the network's guests are behind the host, and the host's addresses
        there serve the guests alone. This is false for a host bridge with the LAN as a
        port: the world knows the host by its address there."""
        if not self.is_hosts_own:
            return self.is_ours
        return not any(is_default_source(address) for address, _ in self.subnets)
