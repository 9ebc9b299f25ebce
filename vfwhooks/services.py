"""What is said of the host's services on published ports: by name, and who was first.

Too dear for the hook path: names take a walk through /proc.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from .holders import name_listeners
from .inventory import Inventory
from .listeners import Listener
from .planned import Planned
from .records import Key
from .rivals import find_meetings, find_rivals, is_fleeting
from .takenwords import few

if TYPE_CHECKING:
    from .planned import Rival
    from .published import Published
    from .rivals import Meetings

CURE = "over_listener: true takes the port from it"
_CURES = "over_listener: true takes the ports from them"
_A_MOMENT = 1.0


def describe_services(
    planned: list[Planned],
    inventory: Inventory,
    cures: Mapping[str, str] = MappingProxyType({}),
) -> dict[Key, dict[Published, str]]:
    """Give conflicts with listeners their process's name, and tell of every guest's
    active forwards who keeps a port of them, and who came later; `cures` are by reason,
    where over_listener is none."""
    met = {one.record.key: _others(one, inventory) for one in planned}
    gone = find_passing([pair for some in met.values() for pair in some], inventory)
    others: dict[Key, dict[Published, dict[int, Listener]]] = {}
    for key, some in met.items():
        there = [pair for pair in some if pair[1].inode not in gone]
        others[key] = find_rivals(there, inventory)
    everybody: list[Rival] = []
    for one in planned:
        everybody += one.rivals.values()
        for ports in others[one.record.key].values():
            everybody += ports.values()
        for keepers in one.holes.values():
            everybody += keepers.values()
    listeners = [one for one in everybody if isinstance(one, Listener)]
    names = name_listeners(listeners)
    for one in planned:
        reasons = {rival.reason for rival in one.rivals.values()}
        for entry, reason in one.conflicts.items():
            if reason in reasons:
                cure = cures.get(reason, CURE)
                one.conflicts[entry] = f"{names.get(reason, reason)}; {cure}"
    return {
        one.record.key: _notes(one, others[one.record.key], names, cures)
        for one in planned
    }


def find_passing(met: Meetings, inventory: Inventory) -> set[int]:
    """The inodes of sockets that are gone a moment later, as a resolver's are; waits
    for that moment where there is any that may be."""
    some = [listener for one, listener in met if is_fleeting(one, listener)]
    if not some:
        return set()
    time.sleep(_A_MOMENT)
    ports = [(port, port) for port in sorted({listener.port for listener in some})]
    again = {listener.inode for listener in inventory.listeners("udp", ports)}
    return {listener.inode for listener in some} - again


def _others(planned: Planned, inventory: Inventory) -> Meetings:
    """Who else listens on what is forwarded to the guest."""
    published = planned.settings.published(planned.where.addresses)
    rest = [one for one in published if one not in planned.rivals]
    holes = planned.holes
    return [
        (one, listener)
        for one, listener in find_meetings(rest, [], inventory)
        if listener.port not in holes.get(one, ())
    ]


def _notes(
    planned: Planned,
    others: dict[Published, dict[int, Listener]],
    names: dict[str, str],
    cures: Mapping[str, str],
) -> dict[Published, str]:
    """What is to be said of active forwards, by what they publish."""
    seen = {socket.inode for socket in planned.seen}
    found: dict[Published, list[str]] = {}
    for one, keepers in planned.holes.items():
        which = few([str(port) for port in sorted(keepers)])
        who = name_few(keepers, names)
        cure = CURE if len(keepers) == 1 else _CURES
        for rival in keepers.values():
            cure = cures.get(rival.reason, cure)
        found.setdefault(one, []).append(f"all but {which}: {who}; {cure}")
    for one, ports in others.items():
        first = {port: rival for port, rival in ports.items() if rival.inode in seen}
        later = {port: rival for port, rival in ports.items() if port not in first}
        for some, what in (
            (first, "it was first, and gets its port by the service or vfwhooks apply"),
            (later, "the forward was first"),
        ):
            if some:
                found.setdefault(one, []).append(f"{name_few(some, names)}; {what}")
    return {one: "; ".join(said) for one, said in found.items()}


def name_few(rivals: Mapping[int, Rival], names: dict[str, str]) -> str:
    """Who listens, by port, as far as it is known; the first few of very many."""
    reasons = [rival.reason for _, rival in sorted(rivals.items())]
    return few([names.get(reason, reason) for reason in dict.fromkeys(reasons)])
