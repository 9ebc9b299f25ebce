"""Port conflicts: listeners of the host on the ports of a forward.

A forward yields to an earlier listener, as a second bind() would fail, and stays if the
listener is later: an entry in force does not depend on the listeners of the moment. A
listener that serves libvirt's guests alone keeps its address on their bridge, and the
forward has all others.

A socket on a high udp port within a range may belong to a resolver that awaits one
answer. No source gives its age, so it is noted as seen; if it is still there seconds
later, it keeps its port. A socket of the kernel itself stays at once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from ..config.port_mappings import EXEMPT_PORTS
from ..host.listeners import Listener, Range
from ..libvirt.inventory import Inventory
from ..store.records import Record, Seen
from ..values.entries import Dnat, Entry, Exempt, Reject
from ..values.published import (
    LAST,
    Address,
    Family,
    Published,
    family_of,
    is_of_a_link,
)
from .port_index import index

# Ports to publish, each time with a listener on one of them.
PortConflicts = list[tuple[Published, Listener]]
_LOOPBACK_DEVICE = 1
_PRIVILEGED = 1024
LASTING = 4_000_000_000  # ns; the service looks 5 s after the record


class Past:
    """The records' word on listeners: the ports that they had, as published ports, and
    the sockets that were seen, with the time when each was first seen (monotonic ns).
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.yields: set[Published] = set()
        self.seen: dict[Seen, int] = {}
        for record in records:
            self.yields.update(record.yields)
            for what, stamp in record.seen.items():
                self.seen[what] = min(stamp, self.seen.get(what, stamp))

    def concerns(self, one: Published) -> bool:
        """Whether the records name a listener on one of these ports."""
        if not self.yields and not self.seen:
            return False
        if not one.is_range:
            return one in self.yields
        known = (*self.yields, *(seen.port for seen in self.seen))
        return any(port.is_beside(one) and one.has(port.first) for port in known)

    def knows(self, one: Published, listener: Listener) -> bool:
        """Whether the listener was there before the entry in force."""
        port = port_of(one, listener)
        return port in self.yields or Seen(port, listener.inode) in self.seen


def port_of(one: Published, listener: Listener) -> Published:
    """The listener's port among the ports to publish."""
    return one if one.is_one_to_one else one.at(listener.port)


def is_fleeting(one: Published, listener: Listener) -> bool:
    """Whether the socket may be gone in a moment: a high udp port within a range."""
    is_high = listener.protocol == "udp" and listener.port >= _PRIVILEGED
    return is_high and one.is_range and not listener.is_kernels


def find_port_conflicts(
    published: list[Published],
    held: list[Entry],
    inventory: Inventory,
    past: Past | None = None,
) -> PortConflicts:
    """Find the listeners on ports to publish.

    Ports of `held`, the entries in force, are published already: a listener there came
    later and does not count, unless the past knows it.
    """
    known = find_published(held)
    past = past or Past()
    wanted = _wanted([o for o in published if o not in known or past.concerns(o)])
    had = index(known if wanted else ())
    found = []
    for protocol, some in wanted.items():
        listeners = inventory.listeners(protocol, sorted({ports for _, ports in some}))
        by_port: dict[int, list[Listener]] = {}
        for listener in listeners:
            by_port.setdefault(listener.port, []).append(listener)
        for one, (first, last) in some if listeners else ():
            for listener in listeners if first < last else by_port.get(first, ()):
                if (
                    first <= listener.port <= last
                    and one.family in listener.families
                    and (
                        past.knows(one, listener)
                        or not had.covers(one, protocol, listener.port)
                    )
                ):
                    found.append((one, listener))
    return found


def find_published(held: Iterable[Entry]) -> set[Published]:
    """The ports that these entries publish or reject."""
    return {one.published for one in held if isinstance(one, (Dnat, Reject))}


def find_lasting(
    met: PortConflicts, past: Past, inventory: Inventory, before: int
) -> tuple[PortConflicts, dict[Seen, int]]:
    """The conflicts with listeners that are there to stay, by their kind or because
    they were seen before the time `before` (monotonic ns); and the sockets that may not
    stay, with the time when each was first seen."""
    now = time.monotonic_ns()
    lasting: PortConflicts = []
    seen: dict[Seen, int] = {}
    for one, listener in met:
        if is_fleeting(one, listener) and port_of(one, listener) not in past.yields:
            what = Seen(port_of(one, listener), listener.inode)
            stamp = past.seen.get(what, now)
            if stamp <= before:
                lasting.append((one, listener))
            elif _is_concerned(one, listener, inventory, past):
                seen[what] = stamp
        else:
            lasting.append((one, listener))
    return lasting, seen


