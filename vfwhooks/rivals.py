"""Which listeners of the host stand in the way of a forward.

A forward yields to a listener that was there first, as a second bind() would, and stays
where the listener came later: what is in force does not depend on who listens now. One
that serves libvirt's guests alone keeps its address on their bridge, and the forward
has all others.

A socket on a high udp port within a range may be any resolver's, which awaits one
answer. Its age nobody tells, so it is noted as seen, and keeps its port when it is
still there seconds later; unless it is the kernel's own, which stays.
"""

import time

from .elements import WHOLE
from .inventory import Inventory
from .listeners import Listener, Range
from .plan import LEFT, key_of
from .published import Published, PublishedPorts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .records import Record

# What is to be published, by the middle of its entries ("4 * tcp 22 22"), each time
# with a listener on a port of it.
Meetings = list[tuple[str, Listener]]
_LOOPBACK_DEVICE = 1
_PRIVILEGED = 1024
LASTING = 4_000_000_000  # ns, and a look by the service is 5 s after the record


class Past:
    """What records say of listeners: the ports that they had, as they would be
    published, and the sockets that were seen, with when they were first."""

    __slots__ = ("seen", "yields")

    def __init__(self, records: "Iterable[Record]" = ()) -> None:
        self.yields: set[str] = set()
        self.seen: dict[str, int] = {}
        for record in records:
            self.yields.update(record.yields)
            for what, stamp in record.seen.items():
                self.seen[what] = min(stamp, self.seen.get(what, stamp))

    def concerns(self, one: str) -> bool:
        """Whether it says something of a port of what is to be published."""
        if not self.yields and not self.seen:
            return False
        head, first, last = one.rsplit(" ", 2)
        if first == last:
            return one in self.yields
        return any(
            what.startswith(f"{head} ")
            and int(first) <= int(what.split(" ", 4)[3]) <= int(last)
            for what in (*self.yields, *self.seen)
        )

    def knows(self, one: str, listener: Listener) -> bool:
        """Whether the listener was there before what is in force now."""
        port = port_of(one, listener)
        return port in self.yields or f"{port} {listener.inode}" in self.seen


def port_of(one: str, listener: Listener) -> str:
    """The port of what is to be published that the listener has."""
    family, host, protocol, *_ = one.split(" ")
    if protocol == WHOLE:
        return one
    return f"{family} {host} {protocol} {listener.port} {listener.port}"


def is_fleeting(one: str, listener: Listener) -> bool:
    """Whether the socket may be gone in a moment: a high udp port within a range."""
    first, last = one.rsplit(" ", 2)[1:]
    is_high = listener.protocol == "udp" and listener.port >= _PRIVILEGED
    return is_high and first != last and not listener.is_kernels


def find_meetings(
    published: list[str],
    held: list[str],
    inventory: Inventory,
    past: "Past | None" = None,
) -> Meetings:
    """What is to be published with each listener on a port of it.

    The ports of `held`, entries that are in force, are published already: who listens
    there came later and is left out, unless the past knows him.
    """
    known = find_published(held)
    past = past or Past()
    wanted = _wanted([o for o in published if o not in known or past.concerns(o)])
    had = index(known if wanted else ())
    found = []
    for protocol, some in wanted.items():
        listeners = inventory.listeners(protocol, sorted({asked[3] for asked in some}))
        by_port: dict[int, list[Listener]] = {}
        for listener in listeners:
            by_port.setdefault(listener.port, []).append(listener)
        for one, family, host, (first, last) in some if listeners else ():
            for listener in listeners if first < last else by_port.get(first, ()):
                if (
                    first <= listener.port <= last
                    and family in listener.families
                    and (
                        past.knows(one, listener)
                        or not had.covers(family, host, protocol, listener.port)
                    )
                ):
                    found.append((one, listener))
    return found


def find_published(held: list[str]) -> set[str]:
    """What these entries publish or reject."""
    heads = "dnat ", "reject "
    return {key_of(one).partition(" ")[2] for one in held if one.startswith(heads)}


def index(published: "Collection[str]") -> PublishedPorts:
    """What is published (see Meetings), found by port."""
    return PublishedPorts(Published(f"dnat {one}") for one in published)


