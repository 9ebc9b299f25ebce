"""The one use case: bring what the kernel holds to what should be there.

Whoever holds the lock carries out every waiting event. Most touch one guest and cost
what that guest costs. Where anything is in doubt (the first event after boot, another
configuration, a transaction refused, a holder that was killed, a mark set by the
daemon's hook) the full road is taken: everything is planned anew and compared with
what the kernel really holds.
"""

import time

from . import configuration
from .backend import choose, clear_others, open_backend
from .conntrack import cut
from .errors import Refused, VfwError, show
from .events import Events
from .inventory import Inventory
from .netlink import Netlink
from .plan import Change
from .planner import Planned, Planner
from .process import Run
from .records import Intent, Key, Record
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .backend import Backend
    from .libvirtd import Answer

Pair = tuple["Record | None", "Record | None"]


class InDoubt(Exception):
    """The short road does not know enough; the full one does."""


class Reconcile:
    """One holder of the lock, from taking it to giving it back.

    `said` collects a line for the log on everything that was done or failed, `removed`
    and `added` the entries that changed, each with its guest's name.
    """

    def __init__(
        self, state: State, main: str, inventory: "Inventory | None" = None
    ) -> None:
        self.said: list[str] = []
        self.problems: list[str] = []
        self.removed: list[tuple[str, str]] = []
        self.added: list[tuple[str, str]] = []
        self._state = state
        self._main = main
        self._lock = state.lock()
        self._run = Run(keep=(self._lock.fd,))
        self._link = Netlink()
        self._inventory = inventory or Inventory(f"{state.path}/networks")
        self._base = state.base()

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()
        self._link.release()

    def carry_out(self) -> None:
        """Carry out every event that waits, also those that arrive meanwhile."""
        while waiting := self._state.intents():
            was_cut_short = self._state.begin()
            self._round([intent for _, intent in waiting], was_cut_short)
            self._state.end([name for name, _ in waiting])

    def apply(self, answer: "Answer | None", asked: int) -> None:
        """Bring everything to what it should be, with libvirtd's word on who runs."""
        waiting = self._state.intents()
        self._state.begin()
        self._round([intent for _, intent in waiting], True, answer, asked)
        self._state.end([name for name, _ in waiting])

    def _round(
        self,
        intents: list[Intent],
        is_full: bool,
        answer: "Answer | None" = None,
        asked: int = 0,
    ) -> None:
        is_full = self._state.take_full() or is_full or "backend" not in self._base
        events = Events(self._state)
        for intent in intents:
            events.follow(intent)
        if answer:
            events.correct(list(answer.guests), list(answer.drivers), asked)
        config = configuration.refresh(self._state, self._main, self._run)
        self.said += config.problems
        planner = Planner(config.compiled, self._inventory)
        kinds = {intent.operation for intent in intents}
        if not (is_full or config.is_new or "network" in kinds):
            try:
                self._short_road(events, planner, "reconnected" in kinds)
                return
            except (InDoubt, Refused) as error:
                self.said.append(f"checking everything: {error}")
        self._full_road(events, planner)

    def _short_road(self, events: Events, planner: Planner, is_checked: bool) -> None:
        """Plan and change the guests that the events touch, and nobody else."""
        backend = self._backend()
        if is_checked and not backend.is_intact():
            raise InDoubt("the rules are not as they were left")
        pairs: list[Pair] = []
        for key, old in events.before.items():
            record = events.after[key]
            planned = planner.guest(record) if record else None
            new = planned.settled() if planned else None
            self._say(old, planned)
            pairs.append((old, new))
            pairs += self._shared(key, old, new, planner)
        self._expect(pairs)
        changes = [change for pair in pairs for change in _changes(*pair)]
        backend.change(changes)
        self._conclude(pairs)
        self._cut(
            [entry for change in changes for entry in change.removed()],
            [entry for change in changes for entry in change.added()],
        )

    def _backend(self) -> "Backend":
        return open_backend(self._base, self._link, self._run, self._inventory)

    def _shared(
        self, key: Key, old: "Record | None", new: "Record | None", planner: Planner
    ) -> list[Pair]:
        """What the guest shares with others: it claims its addresses for itself, and
        may be the first or the last to need a network's entries."""
        for address in _addresses(old) - _addresses(new):
            self._state.release(address, key)
        for address in _addresses(new) - _addresses(old):
            if not self._state.claim(address, key):
                raise InDoubt(f"another guest is at {address}")
        before = set(old.networks) if old else set()
        after = set(new.networks) if new else set()
        pairs: list[Pair] = []
        for name in after - before:
            self._state.join(name, key)
            network = self._inventory.network(name)
            if network and not self._state.record(("network", name)):
                pairs.append((None, planner.network(network).settled()))
        for name in before - after:
            if self._state.leave(name, key):
                pairs.append((self._state.record(("network", name)), None))
        return pairs

    def _full_road(self, events: Events, planner: Planner) -> None:
        """Plan everybody, and compare with what the kernel holds."""
        old = {record.key: record for record in self._state.records()}
        now = {**old, **events.after}
        guests = [r for k, r in now.items() if r and k[0] != "network"]
        guests.sort(key=lambda record: record.since)
        planned = {p.record.key: p for p in planner.all(guests)}
        new = {key: one.settled() for key, one in planned.items()}
        pairs = [(old.get(key), new.get(key)) for key in {**old, **new}]
        self._expect(pairs)
        name = choose(self._inventory, self._link, self._run)
        if self._base.get("backend") != name:
            self._base = {"backend": name}
            self.said += clear_others(name, self._link, self._run, self._inventory)
        backend = self._backend()
        wanted = {e: r.owner for r in new.values() for e in r.entries}
        synced = backend.sync(wanted, planner.compiled.skeletons())
        self._state.keep_base(self._base)
        self._conclude(pairs)
        self._state.index(list(new.values()))
        changes = [change for pair in pairs for change in _changes(*pair)]
        removed = {entry for change in changes for entry in change.removed()}
        self._cut(list(removed.union(synced.removed)), synced.added)
        for key in events.after:
            self._say(old.get(key), planned.get(key))
        if synced.problems:
            self.problems += synced.problems
            self._state.write("full", "")

    def _expect(self, pairs: list[Pair]) -> None:
        """Write down what the kernel may hold from now on, before it hears of it."""
        for old, new in pairs:
            if new:
                both = new.with_entries(old.entries if old else [])
                if old is None or both.text() != old.text():
                    self._state.keep(both)

    def _conclude(self, pairs: list[Pair]) -> None:
        """Write down what the kernel holds now."""
        for old, new in pairs:
            of = new or old
            name = of.guest.name if of else ""
            for change in _changes(old, new):
                self.removed += [(name, entry) for entry in change.removed()]
                self.added += [(name, entry) for entry in change.added()]
            if new is None and old:
                self._state.forget(old.key, time.monotonic_ns())
            elif new and old and set(old.entries) - set(new.entries):
                self._state.keep(new)

    def _say(self, old: "Record | None", planned: "Planned | None") -> None:
        if planned and planned.settings.forwards:
            self.said.append(planned.summary())
        elif old and old.entries and planned is None:
            self.said.append(f"{show(old.guest.name)}: stopped, nothing is forwarded")

    def _cut(self, removed: list[str], added: list[str]) -> None:
        """Cut the connections that lead where nothing is forwarded any more."""
        try:
            cut(self._link, self._inventory, removed, added)
        except (OSError, VfwError) as error:
            self.said.append(f"conntrack: {error}")


def _changes(old: "Record | None", new: "Record | None") -> list[Change]:
    if old and new and old.owner == new.owner:
        return [Change(new.owner, old.entries, new.entries)]
    changes = [Change(old.owner, old.entries, [])] if old else []
    return changes + ([Change(new.owner, [], new.entries)] if new else [])


def _addresses(record: "Record | None") -> set[str]:
    entries = record.entries if record else []
    return {entry[9:] for entry in entries if entry.startswith("accept ")}
