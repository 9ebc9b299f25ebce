"""The two syncs, which bring the kernel to the desired state.

A partial sync plans the guests that events touch, and no others. A full sync
plans all guests and compares with what the kernel really holds. Both write down what
the kernel may hold before the kernel gets it, and forget it only when the cuts of
connections are written down, too: so a kill at any point leaks nothing.
"""

from __future__ import annotations

import gc
import time

from ..config.source_stamps import digest_of
from ..firewall import entry_delta
from ..firewall.backend import choose, clear_others, move, open_backend
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.inventory import Inventory
from ..store.asking import note_stopped
from ..store.records import Key, Pair, Record
from ..store.state import State
from ..values.entries import Entry, ReturnRoute
from ..values.errors import NeedsFullSync, Refused
from .desired_state import line_of
from .network_changes import find_concerned, has_been_any, note_any
from .pending_changes import PendingChanges, without_former_names
from .planner import Planner
from .port_owners import is_contested, note_contested, plan_beside_owners
from .references import References, need_return_routes, note_ousted, share_entries
from .stale_connections import StaleNotes
from .sync_report import BACKEND, DISTURBED, NO_NEWS, RETURN_ROUTES, WAITING, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..firewall.backend import Backend
    from .hairpin_mode import Hairpins
    from .kept_settings import KeptSetting


