"""The endpoint of a guest: `address:`, reservation, lease, neighbour, in that order.

The inventory reads only what is needed: a guest with a reservation costs no look at
leases, and a guest with a lease none at the neighbour table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..config.port_mappings import Addresses, Settings
from ..libvirt.inventory import Inventory
from ..store.records import Ousted
from ..values.errors import VfwError, show
from ..values.guests import Guest, Network, Nic, hosts_own
from ..values.published import BOTH, Address, Family, Subnet, parse_address


@dataclass(eq=False)
class Endpoint:
    """A guest's addresses by family, its networks, and why an address is missing."""

    addresses: Addresses
    networks: list[Network]
    reason: str


def find_endpoint(
    guest: Guest,
    settings: Settings,
    inventory: Inventory,
    now: Addresses,
    ousted: Collection[Ousted] = (),
    names: Mapping[str, str] = {},
) -> Endpoint:
    """Find the endpoint: for each family, the address of the first interface that has
    one.

    `now` is the endpoint in force: it stays if no source names an address, until
    another MAC answers there; MACs of guests that this one has `ousted` do not count
    (see records). `names` are the known guests by MAC.
    """
    addresses: Addresses = {}
    networks: list[Network] = []
    reasons: list[str] = []
    for nic in guest.nics:
        if not _is_meant(nic, settings, inventory):
            continue
        network, reason = find_network(nic, inventory, settings.bridge)
        if network is None:
            reasons.append(reason)
            continue
        networks.append(network)
        for family in BOTH:
            if family not in addresses:
                was = now.get(family)
                nics = [nic, *guest.nics]
                look = _Resolver(nics, network, inventory, was, ousted, names)
                found, reason = look.find(family, settings.addresses.get(family))
                if found:
                    addresses[family] = found
                elif reason:
                    reasons.append(reason)
    if not networks and not reasons:
        where = f" on network {settings.network}" if settings.network else ""
        where = f" on bridge {settings.bridge}" if settings.bridge else where
        reasons.append(f"the guest has no interface{where}")
    return Endpoint(addresses, networks, "" if addresses else "; ".join(reasons))


def _is_meant(nic: Nic, settings: Settings, inventory: Inventory) -> bool:
    if settings.bridge:
        return _bridge(nic, inventory) == settings.bridge
    return settings.network in ("", nic.network, nic.bridge)


def _bridge(nic: Nic, inventory: Inventory) -> str:
    """The interface's bridge; a libvirt network that leads to a bridge may name it."""
    network = inventory.network(nic.network) if nic.network else None
    return nic.bridge or (network.bridge if network else "")


def find_network(
    nic: Nic, inventory: Inventory, bridge: str = ""
) -> "tuple[Network | None, str]":
    """The network that hides the interface from outside; or None and the reason. With
    `bridge`, a host bridge of this name stands for a network."""
    network = None
    if nic.kind == "network" or (nic.kind == "bridge" and nic.network):
        network = inventory.network(nic.network)
        if network is None:
            return None, f"network {nic.network} is not active"
    elif nic.kind == "bridge":
        network = inventory.network_of(nic.bridge)
    if network and network.is_ours:
        return network, ""
    from .unreached_interfaces import why_no_bridge, why_unreached  # few guests need it

    if bridge and bridge == _bridge(nic, inventory):
        own = inventory.network(hosts_own(bridge))
        reason = why_no_bridge(bridge, own)
        return (None, reason) if reason else (own, "")
    return None, why_unreached(nic, network)


def find_network_at(inventory: Inventory, address: str) -> Network | None:
    """The active network that an address belongs to; None for no address."""
    for network in map(inventory.network, inventory.names()):
        subnets = [subnet for _, subnet in network.subnets] if network else []
        if address and is_inside(parse_address(address), subnets):
            return network
    return None


def find_ports(
    guest: Guest, settings: Settings, inventory: Inventory
) -> list[tuple[str, str]]:
    """The bridge ports (device, bridge) to which the forwards may lead. An interface
    that was plugged in later has no known device."""
    found = []
    for nic in guest.nics:
        network, _ = find_network(nic, inventory, settings.bridge)
        if network and _is_meant(nic, settings, inventory):
            found.append((nic.device, network.bridge))
    return [port for port in found if all(port)]


