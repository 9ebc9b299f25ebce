"""`vfwhooks reserve`: DHCP reservations of libvirt for a guest's present addresses."""

from __future__ import annotations

from collections.abc import Callable

from ..config.port_mappings import Settings
from ..libvirt.client import Answer
from ..libvirt.inventory import Inventory
from ..reconcile.guest_addresses import find_endpoint, find_network
from ..values.errors import VfwError, show
from ..values.guests import Guest
from ..values.published import Address, Family

Reserve = Callable[[str, str, Address], bool]


def reserve_guest(
    name: str, answer: Answer, inventory: Inventory, reserve: Reserve
) -> tuple[list[str], list[str]]:
    """Reserve the IPv4 address of every interface that has one. Returns lines about the
    reservations, and problems.

    `name` is the guest's name or UUID; `reserve` takes network, MAC and address.
    """
    found = [g for g in answer.guests if name in (g.name, g.uuid)]
    if not found:
        raise VfwError(f"{show(name)} is not running", "virsh list shows who runs")
    whose = show(found[0].name)
    lines, reasons, problems = [], [], []
    for nic in found[0].nics:
        network, reason = find_network(nic, inventory)
        if network is None:
            reasons.append(reason)
            continue
        alone = Guest(found[0].driver, found[0].name, found[0].uuid, [nic])
        where = find_endpoint(alone, Settings(), inventory, {})
        address = where.addresses.get(Family.IPV4)
        if not address:
            reasons.append(where.reason or f"{nic.mac} has no IPv4 address")
            continue
        try:
            is_new = reserve(network.name, nic.mac, address)
        except VfwError as error:
            problems.append(f"{whose}: {error}")
            continue
        done = "is reserved now" if is_new else "was reserved already"
        where_to = f"for {nic.mac} on network {network.name}"
        lines.append(f"{whose}: {address} {done} {where_to}")
    if not lines and not problems:
        why = "; ".join(reasons) or "the guest has no interface"
        raise VfwError(f"{whose}: no address to reserve: {why}")
    return lines, problems