def _is_concerned(
    one: Published, listener: Listener, inventory: Inventory, past: Past
) -> bool:
    """Whether the listener would keep the port, on all addresses or on its bridge."""
    if one.host is None and _on_bridges(one.family, listener, inventory):
        return True
    return _is_port_owner(one, listener, inventory, past)


def _wanted(published: list[Published]) -> dict[str, list[tuple[Published, Range]]]:
    """The ports to publish by protocol, each with the ports to look at."""
    found: dict[str, list[tuple[Published, Range]]] = {}
    for one in published:
        if one.is_one_to_one:  # no higher port of udp yields
            found.setdefault("tcp", []).append((one, (one.first, LAST)))
            found.setdefault("udp", []).append((one, (one.first, _PRIVILEGED - 1)))
        else:
            found.setdefault(one.protocol, []).append((one, (one.first, one.last)))
    return found


def find_port_owners(
    met: PortConflicts, inventory: Inventory, past: Past | None = None
) -> dict[Published, dict[int, Listener]]:
    """The listeners that keep ports from being published, by these ports."""
    past = past or Past()
    found: dict[Published, dict[int, Listener]] = {}
    for one, listener in met:
        if _is_port_owner(one, listener, inventory, past):
            found.setdefault(one, {}).setdefault(listener.port, listener)
    return found


def is_all(one: Published, ports: Collection[int]) -> bool:
    """Whether no port is left without these ports; a whole address is forwarded whole
    or not at all."""
    return one.is_one_to_one or len(ports) > one.last - one.first


def find_exempt(
    published: list[Published],
    held: list[Entry],
    met: PortConflicts,
    inventory: Inventory,
) -> list[Entry]:
    """The entries that leave ports to services on libvirt's bridges, if a port is to be
    published on every address; and those that are in force already."""
    exempt = [entry for entry in held if isinstance(entry, Exempt)]
    every = [one for one in published if one.host is None] if exempt else []
    found: list[Entry] = []
    own = inventory.bridge_addresses() if exempt else set()
    for entry in exempt:
        kept = entry.published
        if kept.host in own and any(
            (kept.family, kept.protocol) == (one.family, one.protocol)
            and one.has(kept.first)
            for one in every
        ):
            found.append(entry)
    for one, listener in met:
        if one.host is None and listener.port not in EXEMPT_PORTS:
            for address in _on_bridges(one.family, listener, inventory):
                found.append(Exempt(one.at(listener.port).on(address)))
    return list(dict.fromkeys(found))


def _on_bridges(
    family: Family, listener: Listener, inventory: Inventory
) -> list[Address]:
    """The addresses on libvirt's bridges to which the listener is bound."""
    if listener.address:
        own = inventory.bridge_addresses()
        return [listener.address] if listener.address in own else []
    there = inventory.bridges().get(listener.device, ()) if listener.device else ()
    return [address for address in there if family_of(address) == family]


def _is_port_owner(
    one: Published, listener: Listener, inventory: Inventory, past: Past
) -> bool:
    """Whether a forward of these ports would take the listener's clients.

    On every address: yes, unless it serves the host itself or libvirt's guests alone.
    On one address: if it listens on just this one, or on all and the world knows the
    host by this one; such an address is not forwarded as a whole in the first place.
    While there is no default route, an address that is not there may come with it.
    """
    if one.host is not None:
        if listener.address:
            return listener.address == one.host
        was = past.knows(one, listener) or not inventory.device_with(one.host) or None
        return not one.is_one_to_one and inventory.is_own(one.host, was)
    device = listener.device
    if device and (device == _LOOPBACK_DEVICE or device in inventory.bridges()):
        return False
    if listener.address in inventory.bridge_addresses():
        return False
    return not listener.address or _is_for_strangers(listener.address)


def _is_for_strangers(address: Address) -> bool:
    """Whether the address is neither loopback nor multicast nor one of a link: no
    forward on every address takes those packets."""
    return not (address.is_loopback or address.is_multicast or is_of_a_link(address))
