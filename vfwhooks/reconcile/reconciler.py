"""The one use case: bring the kernel to the desired state.

The holder of the lock carries out every event that waits. Most events touch one guest,
and cost as much as this guest costs (a partial sync). In doubt a full sync checks
everything, and the log says why: the first event after boot, another configuration, a
refused transaction, a holder of the lock that was killed, the mark of the daemon's
hook.
"""

import time
from collections.abc import Callable

from ..config import last_good
from ..config.compiled_file import Damaged, stamps_in_force
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.inventory import Inventory
from ..libvirt.status_directories import DIRECTORIES
from ..store.lock import Lock
from ..store.records import GuestEvent
from ..store.state import State
from ..values.errors import VfwError, where
from . import sync_report
from .hook_events import waiting
from .pending_changes import PendingChanges
from .planner import Planner
from .sync import Sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..libvirt.client import Answer


# Seconds for cutting connections: while other processes wait for the lock, none of
# which may have to give up (service/hook.py: LOCK_TIMEOUT); and, ahead of an event, for
# those that a killed holder has left, at most and at least.
_CUTTING = 3.0
_LEFT_BEHIND, _AT_LEAST = 1.0, 0.3
# Seconds for events that arrive meanwhile, again and again: libvirt waits for this
# hook.
_MEANWHILE = 0.5


