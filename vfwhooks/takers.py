"""Which ports of a forward a DNAT rule of somebody else keeps, since it was first.

As with listeners: what is in force stays, and who was there before it keeps the port.
A rule for every address is in the way of a forward on any; one for an address is so on
that address, and of a forward on every address alone if the world knows the host by it.
Another address is left to it, and the forward has all others.
"""

from .elements import WHOLE
from .inventory import Inventory
from .rivals import Past, find_published, index
from .takenports import Taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .takenports import TakenPorts

_MOST_LEFT = 128  # ports of one forward; with more, it goes without them everywhere


def find_takers(
    published: list[str], held: list[str], past: Past, inventory: Inventory
) -> tuple[dict[str, dict[int, Taken]], list[str]]:
    """The rules that keep what is to be published from being so, by their ports, and
    the entries that leave addresses to rules that are for these alone; `held` are
    entries that are in force."""
    rivals: dict[str, dict[int, Taken]] = {}
    left: list[str] = []
    known = find_published(held)
    had, there = index(known), {entry for entry in held if entry.startswith("left ")}
    taken = inventory.taken
    for one in published:
        is_in_force = one in known and not past.concerns(one) and not there
        if taken is None or is_in_force:
            continue
        family, host, protocol, _ = one.split(" ", 3)
        beside: dict[str, bool] = {}
        met = list(find_meeting(one, taken))
        are_few = sum(rule.host != "*" for rule, _ in met) <= _MOST_LEFT
        for rule, port in met:
            if protocol == WHOLE:
                if one in past.yields or one not in known:
                    rivals.setdefault(one, {})[port] = rule
                continue
            if rule.host not in beside:
                beside[rule.host] = is_for_another(host, rule, inventory)
            is_beside = beside[rule.host]
            entry = f"left {family} {rule.host} {protocol} {port} {port}"
            was_first = f"{family} {host} {protocol} {port} {port}" in past.yields
            if is_beside and entry in there:
                left.append(entry)
            elif was_first or not had.covers(family, host, protocol, port):
                if is_beside and are_few:
                    left.append(entry)
                else:
                    rivals.setdefault(one, {}).setdefault(port, rule)
    return rivals, list(dict.fromkeys(left))


def find_meeting(one: str, taken: "TakenPorts | None") -> "Iterator[tuple[Taken, int]]":
    """What takes ports of what is published, port by port; of a whole address, once."""
    family, host, protocol, low, high = one.split(" ")
    first, last = int(low), int(high)
    if taken is None or host.startswith("127."):
        return  # loopback's is the host's own, and comes in by no interface
    if protocol == WHOLE:
        for rule in taken.find(family, WHOLE, 0, 0):
            if rule.host == host:
                yield rule, 0
        return
    for rule in taken.find(family, protocol, first, last):
        if rule.host in ("*", host) or host == "*":
            for port in range(max(first, rule.first), min(last, rule.last) + 1):
                yield rule, port


def is_for_another(host: str, rule: Taken, inventory: Inventory) -> bool:
    """Whether the rule is for one of the addresses alone that a forward on every one
    has, and not for the one by which the world knows the host."""
    return host == "*" != rule.host and not inventory.is_default_source(rule.host)
