"""Addresses in forwards.yaml that the host does not have: nothing arrives there.

Their rules are in the kernel all the same, where they do no harm, and work from the
moment that the address comes. So this is for who asks, and not for the hook path.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from ..libvirt.inventory import Inventory


def find_absent(
    hosts: Iterable[str], public: Iterable[str], inventory: Inventory
) -> dict[str, str]:
    """Those of the hosts (`*`, or addresses) where nothing arrives, and why; `public`
    are addresses that are to be one guest's."""
    own = set(public)
    found = {}
    for host in dict.fromkeys(hosts):
        if host == "*" or _is_everywhere(host) or inventory.is_local(host):
            continue
        device = inventory.device_with(host)
        found[host] = _why(host, device, host in own)
    return found


def _is_everywhere(host: str) -> bool:
    """Whether every host has it: any address, or loopback."""
    address = ip_address(host)
    return address.is_unspecified or address.is_loopback


def _why(host: str, device: str, is_public: bool) -> str:
    if device and ":" in host:
        return f"{host} is on {device} and not in use: is it a duplicate (dadfailed)?"
    if device:
        return f"{host} is on {device} and not in use: is {device} in a VRF?"
    cure = "write the address that it leads to" if is_public else "leave host_ip out"
    return f"this host has no address {host}; behind a provider's NAT? {cure}"
