"""Networks that start, stop or change: the records whose entries depend on them, or a
full sync if the first network has started or the last one has stopped."""

from __future__ import annotations

from ..libvirt.inventory import Inventory
from ..store.records import Record
from ..values.errors import NeedsFullSync
from .pending_changes import PendingChanges
from .planner import Planner
from .references import References
from .sync_report import BRIDGE, FIRST_NETWORK, LEFT

# The base's word on networks: one is active, and members/ is up to date (references);
# or the last one has gone. Before the first one there is no word.
_NETWORKS, _NOTED, _GONE = "networks", "noted", "gone"


def has_been_any(base: dict[str, str]) -> bool:
    """Whether a network has been active since the host's start."""
    return _NETWORKS in base


def note_any(base: dict[str, str], inventory: Inventory) -> None:
    """Note whether a network is active, after all guests have been planned."""
    if inventory.has_networks():
        base[_NETWORKS] = _NOTED
    elif has_been_any(base):
        base[_NETWORKS] = _GONE


def find_concerned(
    pending: PendingChanges,
    base: dict[str, str],
    planner: Planner,
    references: References,
) -> list[Record]:
    """The records whose entries depend on changed networks, without the records that
    events change anyway. Raises NeedsFullSync."""
    inventory = planner.inventory
    if base.get(_NETWORKS) != _NOTED or not inventory.has_networks():
        raise NeedsFullSync(FIRST_NETWORK)
    bridges = {}
    for name in sorted(pending.networks):
        network = inventory.network(name)
        bridges[name] = network.bridge if network else ""
    named = planner.bridges
    if named and any(one in ("", *named) for one in bridges.values()):
        raise NeedsFullSync(BRIDGE)
    found = references.concerned(bridges)
    if any(record.is_off for record in found):
        raise NeedsFullSync(LEFT)
    return [record for record in found if record.key not in pending.before]
