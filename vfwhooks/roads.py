"""The two roads from what should be to what the kernel holds.

The short one plans the guests that events touch and changes nothing else. The full one
plans everybody and compares with what the kernel really holds. Both write down what the
kernel may hold before it hears of it, and forget it only when the connections that are
to be cut are written down too, so that a kill at any point leaks nothing.
"""

from __future__ import annotations

import gc
import time

from . import cuts
from .backend import choose, clear_others, move, open_backend
from .compiled import mark_of
from .entries import ReturnRoute
from .errors import InDoubt
from .events import Events, without_former_names
from .inventory import Inventory
from .netlink import Netlink
from .planned import line_of
from .planner import Planner
from .process import Run
from .shared import Shared, need_ways, note_ousted, share_entries
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from .backend import Backend
    from .cuts import Named
    from .entries import Entry
    from .hairpin import Hairpins
    from .shared import Pair

_CONTESTED = "contested"  # in the base: two guests want the same, and one has it


class Report:
    """What was done: lines for the log, problems, the entries that changed, each with
    its guest's name; and `named`, who keeps ports that are published."""

    __slots__ = ("added", "named", "problems", "removed", "said")

    def __init__(self) -> None:
        self.said: list[str] = []
        self.problems: list[str] = []
        self.named: list[str] = []
        self.removed: Named = []
        self.added: Named = []


