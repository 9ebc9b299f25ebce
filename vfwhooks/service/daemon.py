"""The service: it carries out events of hooks, and finds changes that no hook reports.

A hook rings, and gets its answer when the kernel has the rules. Otherwise the service
sleeps until a file, an address or a ruleset changes, or libvirt's own files show that a
guest or a network has changed. Then it reconciles as a hook does, under the same lock.
The state directory has all that it knows, so it may be killed and started at any time.
Its loop waits only for the lock, and not long; background_jobs do what takes time.
"""

import select
import time
from collections.abc import Callable

from ..config import last_good
from ..host.systemd_notify import notify, watchdog_seconds
from ..libvirt.daemons import SERVES
from ..libvirt.status_directories import DIRECTORIES
from ..reconcile.reconciler import Reconciler
from ..store.state import State
from ..values.errors import OutOfTime, VfwError
from . import watched_files
from .background_jobs import COMPILE, BackgroundJobs, Surveyor
from .children import Children
from .event_counter import EventCounter
from .guest_news import GuestNews
from .hook import DEAF
from .kernel_news import Rulesets
from .log import WARNING, Log
from .ringing_hooks import RingingHooks
from .schedule import Schedule
from .selinux_news import PolicyNews
from .watched_files import ASIDE, DAEMON, FULL, LATE, Watched

_SOON, _DEBOUNCE = 0.02, 0.1
_LEGACY_CHECK, _CHECK_PERIOD = 10.0, 60.0
_UP = 1.0  # seconds from the file of a daemon until the daemon can answer
_DUE_IN = {FULL: _DEBOUNCE, LATE: 0.0, DAEMON: _UP, ASIDE: _DEBOUNCE}
# Seconds to wait for the lock: less than a ringing hook waits, and for our own work.
_RING_PATIENCE, _PATIENCE = 0.4, 5.0
_EDIT_PATIENCE = 0.5  # seconds that a ringing hook waits for an edit to come into force
_DAEMONS = [f"/run/{name}.pid" for name in SERVES if name != "virtnetworkd"]
_RETRY_AT_FIRST, _RETRY_AT_MOST = 1.0, 60.0


