"""The guests that have an address, as far as libvirt knows: by reservation, by lease,
in the bridge's neighbour table."""

from __future__ import annotations

from collections.abc import Iterable

from ..libvirt.inventory import Inventory
from ..reconcile.guest_addresses import find_network
from ..values.guests import Guest


def find_owners(guests: Iterable[Guest], inventory: Inventory) -> dict[str, list[str]]:
    """The names of guests by address; two names where nobody can tell."""
    found: dict[str, list[str]] = {}
    for guest in guests:
        for nic in guest.nics:
            network, _ = find_network(nic, inventory)
            if network is None:
                continue
            addresses = list(network.reservations.get(nic.mac, ()))
            addresses += [one for _, one in inventory.leases(network.bridge, nic.mac)]
            addresses += inventory.neighbours(network.bridge, nic.mac)
            for address in addresses:
                names = found.setdefault(str(address), [])
                names += [] if guest.name in names else [guest.name]
    return found