class Roads:
    """Both roads, for a holder of the lock."""

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
        self._shared = Shared(state)
        self._base = state.base()
        self.has_noted = bool(state.names("cuts"))
        self.is_unmarked = False

    @property
    def is_known(self) -> bool:
        """Whether a backend has been chosen and set up since the last boot."""
        return "backend" in self._base

    def is_of(self, stamps: str) -> bool:
        """Whether all guests were planned by the configuration with these stamps: who
        compiled it may have been ended before they were."""
        return self._base.get("config") == mark_of(stamps)

    def is_intact(self) -> bool:
        """Whether libvirt still uses the backend that we do, and our skeleton there is
        as it was left; elements are not looked at."""
        return self._choose() == self._base["backend"] and self._backend().is_intact()

    def short(self, events: Events, planner: Planner) -> None:
        """Plan and change the guests that the events touch.

        Raises InDoubt or Refused where the full road has to be taken after all.
        """
        self.note_marks()
        if not self._backend().is_undisturbed():
            raise InDoubt("the rules around ours have changed")
        base = dict(self._base)
        pairs: list[Pair] = []
        said: list[str] = []
        for key, old in events.before.items():
            record = events.after[key]
            planned = planner.guest(record) if record else None
            new = planned.settled() if planned else None
            said += line_of(old, planned)
            pairs.append((old, new))
        pairs += self._shared.change(pairs, planner)
        hairpins = self._look_at_ports(pairs)
        self._expect(pairs, events)
        changes = [change for pair in pairs for change in cuts.changes_of(*pair)]
        removed = [entry for change in changes for entry in change.removed()]
        added = [entry for change in changes for entry in change.added()]
        has_ways = need_ways(pairs)
        if removed and _CONTESTED in self._base:
            raise InDoubt("another guest may be waiting for this")
        if closed := cuts.opened_bridges(removed):
            from .localnet import close_bridges  # for those who need it

            self._report.problems += close_bridges(self._state, closed)
        if has_ways:
            from .waysback import Ways, firewalls

            self._backend().change(firewalls(changes))
            self._report.problems += Ways(self._state).change(pairs)
        else:
            self._backend().change(changes)
        self.is_unmarked = self._base.get("variant") == "legacy"
        self._report.said += said
        if opened := cuts.opened_bridges(added):
            from .localnet import open_bridges

            self._report.problems += open_bridges(self._state, opened)
        if hairpins:
            self._report.problems += hairpins.carry_out(pairs)
        if self._base != base:
            self._state.keep_base(self._base)
        held = [entry for _, new in pairs if new for entry in new.entries]
        self._note_cut(removed, added, held)
        self._conclude(pairs)

    def full(self, events: Events, planner: Planner) -> None:
        """Plan everybody, and change what the kernel holds otherwise."""
        gc.disable()  # it takes 0.8 s to find that 60,000 entries are no garbage
        try:
            self._full(events, planner)
        finally:
            gc.enable()

    def _full(self, events: Events, planner: Planner) -> None:
        old = {record.key: record for record in self._state.records()}
        now = {**{k: r for k, r in old.items() if not r.is_off}, **events.after}
        guests = [r for k, r in now.items() if r and k[0] not in ("claim", "network")]
        guests = without_former_names(guests)
        guests.sort(key=lambda record: record.since)
        planned = {p.record.key: p for p in planner.all(guests)}
        new = {key: one.settled() for key, one in planned.items()}
        pairs = [(old.get(key), new.get(key)) for key in {**old, **new}]
        share_entries(pairs)
        note_ousted(pairs)
        name = self._choose()
        hairpins = self._look_at_ports(pairs)
        self._expect(pairs, events)
        is_first = not self.is_known
        if self._base.get("backend") != name:
            self._base = move(name, self._base)
        self._report.said += clear_others(
            self._base, self._link, self._run, self._inventory
        )
        if self._inventory.has_networks():
            self._base["networks"] = "known"
        self._base["config"] = mark_of(planner.compiled.stamps)
        self._base.pop(_CONTESTED, None)
        if any(one.is_contested for one in planned.values()):
            self._base[_CONTESTED] = ""
        wanted: dict[Entry, str] = {}
        for record in new.values():
            wanted.update(dict.fromkeys(record.entries, record.owner))
        for key, one in planned.items():
            self._report.named += one.takers()
            was = old[key].yields if key in old else []
            if key not in events.after and was != one.yields():
                self._report.said += one.takers()
        synced = self._sync(wanted, planner.compiled.skeletons(), is_first)
        self._state.keep_base(self._base)
        self._report.problems += synced.problems
        if hairpins:
            self._report.problems += hairpins.carry_out(pairs)
        if not synced.problems:
            for key in events.after:
                self._report.said += line_of(old.get(key), planned.get(key))
        changes = [change for pair in pairs for change in cuts.changes_of(*pair)]
        removed = [entry for change in changes for entry in change.removed()]
        added = [entry for change in changes for entry in change.added()]
        self._note_cut(removed + synced.removed, added + synced.added, wanted)
        self._conclude(pairs)
        self._shared.note_anew(list(new.values()))
        self._state.sweep()

    def note_marks(self) -> None:
        """Look at the rules around ours anew where a change has left that open."""
        if self.is_unmarked:
            self.is_unmarked = False
            self._backend().note_marks()
            self._state.keep_base(self._base)

    def _choose(self) -> str:
        """The backend to use: what it is now counts, unless it was chosen while there
        was no network to tell what libvirt uses."""
        now = self._base.get("backend", "") if "networks" in self._base else ""
        return choose(self._inventory, self._link, now)

    def _sync(
        self, wanted: dict[Entry, str], skeletons: dict[str, str], is_first: bool
    ) -> cuts.Synced:
        """Make the kernel hold what is wanted, and bridges pass loopback for no longer
        than the rules are there that guard it."""
        opened = cuts.opened_bridges(list(wanted))
        ways = {entry for entry in wanted if isinstance(entry, ReturnRoute)}
        if ways or is_first or self._state.names("ways") or self._state.names("vmark"):
            from .waysback import Ways

            wanted = {e: owner for e, owner in wanted.items() if e not in ways}
            synced = self._sync_firewall(wanted, skeletons, opened)
            synced.problems += Ways(self._state).sync(ways)
            return synced
        return self._sync_firewall(wanted, skeletons, opened)

    def _sync_firewall(
        self, wanted: dict[Entry, str], skeletons: dict[str, str], opened: set[str]
    ) -> cuts.Synced:
        if not opened and not self._state.names("localnet"):
            return self._backend().sync(wanted, skeletons)
        from .localnet import close_others, open_bridges

        problems = close_others(self._state, opened)
        synced = self._backend().sync(wanted, skeletons)
        if not synced.problems:
            problems += open_bridges(self._state, opened)
        synced.problems += problems
        return synced

    def _backend(self) -> "Backend":
        return open_backend(self._base, self._link, self._run, self._inventory)

    def _look_at_ports(self, pairs: list[Pair]) -> "Hairpins | None":
        """Note which ports of bridges are to go into hairpin mode, and out of it; None
        where there are none."""
        if not any(
            new and (new.hairpins or (old and old.hairpins)) for old, new in pairs
        ):
            return None
        from .hairpin import Hairpins  # for those who need it

        found = Hairpins()
        found.look(pairs)
        return found

    def _expect(self, pairs: list[Pair], events: Events) -> None:
        """Write down what the kernel may hold from now on."""
        for old, new in pairs:
            if new:
                more = (old.entries, old.hairpins) if old else ([], [])
                both = new.with_entries(*more)
                if old is None or not both.is_same(old):
                    self._state.keep(both)
                events.hairpins[new.key] = both.hairpins

    def _conclude(self, pairs: list[Pair]) -> None:
        """Write down what the kernel holds now."""
        for old, new in pairs:
            for change in cuts.changes_of(old, new):
                name = new.guest.name if new else old.guest.name if old else ""
                self._report.removed += [(name, one) for one in change.removed()]
                self._report.added += [(name, one) for one in change.added()]
            if new:
                self._report.added += cuts.modes(new, old)
            if new is None and old:
                self._state.forget(old.key, time.monotonic_ns())
            elif new and old:
                self._report.removed += cuts.modes(old, new)
                gone = set(old.hairpins) - set(new.hairpins)
                if gone or cuts.Change("", old.entries, new.entries).removed():
                    self._state.keep(new)

    def _note_cut(
        self, removed: list[Entry], added: list[Entry], held: Collection[Entry]
    ) -> None:
        """Write down what connections may have to be cut for.

        A look at them takes the kernel 9 ms and more, for which libvirt need not wait.
        """
        if cuts.may_cut(removed, added):
            removed, added = list(dict.fromkeys(removed)), list(dict.fromkeys(added))
            name = f"cuts/{time.monotonic_ns():020d}"
            text = cuts.cut_text(removed, added, cuts.beside(removed, held))
            self._state.write(name, text)
            self.has_noted = True

    def cut_noted(self, until: float) -> None:
        """Cut the connections that lead where nothing is forwarded any more, also those
        that a holder who was killed has left.

        The lock is held on from the change, so that none of them is a newer one. So
        what there is no time for `until` then is left undone, and the next ones are not
        held up by it; nor are they for ever by what kills whoever tries it.
        """
        self.has_noted = False
        for name in self._state.names("cuts"):
            file = self._state.try_again(f"cuts/{name}")
            if file:
                from .conntrack import cut_file  # for a child, as a rule

                problems = cut_file(self._state, self._inventory, file, until)
                self._report.problems += problems
                self._state.remove(file)
            else:
                problem = f"cuts/{name} ended whoever tried it: it is left undone"
                self._report.problems.append(f"conntrack: {problem}")
                self._state.remove(f"cuts/{name}")