class Sync:
    """Both syncs, for a holder of the lock."""

    def __init__(
        self,
        state: State,
        inventory: Inventory,
        link: Netlink,
        run: Run,
        report: Report,
    ) -> None:
        self._state = state
        self._inventory = inventory
        self._link = link
        self._run = run
        self._report = report
        self._references = References(state)
        self._base = state.base()
        self.cuts = StaleNotes(state, inventory)
        self.lacks_fingerprints = False

    @property
    def is_known(self) -> bool:
        """Whether a backend has been chosen and set up since the last boot."""
        return "backend" in self._base

    def is_of(self, stamps: str) -> bool:
        """Whether all guests were planned by the configuration with these stamps: the
        process that compiled it may have been killed before that."""
        return self._base.get("config") == digest_of(stamps)

    def is_intact(self) -> bool:
        """Whether libvirt still uses our backend, and our base ruleset there is intact;
        elements do not count."""
        return self._choose() == self._base["backend"] and self._backend().is_intact()

    def run(self, pending: PendingChanges, planner: Planner, why: str) -> None:
        """Do a partial sync; or a full one, if there is a reason, or if a partial one
        is not enough. The log gives the reason."""
        if not why:
            try:
                self.partial(pending, planner)
                return
            except (NeedsFullSync, Refused) as error:
                why = str(error)
        if why != NO_NEWS:
            self._report.said.append(f"checking everything: {why}")
        self.full(pending, planner, why)

    def partial(self, pending: PendingChanges, planner: Planner) -> None:
        """Plan and change the guests of the events. Raises NeedsFullSync, Refused."""
        self.note_fingerprints()
        if pending.networks:
            self._look_around()
        elif not self._backend().is_undisturbed():
            raise NeedsFullSync(DISTURBED)
        base, (pairs, said) = dict(self._base), self._plan(pending, planner)
        pairs += self._references.change(pairs, planner, pending.networks)
        hairpins = self._look_at_ports(pairs)
        self._expect(pairs, pending)
        deltas, removed, added = entry_delta.changes_of(pairs)
        held = [entry for _, new in pairs if new for entry in new.entries]
        is_left = any(old and old.claims for old, _ in pairs)
        if is_contested(self._state, self._base, removed, is_left):
            raise NeedsFullSync(WAITING)
        self._change(pairs, deltas, removed)
        self._report.said += said
        # A changed network may have a new bridge.
        if bridges := entry_delta.loopback_bridges(held if pending.networks else added):
            self._report.problems += self._localnet().enable(bridges)
        if hairpins:
            self._report.problems += hairpins.carry_out(pairs)
        if self._base != base:
            self._state.keep_base(self._base)
        self.cuts.note(removed, added, held, pairs)
        self._conclude(pairs)

    def _plan(
        self, pending: PendingChanges, planner: Planner
    ) -> tuple[list[Pair], list[str]]:
        """The guests of the events, before and after, and the lines for the log. Raises
        NeedsFullSync."""
        pairs: list[Pair] = []
        said: list[str] = []
        state, base = self._state, self._base
        for key, old in pending.before.items():
            record = pending.after[key]
            desired = None
            if record:
                desired = plan_beside_owners(planner, record, state, base)
            said += line_of(old, desired)
            pairs.append((old, desired.settled() if desired else None))
        concerned: list[Record] = []
        if pending.networks:
            concerned = find_concerned(pending, base, planner, self._references)
        for record in concerned:
            desired = plan_beside_owners(planner, record, state, base)
            pairs.append((record, new := desired.settled()))
            if new.entries != record.entries:
                said += line_of(record, desired)
        if pending.networks and need_return_routes(pairs):
            raise NeedsFullSync(RETURN_ROUTES)
        return pairs, said

    def _look_around(self) -> None:
        """Check that libvirt has changed nothing around our rules with a network.
        Raises NeedsFullSync."""
        if self._choose() != self._base["backend"]:
            raise NeedsFullSync(BACKEND)
        if not self._backend().is_as_usual():
            raise NeedsFullSync(DISTURBED)

    def _change(
        self, pairs: list[Pair], deltas: list[entry_delta.Delta], removed: list[Entry]
    ) -> None:
        """Make the change in the kernel."""
        if bridges := entry_delta.loopback_bridges(removed):
            self._report.problems += self._localnet().restore(bridges)
        if need_return_routes(pairs):
            from .return_path import ReturnRoutes, firewalls

            self._backend().change(firewalls(deltas))
            self._report.problems += ReturnRoutes(self._state).change(pairs)
        else:
            self._backend().change(deltas)
        self.lacks_fingerprints = self._base.get("variant") == "legacy"

    def full(self, pending: PendingChanges, planner: Planner, why: str) -> None:
        """Plan all guests, and correct the kernel where it differs."""
        was_on = gc.isenabled()
        gc.disable()  # it would look 0.8 s for garbage in 60,000 entries
        try:
            self._full(pending, planner, why)
        finally:
            if was_on:
                gc.enable()

    def _full(self, pending: PendingChanges, planner: Planner, why: str) -> None:
        old = {record.key: record for record in self._state.records()}
        desired = {p.record.key: p for p in planner.all(_running(old, pending))}
        new = {key: one.settled() for key, one in desired.items()}
        pairs = [(old.get(key), new.get(key)) for key in {**old, **new}]
        share_entries(pairs)
        note_ousted(pairs)
        name = self._choose()
        hairpins = self._look_at_ports(pairs)
        self._expect(pairs, pending)
        is_first = not self.is_known
        if self._base.get("backend") != name:
            self._base = move(name, self._base)
        self._report.said += clear_others(
            self._base, self._link, self._run, self._inventory
        )
        note_any(self._base, self._inventory)
        self._base["config"] = digest_of(planner.compiled.stamps)
        note_contested(self._state, self._base, desired.values(), is_all=True)
        wanted: dict[Entry, str] = {}
        for record in new.values():
            wanted.update(dict.fromkeys(record.entries, record.owner))
        for key, one in desired.items():
            lines = one.lines_of_owners()
            self._report.named += lines
            was = old[key].yields if key in old else []
            if key not in pending.after and was != one.yields():
                self._report.said += lines
        rulesets = planner.base_rulesets(desired.values(), self._base)
        result = self._sync(wanted, rulesets, is_first)
        self._state.keep_base(self._base)
        self._report.problems += result.problems
        if hairpins:
            self._report.problems += hairpins.carry_out(pairs)
        if not result.problems:
            for key in pending.after:
                self._report.said += line_of(old.get(key), desired.get(key))
        _, removed, added = entry_delta.changes_of(pairs)
        self._report.note_check(why, result, len(removed), len(added))
        self.cuts.note(removed + result.removed, added + result.added, wanted, pairs)
        self._conclude(pairs)
        self._references.note_anew(list(new.values()))
        for directory in ("tmp", "daemons"):
            self._state.sweep(directory)

    def note_fingerprints(self) -> None:
        """Note anew how the rules around ours look, if a change has left that open."""
        if self.lacks_fingerprints:
            self.lacks_fingerprints = False
            self._backend().note_fingerprints()
            self._state.keep_base(self._base)

    def _choose(self) -> str:
        """The backend to use: the one in use, unless it was chosen before a network
        could show which one libvirt uses."""
        now = self._base.get("backend", "") if has_been_any(self._base) else ""
        return choose(self._inventory, self._link, now)

    def _sync(
        self, wanted: dict[Entry, str], base_rulesets: dict[str, str], is_first: bool
    ) -> entry_delta.SyncResult:
        """Make the kernel hold the wanted entries; bridges pass loopback addresses only
        while the rules that guard this are there."""
        bridges = entry_delta.loopback_bridges(list(wanted))
        routes = {entry for entry in wanted if isinstance(entry, ReturnRoute)}
        if routes or is_first or any(map(self._state.names, ("ways", "vmark"))):
            from .return_path import ReturnRoutes

            wanted = {e: owner for e, owner in wanted.items() if e not in routes}
            result = self._sync_firewall(wanted, base_rulesets, bridges)
            result.problems += ReturnRoutes(self._state).sync(routes)
            return result
        return self._sync_firewall(wanted, base_rulesets, bridges)

    def _sync_firewall(
        self, wanted: dict[Entry, str], base_rulesets: dict[str, str], bridges: set[str]
    ) -> entry_delta.SyncResult:
        if not bridges and not self._state.names("localnet"):
            return self._backend().sync(wanted, base_rulesets)
        problems = self._localnet().restore_others(bridges)
        result = self._backend().sync(wanted, base_rulesets)
        if not result.problems:
            problems += self._localnet().enable(bridges)
        result.problems += problems
        return result

    def _localnet(self) -> KeptSetting:
        from .kept_settings import LOCALNET, KeptSetting  # few need it

        return KeptSetting(LOCALNET, self._state)

    def _backend(self) -> Backend:
        return open_backend(self._base, self._link, self._run, self._inventory)

    def _look_at_ports(self, pairs: list[Pair]) -> Hairpins | None:
        """Note which bridge ports must change their hairpin mode; None for none."""
        if not any(
            new and (new.hairpins or (old and old.hairpins)) for old, new in pairs
        ):
            return None
        from .hairpin_mode import Hairpins  # few need it

        found = Hairpins()
        found.look(pairs)
        return found

    def _expect(self, pairs: list[Pair], pending: PendingChanges) -> None:
        """Write down what the kernel may hold from now on."""
        for old, new in pairs:
            if new:
                more = (old.entries, old.hairpins) if old else ([], [])
                both = new.with_entries(*more)
                if both != old:
                    self._state.keep(both)
                pending.hairpins[new.key] = both.hairpins

    def _conclude(self, pairs: list[Pair]) -> None:
        """Write down what the kernel holds now."""
        for old, new in pairs:
            self._report.note_change(old, new)
            if new is None and old:
                note_stopped(self._state, old.key, time.monotonic_ns())
                self._state.forget(old.key)
            elif new and old:
                gone = set(old.hairpins) - set(new.hairpins)
                if gone or entry_delta.Delta("", old.entries, new.entries).removed():
                    self._state.keep(new)


def _running(old: dict[Key, Record], pending: PendingChanges) -> list[Record]:
    """The records of the guests that run after the events, by their start."""
    now = {**{k: r for k, r in old.items() if not r.is_off}, **pending.after}
    guests = [r for k, r in now.items() if r and k[0] not in ("claim", "network")]
    return sorted(without_former_names(guests), key=lambda record: record.since)
