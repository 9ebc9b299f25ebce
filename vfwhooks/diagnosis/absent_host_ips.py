"""Addresses in forwards.yaml that the host does not have: nothing arrives there.

Their rules are in the kernel all the same, where they do no harm, and work from the
moment that the address comes. So this is for who asks, and not for the hook path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..libvirt.inventory import Inventory
from ..values.published import Address


def find_absent(
    hosts: Iterable[Address | None], public: Collection[Address], inventory: Inventory
) -> dict[Address, str]:
    """Those of the hosts (None: every address) where nothing arrives, and why; `public`
    are addresses that are to be one guest's."""
    return {
        host: _why(host, inventory.device_with(host), host in public)
        for host in dict.fromkeys(hosts)
        # Every host has any address, and loopback.
        if host
        and not (host.is_unspecified or host.is_loopback)
        and not inventory.is_local(host)
    }


def _why(host: Address, device: str, is_public: bool) -> str:
    if device and host.version == 6:
        return f"{host} is on {device} and not in use: is it a duplicate (dadfailed)?"
    if device:
        return f"{host} is on {device} and not in use: is {device} in a VRF?"
    cure = "write the address that it leads to" if is_public else "leave host_ip out"
    return f"this host has no address {host}; behind a provider's NAT? {cure}"