class Watch:
    """Receives news, and has the work done that they call for."""

    def __init__(self, state: State, config: str) -> None:
        self._state = state
        self._config = config
        self._counter = EventCounter(state)
        self._rulesets = Rulesets()
        self._policy = PolicyNews()
        self._schedule = Schedule()
        self._tick = watchdog_seconds() / 2
        self._take_base()
        self._retry = _RETRY_AT_FIRST
        self._is_short = False
        self._poll = select.poll()
        self._log = Log(self._poll)
        self._ringing = RingingHooks(state.path, self._poll)
        paths = {"VFWHOOKS_STATE": state.path, "VFWHOOKS_CONFIG": config}
        self._children = Children(self._poll, **paths)
        self._jobs = BackgroundJobs(
            state, config, self._children, self._schedule, self._log
        )
        self._surveyor = Surveyor(self._jobs, self._schedule, self._rulesets)
        self._guests = GuestNews(state, self._schedule, self._poll, self._log)
        leases = list(self._guests.leases)
        self._watched = Watched(state.path, config, leases, DIRECTORIES, _DAEMONS)
        for source in (self._watched, self._rulesets):
            self._poll.register(source, select.POLLIN)
        if self._policy.fileno() >= 0:
            self._poll.register(self._policy, select.POLLIN)

    def run(self) -> None:
        """Run until the process is ended."""
        self._ringing.stay_open(self._log)
        notify("READY=1")
        self._listen()
        self._jobs.withdraw_hooks()
        self._jobs.ask_libvirtd()
        self._schedule.add("start", 0)
        beat = check = time.monotonic() + self._tick
        while True:
            until = min(beat, check, self._schedule.next(), self._children.next())
            wait = max(0.0, until - time.monotonic())
            if self._turn([fd for fd, _ in self._poll.poll(wait * 1000 + 1)]):
                check = min(check, time.monotonic() + self._period)
            now = time.monotonic()
            if now >= beat:
                notify("WATCHDOG=1")
                self._counter.keep()
                self._log.send()
                beat = now + self._tick
            if now >= check:
                check = now + self._period
                self._schedule.add("check", 0)

    def _turn(self, heard: list[int]) -> bool:
        """Read the news, and do the work that is due; True after a check."""
        ready = set[str]()
        try:
            for fd in heard:
                self._hear(fd)
            if self._ringing.is_rung():
                self._answer()
            self._children.end_late_ones()
            ready = self._schedule.take()
            return self._work(ready)
        except (OSError, VfwError) as error:
            # The state directory is full or was removed, a list changes all the time.
            self._log.say(str(error), WARNING)
            for what in {"anew", *ready}:
                self._schedule.add(what, _RETRY_AT_FIRST, _RETRY_AT_FIRST)
            return False

    def _work(self, ready: set[str]) -> bool:
        """Do the work that is due; True after a check of the rules and events."""
        if "anew" in ready:
            ready = self._begin_anew(ready)
        if "check" in ready:
            self._ringing.stay_open(self._log)
            self._listen()
            self._surveyor.poll()
        self._drop_vain(ready)
        self._run_errands(ready)
        if not ready:
            return False
        if ready != {"compiled"}:
            self._jobs.compile_edited()
        self._reconcile(not ready.isdisjoint({"elements", "compiled"}))
        if "compiled" in ready:
            self._ringing.answer()
            self._guests.listen_on_demand()
        if "start" in ready:
            self._guests.try_listeners()
            self._guests.listen_on_demand()
        return True

    def _begin_anew(self, ready: set[str]) -> set[str]:
        """Make removed directories again, and read all files; what is due then."""
        self._state.make(is_sure=False)
        self._ringing.stay_open(self._log)
        self._guests.look_at_all()
        return ready - {"anew"} | {"guests", "elements"}

    def _drop_vain(self, ready: set[str]) -> None:
        """Drop work that turns out to have no news, or no news of ours yet."""
        if "guests" in ready and not self._guests.follow():
            ready.remove("guests")
        if "listeners" in ready and not self._guests.try_listeners():
            ready.remove("listeners")
        self._surveyor.work(ready)

    def _run_errands(self, ready: set[str]) -> None:
        """Do the work that changes no rule itself, and remove it from `ready`."""
        if "routing" in ready and self._guests.plan_rerouted():
            self._jobs.compile()
        if "policy" in ready:
            self._jobs.withdraw_hooks()
        if "aside" in ready or "daemon" in ready:
            self._jobs.ask_libvirtd()
        if "answer" in ready:
            self._answer(is_late=True)
        if "asked" in ready:
            notify("STATUS=libvirt has been asked who runs")
        ready -= {"policy", "daemon", "answer", "asked"}

    def _answer(self, is_late: bool = False) -> None:
        """Answer the hooks that ring: after their events have been carried out, and
        after an edit that is about to come into force, unless it `is_late`."""
        # With many hooks there is no room for more before these are answered.
        is_late = is_late or self._ringing.is_full()
        if not last_good.has_good(self._state):
            self._jobs.compile_edited()
            self._ringing.answer()  # a hook compiles for itself
        elif not is_late and not last_good.is_in_force(self._state, self._config):
            self._jobs.compile_edited()
            self._schedule.add("answer", _EDIT_PATIENCE)
        else:
            if self._ringing.waits_for_work():
                self._under_lock(_RING_PATIENCE, self._carry_out)
            self._ringing.answer()
        self._take_base()

    def _carry_out(self, reconcile: Reconciler) -> None:
        """Carry out the events of hooks, and answer the hooks when the kernel has the
        rules: they need not wait for cuts of connections, nor for later events."""
        reconcile.carry_out(tell=self._ringing.answer)
        self._ringing.answer()

    def _under_lock(
        self, patience: float, work: Callable[[Reconciler], None]
    ) -> "list[str] | None":
        """Have a holder of the lock work, and log what it says; the problems. None if
        another process has the lock, and much to do."""
        try:
            lock = self._state.lock(time.monotonic() + patience)
            reconcile = Reconciler(
                self._state,
                self._config,
                self._guests.inventory(),
                lock=lock,
                is_apart=True,
            )
            try:
                work(reconcile)
            finally:
                reconcile.close()
                self._rulesets.pass_over(reconcile.tools)
            problems = reconcile.report.problems
            said = self._counter.take(reconcile.report)
        except OutOfTime:
            return None
        except (OSError, VfwError) as error:
            problems = said = self._counter.fail(error)
        for line in said:
            self._log.say(line)
        return problems

    def _listen(self) -> None:
        """Watch all files that count, and read directories that are newly watched."""
        new = self._watched.listen()
        if self._watched.is_short:
            if not self._is_short:
                self._log.say(watched_files.SHORT, WARNING)
            self._guests.look_at_all()
        self._is_short = self._watched.is_short
        self._look(new)
        self._state.remove(DEAF)  # the service lives; the mark may be older

    def _look(self, directories: set[str]) -> None:
        """Read all files in directories whose news may have been missed."""
        self._guests.look(directories)
        if directories.intersection(self._watched.guests):
            self._guests.look_at_records()
            self._schedule.add("anew", _DEBOUNCE)  # its removal may go on

    def _hear(self, fd: int) -> None:
        if self._ringing.knows(fd):
            self._ringing.hear(fd)
        elif self._children.knows(fd):
            self._children.hear(fd)
        elif fd == self._rulesets.fileno():
            rules, elements = self._rulesets.read(self._base)
            if rules:
                self._schedule.add("rules", _DEBOUNCE)
            if elements:
                self._schedule.add("elements", _DEBOUNCE)
            self._surveyor.hear()
        elif self._log.knows(fd):
            self._log.send()
        elif fd == self._policy.fileno():
            if self._policy.read():
                self._schedule.add("policy", _DEBOUNCE)
        elif fd == self._watched.fileno():
            self._files(self._watched.read())
        else:
            self._guests.hear(fd)

    def _files(self, news: dict[str, set[str]]) -> None:
        for kind in news.keys() & _DUE_IN.keys():
            self._schedule.add(kind, _DUE_IN[kind])
        if watched_files.DEAF in news:
            self._state.remove(DEAF)  # the service lives
        self._guests.hear_status(news.get(watched_files.STATUS, set()))
        if watched_files.CONFIG in news or watched_files.STATE in news:
            self._listen()
        if watched_files.CONFIG in news:
            self._schedule.add("config", last_good.SETTLED + _SOON, 3600)
        # Records first: a lease is about the endpoint that a guest has by now.
        if watched_files.RECORD in news:
            self._guests.hear_records(news[watched_files.RECORD])
        for path in news.get(watched_files.LEASE, ()):
            self._guests.hear_lease(path)
        self._look(news.get(watched_files.DIRECTORY, set()))

    def _reconcile(self, is_full: bool) -> None:
        """Carry out the events, and check what is to be checked."""
        is_compiling = self._children.is_at(COMPILE)
        if not last_good.has_good(self._state):
            # Meanwhile hooks carry out their events: they compile, and wait for it.
            if is_compiling:
                return  # the end of the compilation starts a full sync
            if not last_good.is_settled(self._config):
                self._schedule.add("again", self._retry, self._retry)
                return
        problems = self._under_lock(_PATIENCE, lambda one: one.check(is_full))
        is_done = problems is not None
        is_in_force = is_done and last_good.is_in_force(self._state, self._config)
        # Not in force: the file could not be read, or is still being written.
        if problems or not (is_in_force or is_compiling):
            # The problem leaves a mark, which is no reason to try again at once.
            news = self._watched.read()
            news.pop(FULL, None)
            self._files(news)
            is_left = is_full and problems != [] and not self._state.is_full_asked()
            what = "elements" if is_left else "again"  # the full sync has not begun
            self._schedule.add(what, self._retry, self._retry)
            self._retry = min(2 * self._retry, _RETRY_AT_MOST)
        elif is_in_force:  # while it is being compiled, this is not known
            self._retry = _RETRY_AT_FIRST
        self._take_base()

    def _take_base(self) -> None:
        """Read the notes on the firewall: they say what to listen for, and how often to
        check. iptables' legacy variant reports no changes."""
        self._base = self._state.base()
        is_legacy = self._base.get("variant") == "legacy"
        usual = max(self._tick, _CHECK_PERIOD)
        self._period = min(self._tick, _LEGACY_CHECK) if is_legacy else usual


def main(state: str, config: str) -> None:
    """Run the service until it is ended."""
    Watch(State(state), config).run()
