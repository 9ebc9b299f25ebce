"""Addresses in forwards.yaml that the host does not have: no packet arrives there.

The rules for such an address are in the kernel all the same. They do no harm, and work
as soon as the address comes. So only commands use this module, and never the hook path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..libvirt.inventory import Inventory
from ..values.errors import show
from ..values.published import Address


def find_absent(
    hosts: Iterable[Address | None], public: Collection[Address], inventory: Inventory
) -> dict[Address, str]:
    """The hosts (None: every address) where no packet arrives, with the reason.
    `public` are addresses in public_ip."""
    return {
        host: _why(host, inventory, host in public)
        for host in dict.fromkeys(hosts)
        # Every host has 0.0.0.0, :: and loopback.
        if host
        and not (host.is_unspecified or host.is_loopback)
        and not inventory.is_local(host)
    }


def _of_a_guest(host: Address, inventory: Inventory) -> str:
    """The reason if the address is on a network of libvirt; '' if it is not."""
    for one in map(inventory.network, inventory.names()):
        if one and not one.is_hosts_own and any(host in s for _, s in one.subnets):
            what = f"{host} is an address of guests, on network {show(one.name)}"
            return f"{what}, and host_ip is the host's; leave host_ip out"
    return ""


def _why(host: Address, inventory: Inventory, is_public: bool) -> str:
    of_guest = "" if is_public else _of_a_guest(host, inventory)
    if of_guest:
        return of_guest
    device = inventory.device_with(host)
    if device and host.version == 6:
        return f"{host} is on {device} and not in use: is it a duplicate (dadfailed)?"
    if device:
        return f"{host} is on {device} and not in use: is {device} in a VRF?"
    cure = "write the address that it leads to" if is_public else "leave host_ip out"
    return f"this host has no address {host}; behind a provider's NAT? {cure}"
