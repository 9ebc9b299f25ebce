"""Ports of a forward that a foreign DNAT rule keeps, because the rule was first.

As with listeners, an entry in force stays, and an earlier rule keeps its port. A rule
for every address conflicts with any forward. A rule for one address conflicts with a
forward on this address; with a forward on every address it conflicts only if the world
knows the host by this address. Another address is left to the rule, and the forward has
all others.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..libvirt.inventory import Inventory
from ..store.foreign_ports import ForeignPort
from ..values.entries import Entry, Exempt
from ..values.protocols import Protocol
from ..values.published import Address, Published
from .port_conflicts import Past, find_published
from .port_index import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..store.foreign_ports import ForeignPorts

_MOST_EXEMPT = 128  # ports of a forward; with more, it leaves all of them everywhere


def find_foreign_owners(
    published: list[Published], held: list[Entry], past: Past, inventory: Inventory
) -> tuple[dict[Published, dict[int, ForeignPort]], list[Entry]]:
    """The rules that keep ports from being published, by these ports, and the entries
    that leave single addresses to rules for these; `held` are the entries in force."""
    port_owners: dict[Published, dict[int, ForeignPort]] = {}
    exempted: list[Entry] = []
    known = find_published(held)
    had, there = index(known), {entry for entry in held if isinstance(entry, Exempt)}
    taken = inventory.taken
    for one in published:
        is_in_force = one in known and not past.concerns(one) and not there
        if taken is None or is_in_force:
            continue
        beside: dict[Address | None, bool] = {}
        met = list(find_foreign_conflicts(one, taken))
        are_few = sum(rule.host is not None for rule, _ in met) <= _MOST_EXEMPT
        for rule, port in met:
            if one.is_one_to_one:
                if one in past.yields or one not in known:
                    port_owners.setdefault(one, {})[port] = rule
                continue
            if rule.host not in beside:
                beside[rule.host] = is_for_another(one.host, rule, inventory)
            is_beside = beside[rule.host]
            entry = exempt(one, rule, port) if is_beside else None
            was_first = one.at(port) in past.yields
            if entry and entry in there:
                exempted.append(entry)
            elif was_first or not had.covers(one, one.protocol, port):
                if entry and are_few:
                    exempted.append(entry)
                else:
                    port_owners.setdefault(one, {}).setdefault(port, rule)
    return port_owners, list(dict.fromkeys(exempted))


def exempt(one: Published, rule: ForeignPort, port: int) -> Exempt:
    """The entry that leaves one port to a rule for one address."""
    assert rule.host
    return Exempt(one.at(port).on(rule.host))


def find_foreign_conflicts(
    one: Published, taken: ForeignPorts | None
) -> Iterator[tuple[ForeignPort, int]]:
    """The rules that take published ports, port by port; for a whole address port 0."""
    host = one.host
    if taken is None or (host and host.version == 4 and host.is_loopback):
        return  # loopback belongs to the host: its packets come in by no interface
    if one.is_one_to_one:
        for rule in taken.find(one.family, Protocol.ALL, 0, 0):
            if rule.host == host:
                yield rule, 0
        return
    for rule in taken.find(one.family, one.protocol, one.first, one.last):
        if host is None or rule.host in (None, host):
            first, last = max(one.first, rule.first), min(one.last, rule.last)
            for port in range(first, last + 1):
                yield rule, port


def is_for_another(
    host: Address | None, rule: ForeignPort, inventory: Inventory
) -> bool:
    """Whether a forward on every address leaves this rule its address: the rule is for
    a single address, and the world knows the host by another one."""
    if host or rule.host is None:
        return False
    return not inventory.is_default_source(rule.host)


AHEAD = "it is asked before ours: take it out there, or publish another port"
