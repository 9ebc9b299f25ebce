"""News of guests: leases, neighbours, records, listeners on their ports, and libvirt's
status files. Each piece of news makes an event that plans its guest anew."""

from __future__ import annotations

import select

from ..config import compiled_file
from ..libvirt.inventory import DNSMASQS, LEASES, Inventory
from ..libvirt.status_directories import DIRECTORIES
from ..libvirt.status_follower import Follower
from ..reconcile.planner import Planner
from ..reconcile.sync_report import FREE
from ..store import files
from ..store.records import Record
from ..store.state import State
from ..values.entries import Accept
from ..values.errors import VfwError
from ..values.published import Address
from .guest_cache import GuestCache
from .host_network_news import NewsOnDemand
from .kernel_news import Neighbours
from .lease_changes import LeaseChanges
from .log import WARNING, Log
from .schedule import Schedule

_SOON, _DEBOUNCE = 0.02, 0.1
_LISTENER_CHECK = 5.0


class GuestNews:
    """Receives news by `poll`, and puts work into the schedule; `leases` are the
    directories of dnsmasq's files."""

    def __init__(
        self, state: State, schedule: Schedule, poll: select.poll, log: Log
    ) -> None:
        self._state = state
        self._schedule = schedule
        self._log = log
        self.leases = {d: LeaseChanges(d) for d in (LEASES, *DNSMASQS)}
        self._inventory = Inventory(f"{state.path}/networks")
        self._neighbours = Neighbours()
        self._guest_cache = GuestCache(state)
        self._follower = Follower(state)
        self._occasional = NewsOnDemand(state, self._guest_cache, poll, schedule)
        for source in (self._neighbours, self._follower):
            poll.register(source, select.POLLIN)

    def hear(self, fd: int) -> None:
        """Read news of neighbours, of guests' processes, or of sources on demand."""
        if fd == self._neighbours.fileno():
            for one in self._neighbours.read():
                if self._guest_cache.is_new(one.mac, one.address):
                    self._found(one.mac, one.address)
        elif fd == self._follower.fileno():
            self._follower.hear_processes()
            self._schedule.add("guests", _SOON)
        else:
            self._occasional.hear(fd)

    def hear_status(self, paths: set[str]) -> None:
        """Files beside libvirt's status files have changed."""
        if self._follower.hear(paths):
            self._schedule.add("guests", _SOON)

    def hear_lease(self, path: str) -> None:
        """A file beside the lease files has changed."""
        directory, _, name = path.rpartition("/")
        if name.endswith((".status", ".leases")):
            changes = self.leases[directory]
            for mac, address in changes.news(name):
                self._found(mac, address, is_leased=True)
            # That the guest is elsewhere was no news as long as it had the lease.
            for mac, address in changes.gone:
                for record in self._guest_cache.holders(mac, address):
                    self._doubt(record, [address])

    def hear_records(self, paths: set[str]) -> None:
        """Records of guests have changed."""
        start = len(self._state.path) + 1
        self._heed(self._guest_cache.read([path[start:] for path in paths]))

    def look(self, directories: set[str]) -> None:
        """Read all files in directories whose news may have been missed: leases and
        libvirt's status files."""
        for directory in directories.intersection(self.leases):
            for name in files.names(directory):
                self.hear_lease(f"{directory}/{name}")
        for directory in directories.intersection(DIRECTORIES):
            self._follower.look(directory)
            self._schedule.add("guests", _SOON)

    def look_at_records(self) -> None:
        """Read all records."""
        self._heed(self._guest_cache.look())

    def look_at_all(self) -> None:
        """Read all leases, status files and records."""
        self.look({*self.leases, *DIRECTORIES})
        self.look_at_records()

    def follow(self) -> bool:
        """Write events for changes that libvirt's files show and no hook has reported;
        True if there are any."""
        self._state.make()
        is_news = self._follower.note()
        for line in self._follower.problems:
            self._log.say(line, WARNING)
        self._follower.problems.clear()
        return is_news

    def inventory(self) -> Inventory:
        """What the next holder of the lock looks up; it includes what no look finds."""
        found = Inventory(f"{self._state.path}/networks")
        found.know_silent(self._guest_cache.silent())
        return found

    def listen_on_demand(self) -> None:
        """Listen to what guests and the configuration need now."""
        self._occasional.listen()

    def plan_rerouted(self) -> bool:
        """Plan anew the guests that the host's routing concerns; its news have calmed
        down. True if the configuration has to be compiled for other addresses of the
        host."""
        self._occasional.plan_rerouted()
        return self._occasional.has_moved()

    def try_listeners(self) -> bool:
        """Plan anew the guests with ports that a listener has left, or is to keep since
        it has been there for a while; True if there are any. The kernel does not report
        the end of listeners."""
        yielding = self._guest_cache.yielding()
        if yielding:
            self._schedule.add("listeners", _LISTENER_CHECK, _LISTENER_CHECK)
        config = compiled_file.load(self._state.path) if yielding else None
        if config is None:
            return False
        inventory = Inventory(f"{self._state.path}/networks")
        planner = Planner(config, inventory, self._state.record)
        news = []
        for record in yielding:
            planner.know_earlier(self._guest_cache.earlier(record))
            news += [record] if _is_news(record, planner) else []
        for record in news:
            if record.guest.driver == "claim":
                self._state.ask_full(FREE)
            else:
                self._guest_cache.plan_anew(record)
        config.close()
        return bool(news)

    def _heed(self, is_whole: bool) -> None:
        """React to changed records; `is_whole` is False if one could not be read."""
        if not is_whole:
            self._schedule.add("elements", _DEBOUNCE)  # a full sync sets it aside
        if self._guest_cache.yielding():
            self._schedule.add("listeners", _LISTENER_CHECK, _LISTENER_CHECK)
        # A lease or a neighbour may have come between the hook's look at it and the
        # record.
        waiting = self._guest_cache.waiting()
        found = [
            (mac, address)
            for mac in waiting
            for leases in self.leases.values()
            for address in leases.of(mac)
        ]
        if waiting:
            found += [(one.mac, one.address) for one in self._neighbours.known()]
        for mac, address in found:
            if address.version in waiting.get(mac, ()):
                self._found(mac, address)
        self._occasional.listen()

    def _found(self, mac: str, address: Address, is_leased: bool = False) -> None:
        """A MAC is at an address, or is about to be: plan anew the guests that this
        concerns.

        A guest that was at another address before may have both; without a lease for
        the new one it keeps the old endpoint until the old address does not answer.
        """
        for record in self._guest_cache.concerned(mac, address):
            accepts = [one for one in record.entries if isinstance(one, Accept)]
            there = [one.address for one in accepts if mac]
            doubted = [one for one in there if one.version == address.version]
            # That nobody answered at the new one does not count any more.
            self._doubt(record, [*doubted, address] if is_leased else doubted)

    def _doubt(self, record: Record, addresses: list[Address]) -> None:
        """Plan the guest anew, and have the kernel ask whether it is there."""
        self._guest_cache.plan_anew(record)
        self._schedule.add("addresses", _SOON)
        bridges = self._bridges(record) if addresses else ()
        for one in addresses:
            self._guest_cache.expect(one)
            for bridge in bridges:
                self._inventory.probe(bridge, one)

    def _bridges(self, record: Record) -> set[str]:
        """The bridges of a guest; libvirt before 1.2.11 or so names networks alone."""
        self._inventory.look_anew()
        found = set()
        for nic in record.guest.nics:
            network = None if nic.bridge else self._inventory.network(nic.network)
            found.add(network.bridge if network else nic.bridge)
        return found - {""}


def _is_news(record: Record, planner: Planner) -> bool:
    """Whether other listeners now count for the published ports than in the record."""
    try:
        now = planner.plan(record).settled()
    except (OSError, VfwError):
        return True  # the sync gives the reason
    return (now.yields, now.seen) != (record.yields, record.seen)
