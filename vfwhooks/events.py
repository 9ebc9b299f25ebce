"""What events change: each guest's record before them, and after them."""

from .model import Guest
from .records import Intent, Key, Record
from .state import DRIVERS, State


class Events:
    """Follows events; `before` and `after` are records by key, None for no guest."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.before: dict[Key, Record | None] = {}
        self.after: dict[Key, Record | None] = {}

    def follow(self, intent: Intent) -> None:
        """Note what the event changes."""
        guest = intent.guest
        if intent.operation in ("plugged", "unplugged"):
            self._plug(guest, intent.operation == "plugged")
        elif intent.operation in ("started", "reconnected"):
            old = self._now((guest.driver, guest.name))
            same = old is not None and old.guest.uuid == guest.uuid
            since = old.since if old and same else intent.stamp
            self._put(guest, since)
        elif intent.operation == "stopped":
            self._now((guest.driver, guest.name))
            self.after[guest.driver, guest.name] = None

    def _plug(self, port: Guest, is_in: bool) -> None:
        """An interface of a running guest; a guest that starts is not recorded yet."""
        for driver in DRIVERS:
            owner = self._now((driver, port.name)) if driver != "network" else None
            if owner and owner.guest.uuid == port.uuid:
                rest = [nic for nic in owner.guest.nics if nic.mac != port.nics[0].mac]
                nics = rest + (port.nics if is_in else [])
                self._put(Guest(driver, port.name, port.uuid, nics), owner.since)

    def _put(self, guest: Guest, since: int) -> None:
        key = guest.driver, guest.name
        old = self.before[key]
        entries, networks = (old.entries, old.networks) if old else ([], [])
        self.after[key] = Record(guest, since, entries, networks)

    def _now(self, key: Key) -> "Record | None":
        if key not in self.before:
            self.before[key] = self.after[key] = self._state.record(key)
        return self.after[key]
