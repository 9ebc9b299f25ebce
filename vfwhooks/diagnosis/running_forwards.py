"""The forwards of running guests for `status`, each with what hinders it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..libvirt.inventory import Inventory
from ..reconcile.desired_state import DesiredState
from ..store.records import Key
from ..values.published import Published
from .allowed_sources import Sources, with_sources
from .blocked_ways import BlockedWays
from .blockers import Blocker
from .foreign_reasons import ForeignOwners
from .hindered_rows import by_other_ways, hindered, standing
from .paused_guests import find_paused
from .return_path_check import ReturnPath
from .status import HostState, forward_statuses
from .status_rows import ForwardStatus


@dataclass(frozen=True)
class RunningForwards:
    """What decides, beside the desired state, whether forwards of running guests
    serve."""

    inventory: Inventory
    host: HostState
    sources: Sources
    blockers: list[Blocker]
    owners: ForeignOwners
    notes: dict[Key, dict[Published, str]]
    ways: BlockedWays
    paths: ReturnPath

    def rows(self, one: DesiredState) -> Iterator[ForwardStatus]:
        """The forwards of a guest, each with what hinders it."""
        said = self.owners.say(one)
        both = _beside(self.notes[one.record.key], said.notes)
        rows = forward_statuses(one, replace(self.host, notes=both, lost=said.lost))
        its = ((one.record.guest.name, forward) for forward in one.settings.forwards)
        rows = with_sources(rows, its, self.sources)
        bridges = {network.bridge for network in one.endpoint.networks}
        rows = [hindered(row, bridges, self.blockers, self.ways) for row in rows]
        indexes = [self.inventory.index(bridge) for bridge in sorted(bridges)]
        returned = {
            (forward.host_ip, str(forward.protocol), forward.first)
            for forward in one.settings.forwards
            if forward.options.return_path
        }
        rows = [by_other_ways(row, indexes, self.paths, returned) for row in rows]
        return standing(rows, find_paused(one.record.guest))


def _beside(
    notes: dict[Published, str], more: dict[Published, str]
) -> dict[Published, str]:
    """The notes of both, joined for the same key."""
    found = dict(notes)
    for one, said in more.items():
        found[one] = f"{found[one]}; {said}" if one in found else said
    return found
