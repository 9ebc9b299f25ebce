"""`vfwhooks doctor GUEST`, `doctor tcp/8080`: each forward of a guest or a port, from
forwards.yaml to the guest's answer, up to the first broken hop.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..config.guest_names import find_near, find_other_name
from ..libvirt.client import guests_known_soon
from ..store.state import State
from ..values.errors import VfwError
from ..values.findings import WRONG, Finding
from .asked_forwards import find_rows, label
from .doctor import check_config
from .forward_hops import Ask, Hops, ask_guest, has_guest
from .overview import look
from .unmatched_patterns import rows_when_started
from .written_entries import WrittenEntries


@dataclass(frozen=True)
class Followed:
    """A forward as it is shown, and how its hops stand; a broken one is the last."""

    forward: str
    hops: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether no hop is broken."""
        return all(hop.level != WRONG for hop in self.hops)


def follow(state: State, main: str, about: str, ask: Ask = ask_guest) -> list[Followed]:
    """Every forward of a guest, or of a port: 8080, tcp/8080."""
    entries, overview = WrittenEntries(state, main), look(state, main)
    is_known = False
    try:
        rows = find_rows(overview, about)
    except VfwError:  # neither a guest that is in force nor a port
        names = [guest.name for guest in entries.guests]
        known = set() if about in names else guests_known_soon()
        there = [*names, *(guest.name for guest in overview.guests)]
        if other := find_other_name(about, known, there):
            return follow(state, main, other, ask)
        is_known = has_guest(known, about)
        rows = rows_when_started(state.path, about)
        is_any = rows or about in names or is_known or find_near(about, names)
        if not is_any:
            raise
    hops = Hops(state, main, ask, entries)
    found = [Followed(label(row), tuple(hops.of(row))) for row in rows]
    if not found and entries.is_broken:
        return [Followed(about, (next(check_config(main, state.path)),))]
    if not found and about in [guest.name for guest in entries.guests]:
        return [Followed(about, (entries.nothing(about),))]
    found += [Followed(name, (hop,)) for name, hop in entries.waiting(about, rows)]
    return found or [Followed(about, (entries.nothing(about, is_known),))]
