"""What guests share: an address, at which one of them can be, and a network, whose
entries are needed once for all.

It is noted in files of their own, so that an event reads no other guest's record:
addresses/ADDRESS says whose it is, members/NETWORK/ has a file for each guest.
"""

from __future__ import annotations

import posix

from ..store import files
from ..store.records import Key, Ousted, Record
from ..store.state import DRIVERS, State, member_name, record_name
from ..values.entries import Accept
from ..values.errors import NeedsFullSync, show
from ..values.needs import Need, WayNeed
from .planner import Planner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from ..values.published import Address

    Pair = tuple[Optional[Record], Optional[Record]]


class References:
    """Who is where and needs what, for a holder of the lock."""

    def __init__(self, state: State) -> None:
        self._state = state

    def change(self, pairs: list[Pair], planner: Planner) -> list[Pair]:
        """Note what changes for guests, each as it was and as it will be; what changes
        by that for their networks. Raises NeedsFullSync where others have a say.

        All come before any goes: what the last one leaves, another may need.
        """
        if len(pairs) > 1:
            note_ousted(pairs)
        changed = [(one.key, o, n) for o, n in pairs if (one := n or o) is not None]
        for key, old, new in changed:
            for address in _addresses(old) - _addresses(new):
                self.release(address, key)
        joined: dict[Need, None] = {}
        started = {key for key, _, new in changed if new}
        for key, old, new in changed:
            if new and new.entries and self._has_namesake(key, started):
                raise NeedsFullSync(f"another driver has a guest {show(key[1])}, too")
            for address in _addresses(new) - _addresses(old):
                if not self.claim(address, key):
                    raise NeedsFullSync(f"another guest is at {address}")
            for need in _needs(new) - _needs(old):
                self.join(need.name, key)
                joined[need] = None
        found: list[Pair] = []
        for need in joined:
            if not self._state.record(("network", need.name)):
                shared = planner.shared(need)
                if shared:
                    found.append((None, shared.settled()))
        for key, old, new in changed:
            for need in _needs(old) - _needs(new):
                if self.leave(need.name, key):
                    found.append((self._state.record(("network", need.name)), None))
        return found

    def _has_namesake(self, key: Key, started: set[Key]) -> bool:
        """Whether a guest of another driver has this name: forwards.yaml means both."""
        others = [(d, key[1]) for d in DRIVERS if d not in ("network", key[0])]
        return any(one in started or self._state.record(one) for one in others)

    def claim(self, address: Address, key: Key) -> bool:
        """Note that the guest is at the address; False if another one is."""
        name, whose = f"addresses/{address}", record_name(key)
        if self._state.read(name) in ("", whose):
            self._state.write(name, whose)
            return True
        return False

    def release(self, address: Address, key: Key) -> None:
        """The guest is not at the address any more."""
        if self._state.read(f"addresses/{address}") == record_name(key):
            self._state.remove(f"addresses/{address}")

    def join(self, network: str, key: Key) -> None:
        """Note that the guest needs the network's entries."""
        try:
            posix.mkdir(f"{self._state.path}/members/{files.file_name(network)}", 0o700)
        except FileExistsError:
            pass
        self._state.write(_member(network, key), "")

    def leave(self, network: str, key: Key) -> bool:
        """The guest does not need them any more; whether it was the last."""
        self._state.remove(_member(network, key))
        try:
            posix.rmdir(f"{self._state.path}/members/{files.file_name(network)}")
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def note_anew(self, records: list[Record]) -> None:
        """Note it all from everybody's records, and nothing else. What is noted already
        is left alone: of thousands, hardly any are news."""
        whose: dict[str, Key] = {}
        members: dict[str, tuple[str, Key]] = {}
        for record in records:
            for address in _addresses(record):
                whose.setdefault(f"addresses/{address}", record.key)
            for need in record.networks:
                members[_member(need.name, record.key)] = need.name, record.key
        for name in self._names("addresses"):
            if name in whose and self._state.read(name) == record_name(whose[name]):
                del whose[name]
            else:
                self._state.remove(name)
        for directory in self._names("members"):
            for name in self._names(directory):
                if members.pop(name, None) is None:
                    self._state.remove(name)
            try:
                posix.rmdir(f"{self._state.path}/{directory}")
            except OSError:
                pass  # some are left
        for name, key in whose.items():
            self._state.write(name, record_name(key))
        for network, key in members.values():
            self.join(network, key)

    def _names(self, directory: str) -> list[str]:
        return [f"{directory}/{name}" for name in self._state.names(directory)]


def note_ousted(pairs: list[Pair]) -> None:
    """Note with a guest that comes to an address who has just been there and goes on
    running: if that is a clone with the same lease, it will be seen there again."""
    left = {
        address: new.guest.nics
        for old, new in pairs
        if old and new
        for address in _addresses(old) - _addresses(new)
    }
    for old, new in pairs if left else ():
        for address in _addresses(new) - _addresses(old):
            if new and address in left:
                new.ousted += [Ousted(address, nic.mac) for nic in left[address]]


def share_entries(pairs: list[Pair]) -> None:
    """Have the same entries be the same objects, which are compared at once."""
    for old, new in pairs:
        if old and new and old.entries == new.entries:
            new.entries = old.entries


def need_ways(pairs: list[Pair]) -> bool:
    """Whether answers of these guests take, or took, ways of their own (see
    waysback)."""
    records = [record for pair in pairs for record in pair if record]
    needs = [need for record in records for need in record.networks]
    return any(isinstance(need, WayNeed) for need in needs)


def _member(network: str, key: Key) -> str:
    """The file that says that the guest needs the network's entries."""
    return f"members/{files.file_name(network)}/{member_name(key)}"


def _needs(record: Record | None) -> set[Need]:
    return set(record.networks) if record else set()


def _addresses(record: Record | None) -> set[Address]:
    entries = record.entries if record else []
    return {entry.address for entry in entries if isinstance(entry, Accept)}
