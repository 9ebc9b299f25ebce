"""Reasons about foreign DNAT rules on published ports: the owner of a rule, which side
has the port, and the cure. They come from a fresh look at the rules, for commands only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..foreign.reader import Foreign, find_doubts
from ..libvirt.inventory import Inventory
from ..reconcile.desired_state import DesiredState
from ..reconcile.foreign_conflicts import (
    AHEAD,
    exempt,
    find_foreign_conflicts,
    is_for_another,
)
from ..store.foreign_ports import ForeignPort, hold
from ..values.published import Published

_ELSE = "take it out there, or give the guest another address"
_FIRST = "the forward was first"
_FEW = 3


@dataclass
class Said:
    """Words about one guest's forwards, by what they publish. `notes` are for active
    forwards; `lost` has the forwards that are in force without effect, and why."""

    notes: dict[Published, str] = field(default_factory=dict)
    lost: dict[Published, str] = field(default_factory=dict)


class ForeignOwners:
    """The foreign rules that take ports on this host now."""

    def __init__(self, foreign: Foreign, inventory: Inventory) -> None:
        self._foreign = foreign
        self._inventory = inventory
        self.all = hold(foreign.claims)
        self._ahead = hold(claim for claim in foreign.claims if claim.is_ahead)

    def cures(self, running: Iterable[DesiredState]) -> dict[str, str]:
        """The cures for conflicts with rules that our rules cannot go ahead of, by
        reason."""
        found = {}
        for desired in running:
            for one in desired.port_owners if self.all else ():
                if one.is_one_to_one:
                    found[desired.port_owners[one].reason] = _ELSE
            for one in (*desired.port_owners, *desired.holes):
                for rule, _ in find_foreign_conflicts(one, self._ahead):
                    found[rule.reason] = AHEAD
        return found

    def say(self, desired: DesiredState) -> Said:
        """The words about one guest's forwards."""
        said = Said()
        for forward in desired.settings.forwards:
            for family in forward.families:
                one = forward.published(family)
                if (
                    family in desired.endpoint.addresses
                    and one not in desired.port_owners
                ):
                    self._say(said, desired, one)
        return said

    def _say(self, said: Said, desired: DesiredState, one: Published) -> None:
        if one.is_one_to_one:
            rules = [rule for rule, _ in find_foreign_conflicts(one, self.all)]
            said.notes.update((one, f"{rule.reason}; {_FIRST}") for rule in rules)
            return
        holes = desired.holes.get(one, {})
        notes: list[str] = []
        lost, shown = self._lost(one, holes)
        if lost and len(lost) + len(holes) > one.last - one.first:
            said.lost[one] = f"{few([r.reason for r in lost.values()])}; {AHEAD}"
            return
        if lost:
            ports = few([str(port) for port in sorted(lost)])
            reasons = few([rule.reason for _, rule in sorted(lost.items())])
            notes.append(f"all but {ports}: {reasons}; {AHEAD}")
        for rule, port in find_foreign_conflicts(one, self.all):
            if port in holes or port in lost:
                continue
            is_beside = is_for_another(one.host, rule, self._inventory)
            if (rule.host and exempt(one, rule, port) in desired.exempt) or (
                rule.reason in shown and is_beside
            ):
                notes.append(f"not on {rule.host}: {rule.reason}")
            elif one not in desired.settings.over:
                notes.append(f"{rule.reason}; {_FIRST}")
        notes += find_doubts(self._foreign, one)
        if notes:
            said.notes[one] = "; ".join(dict.fromkeys(notes))

    def _lost(
        self, one: Published, holes: Iterable[int]
    ) -> tuple[dict[int, ForeignPort], set[str]]:
        """The ports in force that a foreign rule ahead of ours takes, each with the
        rule; and the reasons of all rules ahead of ours."""
        lost, shown = {}, set()
        for rule, port in find_foreign_conflicts(one, self._ahead):
            shown.add(rule.reason)
            is_beside = is_for_another(one.host, rule, self._inventory)
            if port not in holes and not is_beside:
                lost[port] = rule
        return lost, shown


def few(words: list[str]) -> str:
    """The words as a list; only the first few if there are many."""
    some = list(dict.fromkeys(words))
    more = len(some) - _FEW
    return ", ".join(some[:_FEW]) + (f" and {more} more" if more > 0 else "")