class Reconciler:
    """One holder of the lock, from taking it (or with the given `lock`) to its release.
    It may wait for the lock, and tools may run, until the time `until` (monotonic).
    With `is_apart` it is the service's: a child compiles files, the last good
    configuration serves meanwhile, and libvirt's files tell when a guest runs. Raises
    OutOfTime."""

    def __init__(
        self,
        state: State,
        main: str,
        inventory: "Inventory | None" = None,
        until: float = float("inf"),
        lock: "Lock | None" = None,
        is_apart: bool = False,
    ) -> None:
        self.report = sync_report.Report()
        self._state = state
        self._main = main
        self._is_apart = is_apart
        self._given: set[int] = set()  # values of marks, by this holder of the lock
        self._lock = lock or state.lock(until)
        try:
            self._until = until
            self._run = Run(keep=(self._lock.fd,), until=until)
            self._link = Netlink()
            self._inventory = inventory or Inventory(f"{state.path}/networks")
            self._sync = Sync(
                state, self._inventory, self._link, self._run, self.report
            )
            if not self._sync.is_known:
                self._find_running()
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Cut the noted connections, and release the lock."""
        try:
            try:
                self._sync.note_fingerprints()
            except (VfwError, OSError) as error:
                self.report.problems.append(str(error))
            self._cut(time.monotonic() + _CUTTING)
        finally:
            self._lock.close()
            self._link.close()

    def _cut(self, until: float) -> None:
        self.report.problems += self._sync.cuts.carry_out(until)

    def _find_running(self) -> None:
        """Note the running guests by libvirt's own files. At boot no guest runs; but
        the state directory may have been removed under running guests, and a sync
        removes entries without a record."""
        from ..libvirt.status_follower import Follower  # a first event needs it

        follower = Follower(self._state)
        try:
            for directory in DIRECTORIES:
                follower.look(directory)
            follower.note()
            self.report.problems += follower.problems
        finally:
            follower.close()

    @property
    def is_slow_to_close(self) -> bool:
        """Whether `close` takes many milliseconds that change no rule any more."""
        is_open = self._sync.cuts.has_any or self._sync.lacks_fingerprints
        return self._link.is_slow_to_close or is_open

    @property
    def tools(self) -> list[int]:
        return self._run.pids

    def carry_out(
        self,
        mine: "GuestEvent | None" = None,
        tell: "Callable[[], None]" = lambda: None,
    ) -> None:
        """Carry out every event that waits, also those that arrive meanwhile, and
        `mine`, which could not be written to the spool; call `tell` each time when the
        kernel has the rules. Once connections must be cut, later events are left to the
        next holders of the lock, since nothing may change before the cut. So are events
        that arrive without end."""
        until = 0.0
        while True:
            guest_events = waiting(self._state)
            if not guest_events and mine is None:
                return
            self._round(guest_events, mine, "")
            tell()
            mine = None
            if self._sync.cuts.has_any or 0 < until < time.monotonic():
                return
            until = until or time.monotonic() + _MEANWHILE

    def apply(
        self, answer: "Answer | None", asked: int, taken: "bytes | None" = None
    ) -> None:
        """Do a full sync with libvirtd's answer about running guests, and with the
        ports that foreign rules take now, if they were read."""
        if taken is not None:
            self._state.put_taken(taken)
        self._round(waiting(self._state), None, "apply", answer, asked)
        self._go_on()

    def check(self, is_full: bool) -> None:
        """Carry out the events; do a full sync if the caller or a mark asks for one, or
        if the files or our base ruleset have changed."""
        self._state.remove("late")
        why = self._why_checked(is_full)
        guest_events = waiting(self._state)
        if guest_events or why or self._state.is_full_asked():
            self._round(guest_events, None, why)
            self._go_on()

    def _why_checked(self, is_full: bool) -> str:
        """The reason for a full sync, whether events wait or not; '' for none."""
        if is_full:
            return sync_report.NEWS
        if self._sync.is_known and not self._sync.is_intact():
            return sync_report.NOT_INTACT
        is_known = last_good.is_in_force(self._state, self._main) or self._is_apart
        stamps = stamps_in_force(self._state.path)
        is_planned = is_known and not (stamps and not self._sync.is_of(stamps))
        if not is_planned:
            return sync_report.EDITED
        # The legacy fingerprint is taken after a change: it may include a foreign one.
        is_untold = self._state.base().get("variant") == "legacy"
        return self._why_always() or (sync_report.NO_NEWS if is_untold else "")

    def _why_always(self) -> str:
        """The reason for a full sync without any change: no backend is known."""
        return "" if self._sync.is_known else sync_report.FIRST

    def _go_on(self) -> None:
        """Carry out the events that came during the full sync."""
        if not self._sync.cuts.has_any:
            self.carry_out()

    def _round(
        self,
        noted: list[tuple[str, GuestEvent]],
        mine: "GuestEvent | None",
        why: str,
        answer: "Answer | None" = None,
        asked: int = 0,
    ) -> None:
        now = time.monotonic()
        until = max(min(self._until, now + _LEFT_BEHIND), now + _AT_LEAST)
        self._cut(until)
        before = len(self.report.problems)
        self._inventory.look_anew()  # events may be newer than the inventory
        guest_events = self._heeded([event for _, event in noted], mine)
        why = self._why_now(why)
        pending = PendingChanges(self._state)
        for guest_event in guest_events:
            pending.follow(guest_event, self._is_away(guest_event))
        if answer:
            pending.correct(list(answer.guests), list(answer.drivers), asked)
        self._try_sync(pending, {i.operation for i in guest_events}, why)
        pending.note_stops()
        if len(self.report.problems) > before:
            self._state.ask_full(sync_report.PROBLEM)
        else:
            done = time.monotonic_ns()
            self.report.carried += [
                (one.operation, (done - one.stamp) / 1e9) for one in guest_events
            ]
        self._state.end([name for name, _ in noted])

    def _why_now(self, why: str) -> str:
        """The reason for a full sync: this one, or one that earlier holders of the lock
        have left."""
        why = why or self._why_always()
        if self._state.begin():
            why = why or sync_report.KILLED
        said = self._state.read("full").partition("\n")[0]
        if self._state.take_full():
            why = why or said or sync_report.ASKED
        return why

    def _try_sync(self, pending: PendingChanges, kinds: set[str], why: str) -> None:
        """Carry out the events, or write them down for a later holder of the lock."""
        try:
            self._sync_rules(pending, kinds, why)
        except (VfwError, OSError) as error:
            self.report.problems.append(str(error))
            if isinstance(error, Damaged):
                from ..config.kept_over_boot import drop  # few need it

                drop(self._state)
            pending.postpone()
        except Exception as error:  # noqa: BLE001 - a defect of ours: say which
            # The cause must not stop each later holder of the lock.
            self.report.problems.append(f"{where(error)}: {error!r}")
            pending.postpone()

    def _heeded(
        self, noted: list[GuestEvent], mine: "GuestEvent | None"
    ) -> list[GuestEvent]:
        """The events that count. The service leaves out a guest that has no process
        yet: it hears when the guest runs, and a migrated one waits for its memory."""
        if self._is_apart:
            return [one for one in noted if one.operation != "starting"]
        return noted + ([mine] if mine else [])

    def _is_away(self, guest_event: GuestEvent) -> bool:
        """Whether the guest does not run here because of a migration. A hook without a
        service does not ask: nobody would tell it later that the guest runs."""
        if self._is_apart and guest_event.operation in ("started", "reconnected"):
            from ..libvirt.status_follower import is_migrating

            return is_migrating(guest_event.guest)
        return guest_event.operation == "away"

    def _mark(self, table: int) -> int:
        """The mark's value for a routing table from now on; 0 if none is left."""
        from .return_path import allot_value  # few need it

        value = allot_value(self._state, table, self._given)
        self._given.add(value)
        return value

    def _sync_rules(self, pending: PendingChanges, kinds: set[str], why: str) -> None:
        """Carry out the events, by a full sync if there is a reason for the log."""
        run = None if self._is_apart else self._run
        config = last_good.refresh(self._state, self._main, run)
        self.report.said += config.problems
        planner = Planner(
            config.compiled, self._inventory, self._state.record, mark=self._mark
        )
        if config.is_new or not self._sync.is_of(config.compiled.stamps):
            why = why or sync_report.EDITED
        if not why and "reconnected" in kinds and not self._sync.is_intact():
            why = sync_report.NOT_INTACT
        if config.compiled.is_empty and not self._state.records():
            why = sync_report.NO_NEWS if why else ""
        for record in pending.arrived():
            from .arrivals import probe_arrival  # after a migration alone

            probe_arrival(planner.plan(record), self._inventory)
        self._sync.run(pending, planner, why)
