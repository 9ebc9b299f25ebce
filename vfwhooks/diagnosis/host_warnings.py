"""Warnings if a valid forwards.yaml does not fit this host as it is now. They are no
errors: the file may be for another host, and this host may change.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..config.forwards import Forward, GuestForwards
from ..config.yaml_nodes import Place, Problem
from ..host.listeners import Listener
from ..host.socket_owners import name_socket_owners
from ..libvirt.inventory import Inventory
from ..reconcile.port_conflicts import find_port_conflicts, find_port_owners
from ..reconcile.unreached_interfaces import why_no_bridge
from ..values.errors import show
from ..values.guests import hosts_own
from ..values.protocols import ALL_PROTOCOLS
from ..values.published import Address
from .absent_host_ips import find_absent
from .service_names import find_passing, name_few


def find_host_warnings(
    guests: Iterable[GuestForwards], inventory: Inventory
) -> list[Problem]:
    """Warnings about addresses that the host does not have, ports that it listens on,
    odd bridges, and hairpin mode that may do harm."""
    guests = list(guests)
    inventory.know_bridges([guest.bridge for guest in guests if guest.bridge])
    forwards = [forward for guest in guests for forward in guest.forwards]
    public = [one for guest in guests for one in guest.public_ips]
    hosts = [forward.host_ip for forward in forwards]
    absent = find_absent([*hosts, *public], public, inventory)
    found = [
        Problem(guest.public_place, what, is_warning=True)
        for guest in guests
        for address in guest.public_ips
        if (what := _of_public(address, guest.is_hosts_own, absent, inventory))
    ]
    found += [
        Problem(f.place, absent[f.host_ip], is_warning=True)
        for f in forwards
        if f.host_ip and f.host_ip in absent and f.host_ip not in public
    ]
    found += [
        Problem(guest.bridge_place, what, is_warning=True)
        for guest in guests
        if guest.bridge and (what := _of_bridge(guest.bridge, inventory))
    ]
    for forward in [forward for guest in guests for forward in guest.unplaced]:
        what = f"{show(forward.interface)} has no free address"
        what += "; the forward comes with one"
        found.append(Problem(forward.place, what, is_warning=True))
    return found + _listened_on(forwards, inventory) + _hairpins(guests, inventory)


def _of_bridge(bridge: str, inventory: Inventory) -> str:
    """The warning about a bridge in `bridge:`; '' for none."""
    network = inventory.network_of(bridge)
    if network and network.is_ours:
        what = f"{bridge} is the bridge of libvirt's network {show(network.name)}"
        return f"{what}, and is taken for it; write network: {show(network.name)}"
    own = inventory.network(hosts_own(bridge))
    if own and not own.is_inside(inventory.is_default_source):
        what = f"{bridge} has the address by which the world knows the host"
        return f"{what}: on the LAN the guest is reached at its own, without forwards"
    return why_no_bridge(bridge, own)


def _of_public(
    address: Address,
    is_hosts_own: bool,
    absent: dict[Address, str],
    inventory: Inventory,
) -> str:
    """The warning about an address in public_ip; '' for none."""
    if address in absent:
        return absent[address]
    if is_hosts_own or not inventory.is_own(address):
        return ""
    cure = "public_ip_of_host: true gives it to the guest all the same"
    return f"{address} is the host's own address; {cure}"


def _listened_on(forwards: list[Forward], inventory: Inventory) -> list[Problem]:
    """One warning for each forward and protocol: a listener that is first keeps its
    port."""
    published = {
        one: f for f in forwards if not f.options.over_listener for one in f.claims()
    }
    there = find_port_conflicts(list(published), [], inventory)
    gone = find_passing(there, inventory)
    port_owners = find_port_owners(
        [pair for pair in there if pair[1].inode not in gone], inventory
    )
    names = name_socket_owners(
        [one for ports in port_owners.values() for one in ports.values()]
    )
    met: dict[tuple[Forward, str], dict[int, Listener]] = {}
    for one, ports in port_owners.items():
        for port_owner in ports.values():
            some = met.setdefault((published[one], port_owner.protocol), {})
            some.setdefault(port_owner.port, port_owner)
    return [
        Problem(f.place, f"{name_few(some, names)}; {_cure(f, some)}", is_warning=True)
        for (f, _), some in met.items()
    ]


def _hairpins(guests: list[GuestForwards], inventory: Inventory) -> list[Problem]:
    """One warning for each `hairpin` key: a guest that receives its own request about
    its IPv6 address (duplicate address detection) may believe that another host has
    it."""
    harm = "a port in hairpin mode gets its own broadcasts back, and a guest may take"
    harm += " them for another's that has its IPv6 address, and give it up"
    cure = "Linux since 4.10 does not; for a guest that does, write hairpin: false"
    found: dict[Place, Problem] = {}
    for guest in guests:
        where = _ipv6_of(guest, inventory) if guest.hairpin and guest.forwards else ""
        if guest.hairpin and where:
            what = f"{where}: {harm}; {cure}"
            warning = Problem(guest.hairpin, what, is_warning=True)
            found.setdefault(guest.hairpin, warning)
    return list(found.values())


def _ipv6_of(guest: GuestForwards, inventory: Inventory) -> str:
    """Why the guest may have an IPv6 address; '' if nothing says so."""
    hosts = [forward.host_ip for forward in guest.forwards]
    for address in [*guest.addresses, *hosts]:
        if address and address.version == 6:
            return f"{show(guest.name)} is forwarded to by IPv6"
    for network in map(inventory.network, inventory.names()):
        if (
            network
            and network.is_ours
            and any(own.version == 6 for own, _ in network.subnets)
            and guest.network in ("", network.name, network.bridge)
            and guest.bridge in ("", network.bridge)
            and (guest.bridge or not network.is_hosts_own)
        ):
            if network.is_hosts_own:
                return f"bridge {network.bridge} has IPv6"
            return f"network {show(network.name)} has IPv6"
    return ""


def _cure(forward: Forward, port_owners: dict[int, Listener]) -> str:
    if forward.protocol == ALL_PROTOCOLS:
        return "nothing is forwarded while it does, unless public_ip_of_host: true"
    if len(port_owners) > 1:
        return "they keep the ports if they are there first, unless over_listener: true"
    return "it keeps the port if it is there first, unless over_listener: true"
