"""A guest that runs here after a migration learns where its gateway is now.

It still sends packets for the world to the MAC of the bridge on the host that it came
from. A neighbour probe of this host tells it the right MAC at once. Without one it
learns that with the host's next ARP request: after 5 seconds if the host still knew it
from before, and after a minute if nobody connects to it.
"""

from __future__ import annotations

from ..libvirt.inventory import Inventory
from .desired_state import DesiredState
from .guest_addresses import is_inside


def probe_arrival(desired: DesiredState, inventory: Inventory) -> None:
    """Probe the guest at each address that it is to be forwarded to; not at one where
    the host has seen another guest. It comes before the rules, since the guest's answer
    to an earlier connection would be lost."""
    addresses = desired.endpoint.addresses.values()
    for nic in desired.record.guest.nics if addresses else ():
        network = inventory.network_of(nic.bridge)
        subnets = [subnet for _, subnet in network.subnets] if network else []
        for address in addresses:
            if is_inside(address, subnets):
                seen = inventory.neighbour_at(nic.bridge, address)
                if seen in ("", nic.mac):
                    inventory.probe(nic.bridge, address, nic.mac)
