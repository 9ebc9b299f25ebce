"""Which ports of a forward a DNAT rule of somebody else keeps, since it was first.

As with listeners: what is in force stays, and who was there before it keeps the port.
A rule for every address is in the way of a forward on any; one for an address is so on
that address, and of a forward on every address alone if the world knows the host by it.
Another address is left to it, and the forward has all others.
"""

from __future__ import annotations

from .entries import Exempt
from .inventory import Inventory
from .portindex import index
from .published import Protocol, Published, parse_address
from .rivals import Past, find_published
from .takenports import Taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .entries import Entry
    from .published import Address
    from .takenports import TakenPorts

_MOST_LEFT = 128  # ports of one forward; with more, it goes without them everywhere


def find_takers(
    published: list[Published], held: list[Entry], past: Past, inventory: Inventory
) -> tuple[dict[Published, dict[int, Taken]], list[Entry]]:
    """The rules that keep what is to be published from being so, by their ports, and
    the entries that leave addresses to rules that are for these alone; `held` are
    entries that are in force."""
    rivals: dict[Published, dict[int, Taken]] = {}
    left: list[Entry] = []
    known = find_published(held)
    had, there = index(known), {entry for entry in held if isinstance(entry, Exempt)}
    taken = inventory.taken
    for one in published:
        is_in_force = one in known and not past.concerns(one) and not there
        if taken is None or is_in_force:
            continue
        beside: dict[str, bool] = {}
        met = list(find_meeting(one, taken))
        are_few = sum(rule.host != "*" for rule, _ in met) <= _MOST_LEFT
        for rule, port in met:
            if one.is_whole:
                if one in past.yields or one not in known:
                    rivals.setdefault(one, {})[port] = rule
                continue
            if rule.host not in beside:
                beside[rule.host] = is_for_another(one.host, rule, inventory)
            is_beside = beside[rule.host]
            entry = exempt(one, rule, port) if is_beside else None
            was_first = one.at(port) in past.yields
            if entry and entry in there:
                left.append(entry)
            elif was_first or not had.covers(one, one.protocol, port):
                if entry and are_few:
                    left.append(entry)
                else:
                    rivals.setdefault(one, {}).setdefault(port, rule)
    return rivals, list(dict.fromkeys(left))


def exempt(one: Published, rule: Taken, port: int) -> Exempt:
    """The entry that leaves one port to a rule for one address."""
    return Exempt(one.at(port).on(parse_address(rule.host)))


def find_meeting(
    one: Published, taken: TakenPorts | None
) -> Iterator[tuple[Taken, int]]:
    """What takes ports of what is published, port by port; of a whole address, once."""
    host = "*" if one.host is None else str(one.host)
    if taken is None or host.startswith("127."):
        return  # loopback's is the host's own, and comes in by no interface
    if one.is_whole:
        for rule in taken.find(one.family, Protocol.ALL, 0, 0):
            if rule.host == host:
                yield rule, 0
        return
    for rule in taken.find(one.family, one.protocol, one.first, one.last):
        if rule.host in ("*", host) or host == "*":
            first, last = max(one.first, rule.first), min(one.last, rule.last)
            for port in range(first, last + 1):
                yield rule, port


def is_for_another(host: Address | None, rule: Taken, inventory: Inventory) -> bool:
    """Whether the rule is for one of the addresses alone that a forward on every one
    has, and not for the one by which the world knows the host."""
    is_one = host is None and rule.host != "*"
    return is_one and not inventory.is_default_source(rule.host)
