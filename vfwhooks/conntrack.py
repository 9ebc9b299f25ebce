"""Connections that still go where a forward used to lead: found and cut, exactly.

Each is deleted by its own tuple. Never by a port alone: that would cut the
administrator's own session, and the guests' outgoing connections to that port number.
"""

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from .cuts import parse_cut
from .elements import PROTOCOLS, WHOLE
from .errors import OutOfTime, VfwError
from .flows import Flows, Tuple
from .inventory import Inventory
from .netlink import Netlink
from .plan import network_entries
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .listeners import Range

_TCP, _UDP = PROTOCOLS["tcp"], PROTOCOLS["udp"]
_SIZES = {"4": 4, "6": 16}


class Published:
    """What one dnat or reject entry is about, to compare connections with."""

    __slots__ = ("address", "first", "host", "last", "protocol", "size", "target")

    def __init__(self, entry: str) -> None:
        _, family, host, protocol, *words = entry.split(" ")
        self.size = _SIZES[family]
        self.host = b"" if host == "*" else _packed(host)
        self.protocol = PROTOCOLS.get(protocol, 0)  # 0 for all of them
        self.first, self.last = int(words[0]), int(words[1])
        self.address = _packed(words[2]) if words[2:] else b""
        self.target = int(words[3]) if words[2:] else 0

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

    def __init__(self, published: "Iterable[Published]") -> None:
        self._ports: dict[int, list[Published]] = {}
        self._hosts: dict[bytes, list[Published]] = {}
        self._ranges: list[Published] = []
        for one in published:
            if one.first == one.last:
                self._ports.setdefault(one.first, []).append(one)
            elif one.host:
                self._hosts.setdefault(one.host, []).append(one)
            else:
                self._ranges.append(one)

    def of(self, original: Tuple) -> list[Published]:
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
    removed: list[str],
    added: list[str],
    stay: "Iterable[str]" = (),
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


def _cut_led(flows: Flows, removed: list[str], stay: "Iterable[str]") -> int:
    """What the removed entries still lead somewhere."""
    by_guest: dict[bytes, list[Published]] = {}
    for entry in removed:
        if entry.startswith("dnat "):
            one = Published(entry)
            by_guest.setdefault(one.address, []).append(one)
    gone = {guest: Ports(some) for guest, some in by_guest.items()}
    others = Ports(map(Published, stay))

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        led = gone[reply.source].of(original)
        if not any(one.leads(original, reply) for one in led):
            return False
        now = others.of(original)
        return not (now and now[0].leads(original, reply))

    return flows.cut_forwarded(gone, is_stale)


def _cut_taken_over(flows: Flows, inventory: Inventory, added: list[str]) -> int:
    """What ends at the host itself, though the added entries publish it now."""
    entries = [entry for entry in added if entry.startswith(("dnat ", "reject "))]
    udp = [entry for entry in entries if " udp " in entry]
    wholes = [entry for entry in entries if f" {WHOLE} " in entry]
    ports = Ports(map(Published, udp + wholes))
    left = _left(inventory, added) if udp or wholes else set()
    is_local: dict[bytes, bool] = {}

    def is_here(host: bytes) -> bool:
        if host not in is_local:
            is_local[host] = inventory.is_local(_text(host))
        return is_local[host]

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        at = original.destination, original.port
        return (
            original.protocol != _TCP
            and at == (reply.source, reply.source_port)
            and not (original.protocol == _UDP and at in left)
            and bool(ports.of(original))
            and is_here(original.destination)
        )

    count = flows.cut_sent({_packed(one.split(" ")[2]) for one in wholes}, is_stale)
    by_family: dict[str, set[Range]] = {}
    for words in (entry.split(" ") for entry in udp):
        by_family.setdefault(words[1], set()).add((int(words[4]), int(words[5])))
    for family, some in sorted(by_family.items()):
        count += flows.cut_udp(family, some, is_here, is_stale)
    return count


def _left(inventory: Inventory, added: list[str]) -> set[tuple[bytes, int]]:
    """The addresses and UDP ports that are left to the host: those added, and the DNS
    and DHCP of all networks."""
    entries = [entry for entry in added if entry.startswith("left ")]
    for name in inventory.names():
        network = inventory.network(name)
        if network and network.is_inside(inventory.is_default_source):
            entries += network_entries(network.subnets)
    words = [entry.split(" ") for entry in entries if " udp " in entry]
    return {(_packed(address), int(port)) for _, _, address, _, port, _ in words}


def _cut_leaving(flows: Flows, changed: list[str], is_new: bool) -> int:
    """What guests have open towards outside: by the addresses that they are not to
    leave from any more, or, but for TCP, by any that is not their `is_new` one."""
    publics: dict[bytes, set[bytes]] = {}
    for entry in changed:
        if entry.startswith("snat "):
            _, _, guest, public = entry.split(" ")
            publics.setdefault(_packed(guest), set()).add(_packed(public))

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        is_by_it = reply.destination in publics[original.source]
        return (
            original.source != reply.destination
            and original.destination == reply.source
            and is_by_it != is_new
            and not (is_new and original.protocol == _TCP)
        )

    return flows.cut_leaving(publics, is_stale)


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def _text(packed: bytes) -> str:
    return inet_ntop(AF_INET6 if len(packed) == _SIZES["6"] else AF_INET, packed)
