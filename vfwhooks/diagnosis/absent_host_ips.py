"""Addresses in forwards.yaml that the host does not have: no packet arrives there.

The rules for such an address are in the kernel all the same. They do no harm, and work
as soon as the address comes. So only commands use this module, and never the hook path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..libvirt.inventory import Inventory
from ..values.published import Address


def find_absent(
    hosts: Iterable[Address | None], public: Collection[Address], inventory: Inventory
) -> dict[Address, str]:
    """The hosts (None: every address) where no packet arrives, with the reason.
    `public` are addresses in public_ip."""
    return {
        host: _why(host, inventory.device_with(host), host in public)
        for host in dict.fromkeys(hosts)
        # Every host has 0.0.0.0, :: and loopback.
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
