"""`vfwhooks watch`: what changes while no guest starts, and what no hook tells.

It sleeps until a file, an address or a ruleset changes, or libvirt's own files say that
a guest or a network does, and then does what a hook would: one reconcile, under the
same lock. It holds nothing that the state directory
does not have, so it may be killed and started at any time. What is heavy (YAML,
templates, asking libvirtd) runs in a child.
"""

import select
import syslog
import time

from . import compiled, configuration, files, watched
from .children import Surveyor, ask_libvirtd, withdraw_hooks
from .entries import Accept
from .errors import VfwError, show
from .follower import DIRECTORIES, Follower
from .inventory import DNSMASQS, LEASES, Inventory
from .leases import Leases
from .monitor import Neighbours, PolicyNews, Rulesets
from .occasional import Occasional
from .planner import Planner
from .process import Run
from .published import parse_address
from .reconcile import Reconcile
from .records import Intent
from .residents import Residents
from .schedule import Schedule
from .sdnotify import notify, watchdog_seconds
from .state import State
from .watched import Watched

_SOON, _DEBOUNCE = 0.02, 0.1
_LEGACY_CHECK, _LISTENER_CHECK = 10.0, 5.0
_LONGEST_COMPILE = 60.0
_RETRY_AT_FIRST, _RETRY_AT_LEAST = 1.0, 60.0


