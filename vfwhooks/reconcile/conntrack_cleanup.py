"""Stale connections are found among those of the kernel after a change, and deleted.

Each is deleted by its own tuple, never by a port alone: this would cut the
administrator's own session, and the guests' outgoing connections to that port number.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..config.port_mappings import network_entries
from ..host.conntrack import Flows, Tuple
from ..host.listeners import Range
from ..libvirt.inventory import Inventory
from ..values.entries import Dnat, Entry, Exempt, Reject, Snat
from ..values.protocols import PROTOCOL_NUMBERS, Protocol
from ..values.published import Family, is_of_a_link, unpack_address
from .port_index import (
    Destination,
    PortIndex,
    find_publishing,
    has_led,
    index,
    led,
    overruling,
)

_TCP, _UDP = PROTOCOL_NUMBERS["tcp"], PROTOCOL_NUMBERS["udp"]


def cut(
    flows: Flows,
    inventory: Inventory,
    removed: list[Entry],
    added: list[Entry],
    stay: Iterable[Entry] = (),
) -> int:
    """Cut the connections that removed entries forwarded, unless an entry in `stay`
    forwards them in the same way. Cut the UDP flows (for a whole address: all but TCP)
    that end at the host itself, or are forwarded elsewhere by an entry on every
    address, or leave from another address, though an added entry says otherwise.
    Returns the number."""
    stay = list(stay)
    return (
        _cut_led(flows, removed, stay)
        + _cut_overruled(flows, added, stay)
        + _cut_taken_over(flows, inventory, added)
        + _cut_leaving(flows, removed, False)
        + _cut_leaving(flows, added, True)
    )


def _cut_led(flows: Flows, removed: list[Entry], stay: Iterable[Entry]) -> int:
    """Cut the connections that removed entries forwarded."""
    by_guest: dict[bytes, list[Destination]] = {}
    for one in led(removed):
        by_guest.setdefault(one.address, []).append(one)
    gone = {guest: PortIndex(some) for guest, some in by_guest.items()}
    others = PortIndex(led(stay))

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        some = find_publishing(gone[reply.source], original)
        if not any(has_led(one, original, reply) for one in some):
            return False
        now = find_publishing(others, original)
        return not (now and has_led(now[0], original, reply))

    return flows.cut_forwarded(gone, is_stale)


def _cut_overruled(flows: Flows, added: list[Entry], stay: Iterable[Entry]) -> int:
    """Cut flows that an entry on every address forwards, though an added entry on one
    address has the port there. A client that goes on sending would keep them open."""
    some = overruling(added)
    hosts = {one.published.host.packed for one in some if one.published.host}
    rejected = [Destination(o.published) for o in some if isinstance(o, Reject)]
    ports = PortIndex([*led(some), *led(stay), *rejected])

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        found = find_publishing(ports, original)
        return (
            original.protocol != _TCP
            and original.destination != reply.source
            and bool(found and found[0].host)
            and not has_led(found[0], original, reply)
        )

    return flows.cut_sent(hosts, is_stale)


def _cut_taken_over(flows: Flows, inventory: Inventory, added: list[Entry]) -> int:
    """Cut flows that end at the host itself, though added entries publish the port."""
    published = [one.published for one in added if isinstance(one, (Dnat, Reject))]
    udp = [one for one in published if one.protocol is Protocol.UDP]
    one_to_ones = [one for one in published if one.is_one_to_one]
    ports = index(udp + one_to_ones)
    exempt = _exempt(inventory, added) if udp or one_to_ones else set()
    known: dict[bytes, bool] = {}

    def is_local(host: bytes) -> bool:
        if host not in known:
            address = unpack_address(host)
            known[host] = not is_of_a_link(address) and inventory.is_local(address)
        return known[host]

    def is_here(host: bytes) -> bool:
        return is_local(host) or unpack_address(host).is_loopback

    def is_published(original: Tuple) -> bool:
        found = find_publishing(ports, original)
        # A port on every address is not one of loopback's.
        return bool(found and (found[0].host or is_local(original.destination)))

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        at = original.destination, original.port
        return (
            original.protocol != _TCP
            and at == (reply.source, reply.source_port)
            and not (original.protocol == _UDP and at in exempt)
            and is_published(original)
            and is_here(original.destination)
        )

    hosts = {one.host.packed for one in one_to_ones if one.host}
    count = flows.cut_sent(hosts, is_stale)
    by_family: dict[Family, set[Range]] = {}
    for one in udp:
        by_family.setdefault(one.family, set()).add((one.first, one.last))
    for family, some in sorted(by_family.items()):
        count += flows.cut_udp(family, some, is_here, is_stale)
    return count


def _exempt(inventory: Inventory, added: list[Entry]) -> set[tuple[bytes, int]]:
    """The addresses and UDP ports that stay the host's: the added exempt entries, and
    DNS and DHCP of all networks."""
    entries = list(added)
    for name in inventory.names():
        network = inventory.network(name)
        if network and network.is_inside(inventory.is_default_source):
            entries += network_entries(network.subnets)
    exempt = [entry.published for entry in entries if isinstance(entry, Exempt)]
    return {
        (one.host.packed, one.first)
        for one in exempt
        if one.host and one.protocol is Protocol.UDP
    }


def _cut_leaving(flows: Flows, changed: list[Entry], is_new: bool) -> int:
    """Cut guests' own connections to the outside: those that leave from an address of a
    removed entry; or, with `is_new`, all but TCP that do not leave from the new
    address."""
    publics: dict[bytes, set[bytes]] = {}
    for entry in changed:
        if isinstance(entry, Snat):
            publics.setdefault(entry.source.packed, set()).add(entry.to.packed)

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        is_by_it = reply.destination in publics[original.source]
        return (
            original.source != reply.destination
            and original.destination == reply.source
            and is_by_it != is_new
            and not (is_new and original.protocol == _TCP)
        )

    return flows.cut_leaving(publics, is_stale)
