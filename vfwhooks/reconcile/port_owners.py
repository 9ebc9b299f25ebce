"""Owners of ports that guests share by a pattern, and of what guests contest: in small
files, so that an event reads the record of an owner, and no other guest's.

The first of the guests that run has such a port. A guest that starts later yields, in a
partial sync; when the owner stops, a full sync gives the port to the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..store.entry_text import format_published, parse_published
from ..store.records import Record
from ..store.state import State
from ..values.entries import PUBLISHING, Dnat, Entry, key_of
from ..values.entries import Key as EntryKey
from ..values.errors import NeedsFullSync
from ..values.published import Published
from .contests import withhold
from .desired_state import DesiredState
from .planner import Planner
from .sync_report import WAITING

_FILE = "contested"  # the mark in the base, too: two guests want the same
_METADATA = "metadata"  # among what is contested: ports that metadata publishes


def claims_of(record: Record | None) -> set[str]:
    """The names of the files that stand for the ports which the guest shares and has
    now. A range has one as a whole, too: a listener may have had a port of it when one
    guest came, and not when the other did, so that they have other parts."""
    if record is None or not record.is_shared:
        return set()
    had = [one.published for one in record.entries if isinstance(one, Dnat)]
    return {_name(published) for published in (*had, *record.shares)}


def plan_beside_owners(
    planner: Planner, record: Record, state: State, base: dict[str, str]
) -> DesiredState:
    """The desired state of a guest, without ports that an earlier guest has. Raises
    NeedsFullSync if this guest runs longer than such a one."""
    desired = planner.plan(record)
    if desired.settings.is_shared:
        taken = _taken(desired, state)
        if taken:
            withhold(desired, taken)
            note_contested(state, base, [desired])
    return desired


def _taken(desired: DesiredState, state: State) -> dict[EntryKey, Record]:
    """The keys of entries that owners have of ports which this guest wants. Raises
    NeedsFullSync, also if such a port is one of a range."""
    taken: dict[EntryKey, Record] = {}
    record = desired.record
    for entry in desired.entries:
        if not isinstance(entry, Dnat):
            continue
        owner = _owner(entry.published, state)
        if owner is None or owner.key == record.key:
            continue
        if owner.since > record.since or _is_of_range(desired, entry.published):
            raise NeedsFullSync(WAITING)
        taken.update((key_of(one), owner) for one in owner.entries)
    return taken


def _owner(published: Published, state: State) -> Record | None:
    name = state.read(f"addresses/{_name(published)}")
    return state.record_at(name) if name else None


def _is_of_range(desired: DesiredState, published: Published) -> bool:
    return any(
        one.first < one.last and one.first <= published.first <= one.last
        for one in desired.settings.forwards
    )


def note_contested(
    state: State,
    base: dict[str, str],
    found: Iterable[DesiredState],
    is_all: bool = False,
) -> None:
    """Note what these guests want and do not have; with `is_all`, nobody else does."""
    some = [desired for desired in found if desired.is_contested]
    if is_all:
        base.pop(_FILE, None)
    if some:
        lines = set() if is_all else set(_lines(state))
        for desired in some:
            lines.update(_line(kind, what) for kind, what in desired.conflicts)
            if desired.settings.from_metadata:
                lines.add(_METADATA)
        state.write(_FILE, "\n".join(sorted(lines)))
        base[_FILE] = ""


def is_contested(
    state: State, base: dict[str, str], removed: list[Entry], has_left: bool = False
) -> bool:
    """Whether another guest may be waiting for one of these entries; with `has_left`,
    for what the metadata of a guest has published before."""
    if _FILE not in base or not (removed or has_left):
        return False
    lines = _lines(state)
    if has_left and _METADATA in lines:
        return True
    ports = [parse_published(one[5:]) for one in lines if one.startswith("port ")]
    others = {one for one in lines if not one.startswith("port ")}
    for entry in removed:
        if isinstance(entry, PUBLISHING):
            mine = entry.published
            if any(
                one.is_beside(mine)
                and one.first <= mine.last
                and mine.first <= one.last
                for one in ports
            ):
                return True
        elif _line(*key_of(entry)) in others:
            return True
    return False


def _lines(state: State) -> list[str]:
    return [line for line in state.read(_FILE).split("\n") if line]


def _line(kind: type, what: object) -> str:
    if isinstance(what, tuple):
        what = what[0]
    if isinstance(what, Published):
        return f"port {format_published(what)}"
    return f"{kind.__name__} {what}"


def _name(published: Published) -> str:
    """The file of a port in addresses/."""
    return format_published(published).replace(" ", ",").replace("/", "%")