class Watch:
    """Listens to news, and sees to it that what they call for is done."""

    def __init__(self, state: State, config: str) -> None:
        self._state = state
        self._config = config
        self._leases = {d: Leases(d) for d in (LEASES, *DNSMASQS)}
        self._watched = Watched(state.path, config, list(self._leases), DIRECTORIES)
        self._inventory = Inventory(f"{state.path}/networks")
        self._rulesets = Rulesets()
        self._neighbours = Neighbours()
        self._policy = PolicyNews()
        self._residents = Residents(state)
        self._follower = Follower(state)
        self._schedule = Schedule()
        self._surveyor = Surveyor(state, self._schedule, self._rulesets)
        self._period = self._tick = watchdog_seconds() / 2
        self._base = state.base()
        self._retry = _RETRY_AT_FIRST
        self._poll = select.poll()
        self._occasional = Occasional(
            state, self._residents, self._poll, self._schedule
        )
        sources = self._watched, self._rulesets, self._neighbours, self._follower
        for source in sources:
            self._poll.register(source, select.POLLIN)
        if self._policy.fileno() >= 0:
            self._poll.register(self._policy, select.POLLIN)

    def run(self) -> None:
        """Until we are ended."""
        self._listen()
        withdraw_hooks(self._state)
        ask_libvirtd()
        self._take_base()
        self._try_again()
        notify("READY=1")
        beat = time.monotonic() + self._period
        while True:
            until = min(beat, self._schedule.next())
            wait = max(0.0, until - time.monotonic())
            for fd, _ in self._poll.poll(wait * 1000 + 1):
                self._hear(fd)
            now, ready = time.monotonic(), self._schedule.take()
            if "anew" in ready:
                self._state.make(is_sure=False)
                self._look(set(DIRECTORIES))
                ready = ready - {"anew"} | {"guests", "elements"}
            if "guests" in ready and not self._follow():
                ready.remove("guests")
            if "listeners" in ready and not self._try_again():
                ready.remove("listeners")
            self._surveyor.work(ready)
            if "routing" in ready:
                self._occasional.plan_rerouted()
            if "policy" in ready:
                withdraw_hooks(self._state)
                ready.remove("policy")
            if "aside" in ready:
                ask_libvirtd()
            if ready:
                self._reconcile("elements" in ready)
                beat = min(beat, now + self._period)
            if now >= beat:
                notify("WATCHDOG=1")
                beat = now + self._period
                self._listen()
                self._schedule.add("check", 0)
                self._surveyor.poll()

    def _listen(self) -> None:
        """Listen to all files that count, and look at what a directory has that was not
        listened to so far."""
        self._look(self._watched.listen())

    def _look(self, directories: set[str]) -> None:
        """Look at all that is in directories whose news may have been missed."""
        for directory in directories.intersection(self._leases):
            for name in files.names(directory):
                self._leased(directory, name)
        if directories.intersection(self._watched.guests):
            self._heed(self._residents.look())
            self._schedule.add("anew", _DEBOUNCE)  # who removes it may still be at it
        for directory in directories.intersection(DIRECTORIES):
            self._follower.look(directory)
            self._schedule.add("guests", _SOON)

    def _hear(self, fd: int) -> None:
        if fd == self._rulesets.fileno():
            rules, elements = self._rulesets.read(self._base)
            if rules:
                self._schedule.add("rules", _DEBOUNCE)
            if elements:
                self._schedule.add("elements", _DEBOUNCE)
            self._surveyor.hear()
        elif fd == self._neighbours.fileno():
            for mac, address in self._neighbours.read():
                if self._residents.is_new(mac, address):
                    self._found(mac, address)
        elif fd == self._policy.fileno():
            if self._policy.read():
                self._schedule.add("policy", _DEBOUNCE)
        elif fd == self._follower.fileno():
            self._follower.hear_processes()
            self._schedule.add("guests", _SOON)
        elif fd == self._watched.fileno():
            self._files(self._watched.read())
        else:
            self._occasional.hear(fd)

    def _files(self, news: dict[str, set[str]]) -> None:
        if watched.FULL in news:
            self._schedule.add("full", _DEBOUNCE)
        if watched.LATE in news:
            self._schedule.add("late", _DEBOUNCE)
        if self._follower.hear(news.get(watched.STATUS, ())):
            self._schedule.add("guests", _SOON)
        if watched.ASIDE in news:
            self._schedule.add("aside", _DEBOUNCE)
        if watched.CONFIG in news or watched.STATE in news:
            self._listen()
        if watched.CONFIG in news:
            self._schedule.add("config", configuration.SETTLED + _SOON, 3600)
        for path in news.get(watched.LEASE, ()):
            directory, _, name = path.rpartition("/")
            self._leased(directory, name)
        if watched.RECORD in news:
            start = len(self._state.path) + 1
            records = [path[start:] for path in news[watched.RECORD]]
            self._heed(self._residents.read(records))
        self._look(news.get(watched.DIRECTORY, set()))

    def _follow(self) -> bool:
        """Note what libvirt's files say and no hook has told; whether that is news."""
        self._state.make()
        is_news = self._follower.note()
        for line in self._follower.problems:
            syslog.syslog(syslog.LOG_WARNING, show(line))
        self._follower.problems.clear()
        return is_news

    def _leased(self, directory: str, name: str) -> None:
        if name.endswith((".status", ".leases")):
            for mac, address in self._leases[directory].news(name):
                self._found(mac, address)

    def _heed(self, is_whole: bool) -> None:
        """Records have changed; whether all of them could be read."""
        if not is_whole:
            self._schedule.add("elements", _DEBOUNCE)  # the full road sets it aside
        if self._residents.yielding():
            self._schedule.add("listeners", _LISTENER_CHECK, _LISTENER_CHECK)
        # A lease may have come between the hook's look at it and the record, and so may
        # a neighbour.
        waiting = self._residents.waiting()
        for mac in waiting:
            for leases in self._leases.values():
                for address in leases.of(mac):
                    self._found(mac, address)
        for mac, address in self._neighbours.known() if waiting else ():
            if mac in waiting:
                self._found(mac, address)
        self._occasional.listen()

    def _found(self, mac: str, address: str) -> None:
        """A MAC is at an address: have the guests planned anew to whom it is news.

        A guest that was somewhere else before may have both addresses; it stays where
        it is until that one does not answer any more.
        """
        for record in self._residents.concerned(mac, address):
            self._state.note(Intent("moved", record.guest, time.monotonic_ns()))
            self._schedule.add("addresses", _SOON)
            accepts = [one for one in record.entries if isinstance(one, Accept)]
            version = parse_address(address).version
            for one in [one.address for one in accepts if mac]:
                for bridge in {nic.bridge for nic in record.guest.nics}:
                    if one.version == version:
                        self._inventory.probe(bridge, str(one))

    def _try_again(self) -> bool:
        """Have the guests planned anew whose ports a listener had, and has no more, or
        is to keep since it has been there for a while; whether there are any. Nobody
        tells of listeners that end."""
        yielding, news = self._residents.yielding(), False
        config = compiled.load(f"{self._state.path}/compiled") if yielding else None
        if config:
            inventory = Inventory(f"{self._state.path}/networks")
            planner = Planner(config, inventory, self._state.record)
            for record in yielding:
                is_claim = record.guest.driver == "claim"
                try:
                    if is_claim:
                        now = planner.claim(record.guest.name).settled()
                    else:
                        now = planner.guest(record).settled()
                    is_same = (now.yields, now.seen) == (record.yields, record.seen)
                except (OSError, VfwError):
                    is_same = False  # who carries it out says why
                if not is_same and is_claim:
                    self._state.ask_full()
                    news = True
                elif not is_same:
                    stamp = time.monotonic_ns()
                    self._state.note(Intent("moved", record.guest, stamp))
                    news = True
            config.close()
            self._schedule.add("listeners", _LISTENER_CHECK, _LISTENER_CHECK)
        return news

    def _reconcile(self, is_full: bool) -> None:
        is_in_force = False
        try:
            is_new = self._compile()
            reconcile = Reconcile(self._state, self._config)
            try:
                reconcile.check(is_full or is_new)
            finally:
                reconcile.close()
            problems = self._state.problems + reconcile.report.problems
            said = reconcile.report.said
            self._state.problems = []
            is_in_force = configuration.is_in_force(self._state, self._config)
        except (OSError, VfwError) as error:
            problems, said = [str(error)], []
        for line in problems + said:
            syslog.syslog(syslog.LOG_NOTICE, show(line))
        # What the files say is not in force where they could not be read, or are still
        # being written.
        if problems or not is_in_force:
            # That leaves a mark: no reason to do the same again at once, but whatever
            # was in the way may have gone without a word.
            news = self._watched.read()
            news.pop(watched.FULL, None)
            self._files(news)
            self._schedule.add("again", self._retry, self._retry)
            self._retry = min(2 * self._retry, _RETRY_AT_LEAST)
        else:
            self._retry = _RETRY_AT_FIRST
        self._take_base()

    def _take_base(self) -> None:
        """What is known of the firewall says what to listen for, and how often to look:
        nobody tells of changes in iptables' legacy variant."""
        self._base = self._state.base()
        is_legacy = self._base.get("variant") == "legacy"
        self._period = min(self._tick, _LEGACY_CHECK) if is_legacy else self._tick

    def _compile(self) -> bool:
        """Compile what was edited, if something was, before the lock is taken: a large
        file takes longer than a hook may wait for it."""
        state, config = self._state, self._config
        if configuration.is_in_force(state, config):
            return False
        if configuration.is_settled(config):
            configuration.compile_apart(state, config, Run(seconds=_LONGEST_COMPILE))
        return True


def main(state: str, config: str) -> None:
    """Watch until ended."""
    syslog.openlog("vfwhooks", syslog.LOG_PID, syslog.LOG_DAEMON)
    Watch(State(state), config).run()