def find_lasting(
    met: Meetings, past: Past, inventory: Inventory, before: int
) -> tuple[Meetings, dict[str, int]]:
    """The meetings with listeners that are there to stay, being seen `before`
    (monotonic ns) or by their kind, and the sockets of which that is not known yet,
    with when they were first seen."""
    now = time.monotonic_ns()
    lasting: Meetings = []
    seen: dict[str, int] = {}
    for one, listener in met:
        if is_fleeting(one, listener) and port_of(one, listener) not in past.yields:
            what = f"{port_of(one, listener)} {listener.inode}"
            stamp = past.seen.get(what, now)
            if stamp <= before:
                lasting.append((one, listener))
            elif _is_concerned(one, listener, inventory):
                seen[what] = stamp
        else:
            lasting.append((one, listener))
    return lasting, seen


def _is_concerned(one: str, listener: Listener, inventory: Inventory) -> bool:
    """Whether the listener would keep the port, on all addresses or on its bridge."""
    family, host, _ = one.split(" ", 2)
    if host == "*" and _on_bridges(family, listener, inventory):
        return True
    return _is_rival(host, listener, inventory, False)


def _wanted(published: list[str]) -> dict[str, list[tuple[str, str, str, Range]]]:
    """What is to be published by protocol, each with its family, its host and the ports
    to look at."""
    found: dict[str, list[tuple[str, str, str, Range]]] = {}
    for one in published:
        family, host, protocol, *ports = one.split(" ")
        for each in ("tcp", "udp") if protocol == WHOLE else (protocol,):
            first, last = int(ports[0]), int(ports[1])
            if protocol == WHOLE and each == "udp":
                last = _PRIVILEGED - 1  # no port is taken out of it
            found.setdefault(each, []).append((one, family, host, (first, last)))
    return found


def find_rivals(met: Meetings, inventory: Inventory) -> dict[str, dict[int, Listener]]:
    """The listeners that keep what is to be published from being so, by their ports."""
    found: dict[str, dict[int, Listener]] = {}
    for one, listener in met:
        _, host, protocol, _ = one.split(" ", 3)
        if _is_rival(host, listener, inventory, protocol == WHOLE):
            found.setdefault(one, {}).setdefault(listener.port, listener)
    return found


def is_all(one: str, ports: "Collection[int]") -> bool:
    """Whether nothing is left to be published without these ports; a whole address is
    forwarded whole or not at all."""
    _, _, protocol, first, last = one.split(" ")
    return protocol == WHOLE or len(ports) > int(last) - int(first)


def find_left(
    published: list[str], held: list[str], met: Meetings, inventory: Inventory
) -> list[str]:
    """The entries that leave services on libvirt's bridges what they listen on, where a
    port is about to be published on every address; and those that are in force already.
    """
    left = [entry for entry in held if entry.startswith("left ")]
    every = [one.split(" ") for one in published if " * " in one] if left else []
    found = []
    own = inventory.bridge_addresses() if left else set()
    for entry in left:
        _, family, host, protocol, port, _ = entry.split(" ")
        if host in own and any(
            (family, protocol) == (one[0], one[2])
            and int(one[3]) <= int(port) <= int(one[4])
            for one in every
        ):
            found.append(entry)
    for one, listener in met:
        family, host, protocol, _ = one.split(" ", 3)
        if host == "*" and listener.port not in LEFT:
            for address in _on_bridges(family, listener, inventory):
                ports = f"{listener.port} {listener.port}"
                found.append(f"left {family} {address} {protocol} {ports}")
    return list(dict.fromkeys(found))


def _on_bridges(family: str, listener: Listener, inventory: Inventory) -> list[str]:
    """The addresses on libvirt's bridges that the listener is bound to."""
    if listener.address:
        own = inventory.bridge_addresses()
        return [listener.address] if listener.address in own else []
    there = inventory.bridges().get(listener.device, []) if listener.device else []
    return [address for address in there if (":" in address) == (family == "6")]


def _is_rival(
    host: str, listener: Listener, inventory: Inventory, is_whole: bool
) -> bool:
    """Whether a forward on the address would take the listener's clients from it.

    On every address: unless it serves the host itself or libvirt's guests only. On one:
    if it listens just there, or everywhere and this is how the world knows the host; a
    whole address that is so is not given away in the first place.
    """
    if host != "*":
        if listener.address:
            return listener.address == host
        return not is_whole and inventory.is_default_source(host)
    device = listener.device
    if device and (device == _LOOPBACK_DEVICE or device in inventory.bridges()):
        return False
    if listener.address in inventory.bridge_addresses():
        return False
    return _is_for_strangers(listener.address)


def _is_for_strangers(address: str) -> bool:
    """Neither loopback nor multicast, whose packets no forward takes."""
    if ":" in address:
        return address != "::1" and not address.startswith("ff")
    first = address.partition(".")[0]
    return first != "127" and first not in _MULTICAST


_MULTICAST = [str(first) for first in range(224, 240)]
