"""The findings of `doctor` about foreign DNAT rules on published ports."""

from __future__ import annotations

from collections.abc import Iterator

from ..config.forwards import GuestForwards
from ..foreign.reader import find_doubts
from ..reconcile.foreign_conflicts import find_foreign_conflicts
from ..reconcile.foreign_survey import survey
from ..store.foreign_ports import hold
from ..store.state import State
from ..values.errors import VfwError, show
from ..values.findings import NOTE, OK, Finding, by_hand
from .foreign_reasons import few


def check_taken(forwarded: list[GuestForwards], state: State) -> Iterator[Finding]:
    """Foreign rules that take published ports, and tables that cannot be understood."""
    try:
        foreign = survey(state)
    except (OSError, VfwError) as error:
        what = f"rules of others cannot be read: {error}"
        seen = str(error)
        yield Finding(NOTE, "foreign-rules-unread", "rules of others", what, None, seen)
        return
    taken = hold(foreign.claims)
    said = doubts = 0
    for guest in forwarded:
        reasons: dict[str, None] = {}
        unsure: dict[str, None] = {}
        for forward in guest.forwards:
            for one in forward.claims():
                for rule, _ in find_foreign_conflicts(one, taken):
                    reasons[rule.reason] = None
                unsure.update(dict.fromkeys(find_doubts(foreign, one)))
        name = show(guest.name)
        if reasons:
            seen = few(list(reasons))
            said_by = "vfwhooks", "explain", guest.name
            cure = by_hand("{run} tells which has the port", *said_by)
            what = f"{name}: {seen}"
            yield Finding(NOTE, "foreign-dnat", guest.name, what, cure, seen)
        if unsure:
            seen = few(list(unsure))
            what = f"{name}: {seen}"
            yield Finding(NOTE, "foreign-dnat-unclear", guest.name, what, None, seen)
        said, doubts = said + len(reasons), doubts + len(unsure)
    if not said and not doubts:
        what = "no rule of others takes a published port"
        yield Finding(OK, "no-foreign-dnat", "rules of others", what)