class _Resolver:
    """The search for the address of the first of the interfaces; the others are the
    guest's, too."""

    def __init__(
        self,
        nics: list[Nic],
        network: Network,
        inventory: Inventory,
        now: Address | None,
        ousted: Collection[Ousted],
        names: Mapping[str, str],
    ) -> None:
        self._nic = nics[0]
        self._macs = {nic.mac for nic in nics}
        self._network = network
        self._inventory = inventory
        self._now = now
        self._ousted = [(one.address, one.mac) for one in ousted]
        self._names = names
        self._trouble = ""
        self._answered: dict[Address, str] = {}

    def find(self, family: Family, fixed: Address | None) -> tuple[Address | None, str]:
        """The address, or None and the reason ('' for a family that the network does
        not have)."""
        network = self._network
        every = [subnet for _, subnet in network.subnets]
        subnets = [one for one in every if one.version == int(family)]
        if fixed:
            if network.is_hosts_own and not is_inside(fixed, subnets):
                own = ", ".join(map(str, every))
                return None, f"address {fixed} is outside {own} of {network.bridge}"
            if subnets and not is_inside(fixed, subnets):
                return None, f"address {fixed} is outside network {network.name}"
            return fixed, ""
        for address in self._candidates(subnets) if subnets else ():
            if is_inside(address, subnets):
                return address, ""
        for lease, mac in self._answered.items():
            who = show(self._names.get(mac, mac))
            return None, f"lease {lease} is answered by {who}: same machine-id?"
        what = f"no reservation, lease or neighbour for {self._nic.mac}"
        reason = f"{what} on {network.bridge} (IPv{family}){self._trouble}"
        if network.is_hosts_own:
            reason += "; write address:, or have the guest send something"
        return None, reason if subnets else ""

    def _candidates(self, subnets: Collection[Subnet]) -> Iterator[Address]:
        mac, bridge = self._nic.mac, self._network.bridge
        yield from self._network.reservations.get(mac, ())
        silent = []
        for address in self._leased(subnets):
            other = self._other(address)
            if other:
                self._answered[address] = other
            elif self._inventory.is_silent(bridge, address):
                silent.append(address)
            else:
                yield address
        neighbours, now = self._inventory.neighbours(bridge, mac), self._now
        if now and (now in neighbours or (neighbours and self._is_unasked(now))):
            yield now
        yield from neighbours
        yield from silent
        if now and not self._other(now):
            yield now

    def _is_unasked(self, address: Address) -> bool:
        """Whether the neighbour table says nothing of the address: where there are many
        neighbours, the kernel forgets those that were silent for a while."""
        bridge = self._network.bridge
        return not (self._other(address) or self._inventory.is_silent(bridge, address))

    def _leased(self, subnets: Collection[Subnet]) -> list[Address]:
        """The leases in these subnets, the newest first. Of two that are as new, for
        example without end, the one where the guest is seen comes first."""
        mac, bridge = self._nic.mac, self._network.bridge
        try:
            leases = self._inventory.leases(bridge, mac)
        except (VfwError, OSError) as error:  # others need not wait
            self._trouble, leases = f"; {error}", []
        leases = [lease for lease in leases if is_inside(lease[1], subnets)]
        if len({expiry for expiry, _ in leases}) < len(leases):
            near = self._inventory.neighbours(bridge, mac)
            leases.sort(key=lambda o: (-o[0], o[1] not in near, o[1] != self._now))
        return [address for _, address in leases]

    def _other(self, address: Address) -> str:
        """The MAC of another guest at the address, from the bridge's neighbour table;
        '' for an ousted guest, since clones come and go there all the time. A guest
        with two interfaces on one bridge answers for each address by either of them."""
        holder = self._inventory.neighbour_at(self._network.bridge, address)
        is_ousted = address == self._now and (address, holder) in self._ousted
        return "" if holder in self._macs or is_ousted else holder


def is_inside(address: Address, subnets: Iterable[Subnet]) -> bool:
    return any(address in subnet for subnet in subnets)


def has_address(network: Network, address: Address | None) -> bool:
    """Whether the network leads to the address."""
    subnets = [subnet for _, subnet in network.subnets]
    if address is None:
        return False
    return not subnets or is_inside(address, subnets)
