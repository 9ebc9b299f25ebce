"""Changes by events: the record of each guest before the events, and after them."""

import time

from ..store.asking import note_stopped, stopped_at
from ..store.records import GuestEvent, Hairpin, Key, Record
from ..store.state import State
from ..values.guests import Guest

_RUNNING = "starting", "started", "reconnected", "found", "away"


class PendingChanges:
    """Follows events. `before` and `after` are records by key (None for no guest);
    `hairpins` are ports that may have been set by now, `networks` those that have
    started, stopped or changed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.before: dict[Key, Record | None] = {}
        self.after: dict[Key, Record | None] = {}
        self.hairpins: dict[Key, list[Hairpin]] = {}
        self.networks: set[str] = set()
        self._stopped: dict[Key, int] = {}

    def follow(self, guest_event: GuestEvent, is_away: bool = False) -> None:
        """Take in an event; with `is_away` the guest does not run here (see
        records)."""
        guest = guest_event.guest
        if guest_event.operation in _RUNNING:
            old = self._now((guest.driver, guest.name))
            same = old if old and old.guest.uuid == guest.uuid else None
            since = same.since if same else guest_event.stamp
            is_followed = same.is_followed if same else True
            self._put(
                guest,
                since,
                guest_event.stamp,
                is_followed and guest_event.operation == "found",
                is_away,
            )
        elif guest_event.operation == "moved":
            self._now((guest.driver, guest.name))
        elif guest_event.operation == "network":
            self.networks.add(guest.name)
        elif guest_event.operation == "stopped":
            self._now((guest.driver, guest.name))
            self.after[guest.driver, guest.name] = None
            self._stopped[guest.driver, guest.name] = guest_event.stamp

    def postpone(self) -> None:
        """Write down which guests run and which have stopped, for a later holder of the
        lock that can change the kernel."""
        for key, record in self.after.items():
            old = self.before[key]
            if record:
                record.hairpins = self.hairpins.get(key, record.hairpins)
                self._state.keep(record)
            elif old:
                old.is_off = True
                old.stamp = self._stopped.get(key, old.stamp)
                self._state.keep(old)

    def note_stops(self) -> None:
        """Note stops of guests without a record, for processes that are asking
        libvirtd: the answer may name these guests, which do not run any more."""
        for key, stamp in self._stopped.items():
            if self.before[key] is None and self.after[key] is None:
                note_stopped(self._state, key, stamp)

    def _put(
        self,
        guest: Guest,
        since: int,
        stamp: int,
        is_followed: bool,
        is_away: bool = False,
    ) -> None:
        key = guest.driver, guest.name
        old = self.before[key]
        entries, networks = (old.entries, old.networks) if old else ([], [])
        record = self.after[key] = Record(guest, since, stamp, entries, networks)
        record.is_followed = is_followed
        record.hairpins = old.hairpins if old else []
        record.yields, record.seen = (old.yields, old.seen) if old else ([], {})
        record.ousted = old.ousted if old else []
        record.claims = old.claims if old else []
        record.public = old.public if old else {}
        record.is_returned = old.is_returned if old else False
        record.is_shared = old.is_shared if old else False
        record.shares = old.shares if old else []
        record.is_away, record.left = is_away, old.left if old else []

    def arrived(self) -> list[Record]:
        """The guests that run here again, or for the first time after a migration."""
        return [
            new
            for key, old in self.before.items()
            if old and old.is_away and (new := self.after[key]) and not new.is_away
        ]

    def correct(self, guests: list[Guest], drivers: list[str], asked: int) -> None:
        """Take in libvirtd's answer, asked for at the time `asked` (monotonic ns); a
        later event about a guest counts more."""
        running = {(guest.driver, guest.name): guest for guest in guests}
        for record in self._state.records():
            if record.guest.driver in drivers and record.key not in running:
                now = self._now(record.key)
                if now and not _is_later(now.stamp, asked):
                    self.after[record.key] = None
        for key, guest in running.items():
            now = self._now(key)
            if now and not _is_later(now.stamp, asked):
                stamp = min(now.stamp, asked)
                if now.guest.uuid == guest.uuid:
                    is_away = now.is_away and _is_still_away(guest)
                    self._put(guest, now.since, stamp, now.is_followed, is_away)
                else:
                    self._put(guest, asked, stamp, is_followed=True)
            elif now is None and not _is_later(self._stopped_at(key), asked):
                self._put(guest, asked, asked, is_followed=True)

    def _stopped_at(self, key: Key) -> int:
        """When the guest stopped, whether that stop has been carried out or not."""
        old = self.before[key]
        if key in self._stopped:
            return self._stopped[key]
        return old.stamp if old and old.is_off else stopped_at(self._state, key)

    def _now(self, key: Key) -> "Record | None":
        """The guest's record after the events so far; None if it has stopped."""
        if key not in self.before:
            old = self.before[key] = self._state.record(key)
            self.after[key] = None if old and old.is_off else old
        return self.after[key]


def without_former_names(records: list[Record]) -> list[Record]:
    """The records without former names of a guest that was renamed: the latest name
    counts."""
    latest = sorted(records, key=lambda record: record.stamp)
    newest = {(one.guest.driver, one.guest.uuid): one for one in latest}
    return [
        one
        for one in records
        if not one.guest.uuid or newest[one.guest.driver, one.guest.uuid] is one
    ]


def _is_still_away(guest: Guest) -> bool:
    from ..libvirt.status_follower import is_migrating  # few need it

    return is_migrating(guest)


def _is_later(stamp: int, asked: int) -> bool:
    """Whether libvirt's word is later; a stamp in the future is of another boot."""
    return asked < stamp <= time.monotonic_ns()
