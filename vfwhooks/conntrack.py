"""Connections that still go where a forward used to lead: found and cut, exactly.

Each is deleted by its own tuple. Never by a port alone: that would cut the
administrator's own session, and the guests' outgoing connections to that port number.
"""

from _socket import AF_INET, AF_INET6, inet_ntop

from .cuts import parse_cut
from .elements import PROTOCOLS, WHOLE
from .errors import OutOfTime, VfwError
from .flows import Flows, Tuple
from .inventory import Inventory
from .netlink import Netlink
from .plan import network_entries
from .published import Published, PublishedPorts, packed
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .listeners import Range

_TCP, _UDP = PROTOCOLS["tcp"], PROTOCOLS["udp"]
_FAMILIES = {4: "4", 16: "6"}  # by the length of an address


def find_publishing(ports: PublishedPorts, original: Tuple) -> list[Published]:
    """What publishes the connection's destination, the first of it in force."""
    host = original.destination
    family = _FAMILIES.get(len(host), "")
    return ports.find(family, host, original.protocol, original.port)


def has_led(one: Published, original: Tuple, reply: Tuple) -> bool:
    """Whether the connection, which is one to the published port, was forwarded by
    this entry."""
    target = one.target + original.port - one.first
    return (
        original.destination != reply.source == one.address
        and reply.source_port == target
    )


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
    gone = {guest: PublishedPorts(some) for guest, some in by_guest.items()}
    others = PublishedPorts(map(Published, stay))

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        led = find_publishing(gone[reply.source], original)
        if not any(has_led(one, original, reply) for one in led):
            return False
        now = find_publishing(others, original)
        return not (now and has_led(now[0], original, reply))

    return flows.cut_forwarded(gone, is_stale)


def _cut_taken_over(flows: Flows, inventory: Inventory, added: list[str]) -> int:
    """What ends at the host itself, though the added entries publish it now."""
    entries = [entry for entry in added if entry.startswith(("dnat ", "reject "))]
    udp = [entry for entry in entries if " udp " in entry]
    wholes = [entry for entry in entries if f" {WHOLE} " in entry]
    ports = PublishedPorts(map(Published, udp + wholes))
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
            and bool(find_publishing(ports, original))
            and is_here(original.destination)
        )

    count = flows.cut_sent({packed(one.split(" ")[2]) for one in wholes}, is_stale)
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
    return {(packed(address), int(port)) for _, _, address, _, port, _ in words}


def _cut_leaving(flows: Flows, changed: list[str], is_new: bool) -> int:
    """What guests have open towards outside: by the addresses that they are not to
    leave from any more, or, but for TCP, by any that is not their `is_new` one."""
    publics: dict[bytes, set[bytes]] = {}
    for entry in changed:
        if entry.startswith("snat "):
            _, _, guest, public = entry.split(" ")
            publics.setdefault(packed(guest), set()).add(packed(public))

    def is_stale(original: Tuple, reply: Tuple) -> bool:
        is_by_it = reply.destination in publics[original.source]
        return (
            original.source != reply.destination
            and original.destination == reply.source
            and is_by_it != is_new
            and not (is_new and original.protocol == _TCP)
        )

    return flows.cut_leaving(publics, is_stale)


def _text(host: bytes) -> str:
    return inet_ntop(AF_INET6 if len(host) == 16 else AF_INET, host)
