"""Names of the host's services on published ports, and which side was first.

A search through /proc finds the names, which is too slow for the hook path.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from ..host.listeners import Listener
from ..host.socket_owners import name_socket_owners
from ..libvirt.inventory import Inventory
from ..reconcile.desired_state import DesiredState
from ..reconcile.port_conflicts import (
    PortConflicts,
    find_port_conflicts,
    find_port_owners,
    is_fleeting,
)
from ..store.records import Key
from ..values.published import Published
from .foreign_reasons import few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..reconcile.desired_state import PortOwner

_SERVICE_CURE = (
    "publish another port of the host, 2222:22 say; or over_listener: true, which "
    "takes it from the service"
)
CURE = "over_listener: true takes the port from it"
_CURES = "over_listener: true takes the ports from them"
_A_MOMENT = 1.0


def describe_services(
    desired: list[DesiredState],
    inventory: Inventory,
    cures: Mapping[str, str] = MappingProxyType({}),
) -> dict[Key, dict[Published, str]]:
    """Put process names into conflicts with listeners. Returns notes for every guest's
    active forwards: which service keeps some ports, and which came later. `cures` are
    by reason, for reasons that over_listener does not cure."""
    met = {one.record.key: _others(one, inventory) for one in desired}
    gone = find_passing([pair for some in met.values() for pair in some], inventory)
    others: dict[Key, dict[Published, dict[int, Listener]]] = {}
    for key, some in met.items():
        there = [pair for pair in some if pair[1].inode not in gone]
        others[key] = find_port_owners(there, inventory)
    everybody: list[PortOwner] = []
    for one in desired:
        everybody += one.port_owners.values()
        for ports in others[one.record.key].values():
            everybody += ports.values()
        for keepers in one.holes.values():
            everybody += keepers.values()
    listeners = [one for one in everybody if isinstance(one, Listener)]
    names = name_socket_owners(listeners)
    for one in desired:
        of = {by.reason: _cure(ports, by) for ports, by in one.port_owners.items()}
        for entry, reason in one.conflicts.items():
            if reason in of:
                cure = cures.get(reason, of[reason])
                one.conflicts[entry] = f"{names.get(reason, reason)}; {cure}"
    return {
        one.record.key: _notes(one, others[one.record.key], names, cures)
        for one in desired
    }


def _cure(one: Published, owner: PortOwner) -> str:
    """What takes the ports from their owner, or leaves them to it."""
    is_service = isinstance(owner, Listener) and not one.is_one_to_one
    return _SERVICE_CURE if is_service else CURE


def find_passing(met: PortConflicts, inventory: Inventory) -> set[int]:
    """The inodes of sockets that are gone a moment later, like a resolver's. The
    function waits for this moment only if some socket may be of this kind."""
    some = [listener for one, listener in met if is_fleeting(one, listener)]
    if not some:
        return set()
    time.sleep(_A_MOMENT)
    ports = [(port, port) for port in sorted({listener.port for listener in some})]
    again = {listener.inode for listener in inventory.listeners("udp", ports)}
    return {listener.inode for listener in some} - again


def _others(desired: DesiredState, inventory: Inventory) -> PortConflicts:
    """The other listeners on ports that are forwarded to the guest."""
    published = desired.settings.published(desired.endpoint.addresses)
    rest = [one for one in published if one not in desired.port_owners]
    holes = desired.holes
    return [
        (one, listener)
        for one, listener in find_port_conflicts(rest, [], inventory)
        if listener.port not in holes.get(one, ())
    ]


def _notes(
    desired: DesiredState,
    others: dict[Published, dict[int, Listener]],
    names: dict[str, str],
    cures: Mapping[str, str],
) -> dict[Published, str]:
    """The notes for active forwards, by what they publish."""
    seen = {socket.inode for socket in desired.seen}
    found: dict[Published, list[str]] = {}
    for one, keepers in desired.holes.items():
        which = few([str(port) for port in sorted(keepers)])
        who = name_few(keepers, names)
        cure = CURE if len(keepers) == 1 else _CURES
        for port_owner in keepers.values():
            cure = cures.get(port_owner.reason, cure)
        found.setdefault(one, []).append(f"all but {which}: {who}; {cure}")
    for one, ports in others.items():
        first = {
            port: port_owner
            for port, port_owner in ports.items()
            if port_owner.inode in seen
        }
        later = {
            port: port_owner for port, port_owner in ports.items() if port not in first
        }
        for some, what in (
            (first, "it was first, and gets its port by the service or vfwhooks apply"),
            (later, "the forward was first"),
        ):
            if some:
                found.setdefault(one, []).append(f"{name_few(some, names)}; {what}")
    return {one: "; ".join(said) for one, said in found.items()}


def name_few(port_owners: Mapping[int, PortOwner], names: dict[str, str]) -> str:
    """The listeners by port, with their names if known; only the first few of many."""
    reasons = [port_owner.reason for _, port_owner in sorted(port_owners.items())]
    return few([names.get(reason, reason) for reason in dict.fromkeys(reasons)])
