"""Connections that still go where a forward used to lead: found and cut, exactly.

Each is deleted by its own tuple. Never by a port alone: that would cut the
administrator's own session, and the guests' outgoing connections to that port number.
"""

from __future__ import annotations

from ipaddress import ip_address

from .cuts import parse_cut
from .elements import PROTOCOLS
from .entries import Dnat, Exempt, Reject, Snat
from .errors import OutOfTime, VfwError
from .flows import Flows, Tuple
from .inventory import Inventory
from .netlink import Netlink
from .plan import network_entries
from .published import Protocol, Published
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .entries import Entry
    from .published import Family

_TCP, _UDP = PROTOCOLS["tcp"], PROTOCOLS["udp"]
_SIZES = {"4": 4, "6": 16}


class Destination:
    """What is published, and where an entry leads it to, to compare connections with:
    addresses as the kernel has them."""

    __slots__ = ("address", "first", "host", "last", "protocol", "size", "target")

    def __init__(self, published: Published, dnat: Dnat | None = None) -> None:
        self.size = _SIZES[published.family]
        self.host = published.host.packed if published.host else b""
        self.protocol = PROTOCOLS.get(published.protocol, 0)  # 0 for all of them
        self.first, self.last = published.first, published.last
        self.address = dnat.address.packed if dnat else b""
        self.target = dnat.port if dnat else 0

    def has(self, original: Tuple) -> bool:
        """Whether a connection to this destination is one to the published port."""
        return (
            self.protocol in (0, original.protocol)
            and self.first <= original.port <= self.last
            and self.host in (b"", original.destination)
            and self.size == len(original.destination)
        )

    def leads(self, original: Tuple, reply: Tuple) -> bool:
        """Whether the connection, which is one to the published port, was forwarded by
        this entry."""
        target = self.target + original.port - self.first
        return (
            original.destination != reply.source == self.address
            and reply.source_port == target
        )


class Ports:
    """What entries publish, found by port: a host may have thousands of either."""

    def __init__(self, published: Iterable[Destination]) -> None:
        self._ports: dict[int, list[Destination]] = {}
        self._hosts: dict[bytes, list[Destination]] = {}
        self._ranges: list[Destination] = []
        for one in published:
            if one.first == one.last:
                self._ports.setdefault(one.first, []).append(one)
            elif one.host:
                self._hosts.setdefault(one.host, []).append(one)
            else:
                self._ranges.append(one)

    def of(self, original: Tuple) -> list[Destination]:
        """What publishes the destination: first what is on one address, then the whole
        of it, then what is on every address."""
        some = self._ports.get(original.port, ())
        whole = self._hosts.get(original.destination, ())
        found = [one for one in (*some, *whole, *self._ranges) if one.has(original)]
        found.sort(key=lambda one: (not one.host, not one.protocol))
        return found


def cut_file(state: State, inventory: Inventory, file: str, until: float) -> list[str]:
    """Cut what a file of the state directory says, `until` then; what went wrong."""
    text = state.read(file)
    if not text:
        return []
    try:
        link = Netlink()
        try:
            cut(Flows(link, until), inventory, *parse_cut(text))
        finally:
            link.close()
    except OutOfTime as error:
        problem = f"{error}: some still lead where nothing is forwarded any more"
        return [f"conntrack: {problem}"]
    except (OSError, VfwError) as error:
        return [f"conntrack: {error}"]
    except (ValueError, LookupError):
        state.set_aside(file)
    return []


def cut(
    flows: Flows,
    inventory: Inventory,
    removed: list[Entry],
    added: list[Entry],
    stay: Iterable[Entry] = (),
) -> int:
    """Cut what the removed entries still lead somewhere, unless one of those that
    `stay` leads it there as well; and the flows of UDP (for a whole address, of all but
    TCP) that end at the host itself or leave from another address, though an added
    entry now says otherwise; how many."""
    return (
        _cut_led(flows, removed, stay)
        + _cut_taken_over(flows, inventory, added)
        + _cut_leaving(flows, removed, False)
        + _cut_leaving(flows, added, True)
    )


def led(entries: Iterable[Entry]) -> list[Destination]:
    """What these entries lead somewhere."""
    dnats = (entry for entry in entries if isinstance(entry, Dnat))
    return [Destination(dnat.published, dnat) for dnat in dnats]


def _cut_led(flows: Flows, removed: list[Entry], stay: Iterable[Entry]) -> int:
    """What the removed entries still lead somewhere."""
    by_guest: dict[bytes, list[Destination]] = {}
    for one in led(removed):
        by_guest.setdefault(one.address, []).append(one)
    gone = {guest: Ports(some) for guest, some in by_guest.items()}
    others = Ports(led(stay))

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        some = gone[reply.source].of(original)
        if not any(one.leads(original, reply) for one in some):
            return False
        now = others.of(original)
        return not (now and now[0].leads(original, reply))

    return flows.cut_forwarded(gone, is_stale)


def _cut_taken_over(flows: Flows, inventory: Inventory, added: list[Entry]) -> int:
    """What ends at the host itself, though the added entries publish it now."""
    published = [one.published for one in added if isinstance(one, (Dnat, Reject))]
    udp = [one for one in published if one.protocol is Protocol.UDP]
    wholes = [one for one in published if one.is_whole]
    ports = Ports(map(Destination, udp + wholes))
    left = _left(inventory, added) if udp or wholes else set()
    is_local: dict[bytes, bool] = {}

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        host = original.destination
        if (
            original.protocol == _TCP
            or (host, original.port) != (reply.source, reply.source_port)
            or (original.protocol == _UDP and (host, original.port) in left)
            or not ports.of(original)
        ):
            return False
        if host not in is_local:
            is_local[host] = inventory.is_local(str(ip_address(host)))
        return is_local[host]

    hosts = {one.host.packed for one in wholes if one.host}
    families: set[Family] = {one.family for one in udp}
    count = flows.cut_sent(hosts, is_stale)
    for family in sorted(families):
        count += flows.cut_udp(family, is_stale)
    return count


def _left(inventory: Inventory, added: list[Entry]) -> set[tuple[bytes, int]]:
    """The addresses and UDP ports that are left to the host: those added, and the DNS
    and DHCP of all networks."""
    entries = list(added)
    for name in inventory.names():
        network = inventory.network(name)
        if network and network.is_inside(inventory.is_default_source):
            entries += network_entries(network.subnets)
    left = [entry.published for entry in entries if isinstance(entry, Exempt)]
    return {
        (one.host.packed, one.first)
        for one in left
        if one.host and one.protocol is Protocol.UDP
    }


def _cut_leaving(flows: Flows, changed: list[Entry], is_new: bool) -> int:
    """What guests have open towards outside: by the addresses that they are not to
    leave from any more, or, but for TCP, by any that is not their `is_new` one."""
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
