"""Connections that still go where a forward used to lead: found and cut, exactly.

Each is deleted by its own tuple. Never by a port alone: that would cut the
administrator's own session, and the guests' outgoing connections to that port number.
"""

from .elements import PROTOCOLS, WHOLE
from .flows import Flow, Flows, Tuple
from .inventory import Inventory
from .plan import network_entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_TCP = PROTOCOLS["tcp"]


class Published:
    """What one dnat or reject entry is about, to compare connections with."""

    __slots__ = ("address", "first", "host", "last", "protocol", "target")

    def __init__(self, entry: str) -> None:
        words = entry.split(" ")
        self.host = words[2]
        self.protocol = PROTOCOLS.get(words[3], 0)  # 0 for all of them
        self.first, self.last = int(words[4]), int(words[5])
        self.address, target = [*words[6:], "", "0"][:2]
        self.target = int(target)

    def has(self, original: Tuple) -> bool:
        """Whether a connection to this destination is one to the published port."""
        return (
            self.protocol in (0, original.protocol)
            and self.first <= original.port <= self.last
            and self.host in ("*", original.destination)
        )

    def leads(self, flow: Flow) -> bool:
        """Whether the connection, which is one to the published port, was forwarded by
        this entry."""
        target = self.target + flow.original.port - self.first
        return (
            flow.original.destination != flow.reply.source == self.address
            and flow.reply.source_port == target
        )


class Ports:
    """What entries publish, found by port: a host may have thousands of either."""

    def __init__(self, entries: "Iterable[str]") -> None:
        self._ports: dict[int, list[Published]] = {}
        self._ranges: list[Published] = []
        for one in map(Published, entries):
            is_one = one.first == one.last
            some = self._ports.setdefault(one.first, []) if is_one else self._ranges
            some.append(one)

    def of(self, original: Tuple) -> list[Published]:
        """What publishes the destination."""
        some = *self._ports.get(original.port, ()), *self._ranges
        return [one for one in some if one.has(original)]


def cut(
    flows: Flows,
    inventory: Inventory,
    removed: list[str],
    added: list[str],
    stay: "Iterable[str]" = (),
) -> int:
    """Cut what the removed entries still lead somewhere, unless one of those that
    `stay` leads it there as well; and the flows of UDP (for a whole address, of all but
    TCP) that end at the host itself or leave from another address, though an added
    entry now says otherwise; how many."""
    found = [
        *_led(flows, removed, stay),
        *_taken_over(flows, inventory, added),
        *_leaving(flows, removed, False),
        *_leaving(flows, added, True),
    ]
    return flows.delete(found)


def _led(flows: Flows, removed: list[str], stay: "Iterable[str]") -> list[Flow]:
    """What the removed entries still lead somewhere."""
    dnats = [entry for entry in removed if entry.startswith("dnat ")]
    gone, others = Ports(dnats), Ports(stay)
    return [
        flow
        for flow in flows.forwarded_to({entry.split(" ")[6] for entry in dnats})
        if any(one.leads(flow) for one in gone.of(flow.original))
        and not _leads_now(others.of(flow.original), flow)
    ]


def _leads_now(published: list[Published], flow: Flow) -> bool:
    """Whether what is published leads the connection where it goes: first what is on
    one address, then the whole of it, then what is on every address."""
    published.sort(key=lambda one: (one.host == "*", not one.protocol))
    return bool(published) and published[0].leads(flow)


def _taken_over(flows: Flows, inventory: Inventory, added: list[str]) -> list[Flow]:
    """What ends at the host itself, though the added entries publish it now."""
    entries = [entry for entry in added if entry.startswith(("dnat ", "reject "))]
    udp = [entry for entry in entries if " udp " in entry]
    wholes = [entry for entry in entries if f" {WHOLE} " in entry]
    found = flows.sent_to({entry.split(" ")[2] for entry in wholes})
    for family in sorted({entry.split(" ")[1] for entry in udp}):
        found += flows.over_udp(family)
    ports = Ports(wholes + udp)
    found = [
        flow
        for flow in found
        if flow.original.protocol != _TCP
        and flow.ends_where_it_was_sent
        and ports.of(flow.original)
    ]
    left = _left(inventory, added) if found else set()
    hosts = {flow.original.destination for flow in found}
    ours = {host for host in hosts if inventory.is_local(host)}
    return [
        flow
        for flow in found
        if flow.original.destination in ours and _left_by(flow.original) not in left
    ]


def _left(inventory: Inventory, added: list[str]) -> set[str]:
    """The entries that leave a port to the host: those added, and the DNS and DHCP of
    all networks."""
    left = {entry for entry in added if entry.startswith("left ")}
    for name in inventory.names():
        network = inventory.network(name)
        left.update(network_entries(network.subnets) if network else ())
    return left


def _left_by(original: Tuple) -> str:
    """The entry that would leave the flow's destination to the host."""
    family = "6" if ":" in original.destination else "4"
    port = f"{original.port} {original.port}"
    return f"left {family} {original.destination} udp {port}"


def _leaving(flows: Flows, changed: list[str], is_new: bool) -> list[Flow]:
    """What guests have open towards outside: by the addresses that they are not to
    leave from any more, or, but for TCP, by any that is not their `is_new` one."""
    ways = [entry.split(" ") for entry in changed if entry.startswith("snat ")]
    publics = {guest: public for _, _, guest, public in ways}
    found = []
    for flow in flows.sent_by(publics):
        original, reply = flow.original, flow.reply
        is_out = original.source != reply.destination
        is_by_it = reply.destination == publics[original.source]
        is_stale = is_by_it != is_new and not (is_new and original.protocol == _TCP)
        if is_out and is_stale and original.destination == reply.source:
            found.append(flow)
    return found
