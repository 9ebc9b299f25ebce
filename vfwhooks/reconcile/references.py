"""References that guests share: an address, at which only one guest can be, and a
network, whose entries all of its guests need once.

Small files hold them, so that an event reads no other guest's record: addresses/ADDRESS
names the guest at an address (and a port there, that guests share, its owner; see
port_owners), members/NETWORK/ has a file for each guest that needs the
network. Guests whose entries depend on a network without need of it are there, too: in
NETWORK/nics those with an interface on it, in /every those that depend on all networks.
In /metadata are the guests whose metadata publishes ports.
"""

from __future__ import annotations

import errno
import posix
from collections.abc import Collection, Mapping

from ..config.port_mappings import EXEMPT_PORTS
from ..store import files
from ..store.records import Key, Ousted, Pair, Record
from ..store.state import DRIVERS, State, member_name, record_name
from ..values.entries import Accept, Dnat, Entry, Exempt, Reject
from ..values.errors import NeedsFullSync, show
from ..values.guests import hosts_own
from ..values.needs import LoopbackNeed, Need, ReturnRouteNeed
from ..values.published import Address
from .planner import Planner
from .port_owners import claims_of

Changed = list[tuple[Key, "Record | None", "Record | None"]]

_EVERY = "/every"  # no name of a network has a slash
_METADATA = "/metadata"


class References:
    """The addresses and needs of guests, for a holder of the lock."""

    def __init__(self, state: State) -> None:
        self._state = state

    def change(
        self, pairs: list[Pair], planner: Planner, networks: Collection[str] = ()
    ) -> list[Pair]:
        """Note the changes of guests (each pair is a record before and after). Returns
        the pairs that follow for their needs, and for these networks, which have
        changed themselves. Raises NeedsFullSync if other guests are concerned.

        All joins come before any leave: another guest may need what the last one
        leaves.
        """
        if len(pairs) > 1:
            note_ousted(pairs)
        changed = [(one.key, o, n) for o, n in pairs if (one := n or o) is not None]
        self._look_for_namesakes(changed)
        self._look_at_metadata(changed, planner)
        self._change_addresses(changed)
        left = self._change_members(changed)
        joined = [n for _, old, new in changed for n in _needs(new) - _needs(old)]
        news = [need for name in networks for need in (Need(name), LoopbackNeed(name))]
        found: list[Pair] = []
        for need in dict.fromkeys([*joined, *news]):
            was = self._state.record(("network", need.name))
            if (need in news or not was) and self._members(need.name):
                shared = planner.shared(need)
                found.append((was, shared.settled() if shared else None))
        return found + [(self._state.record(("network", name)), None) for name in left]

    def _look_for_namesakes(self, changed: Changed) -> None:
        """Check that no guest of another driver has the same name: forwards.yaml means
        both. Raises NeedsFullSync."""
        started = {key for key, _, new in changed if new}
        for (driver, name), _, new in changed:
            others = [(d, name) for d in DRIVERS if d not in ("network", driver)]
            is_meant = new and new.entries and driver in DRIVERS
            for one in others if is_meant else ():
                if one in started or self._state.record(one):
                    what = f"another driver has a guest {show(name)}, too"
                    raise NeedsFullSync(what)

    def _look_at_metadata(self, changed: Changed, planner: Planner) -> None:
        """Check that what metadata publishes needs entries alone, and that no other
        guest's metadata publishes it. Raises NeedsFullSync."""
        news = [new for _, _, new in changed if new and new.claims]
        if not news:
            return
        from .metadata_needs import look_for_conflicts, look_for_rules

        look_for_rules(news, planner.compiled, self._state.base())
        known = {key: new for key, _, new in changed}
        for member in self._members(_METADATA):
            driver, _, name = member.partition(".")
            key = driver, files.unquote(name)
            if key not in known:
                known[key] = self._state.record(key, has_entries=False)
        look_for_conflicts(news, filter(None, known.values()))

    def _change_addresses(self, changed: Changed) -> None:
        """Note the guests' addresses, and ports that they share. Raises NeedsFullSync
        if another guest has one."""
        for key, old, new in changed:
            for one in _claimed(old) - _claimed(new):
                self.release(one, key)
        for key, old, new in changed:
            for one in _claimed(new) - _claimed(old):
                if not self.claim(one, key):
                    where = one if one in map(str, _addresses(new)) else "the same port"
                    raise NeedsFullSync(f"another guest is at {where}")

    def _change_members(self, changed: Changed) -> list[str]:
        """Note the needs that guests have now; the names of needs that no guest has any
        more."""
        places = [(key, _places(old), _places(new)) for key, old, new in changed]
        for key, before, after in places:
            for place in after - before:
                self.join(place, key)
        left = [
            place
            for key, before, after in places
            for place in before - after
            if self.leave(place, key)
        ]
        return list(dict.fromkeys(left))

    def concerned(self, bridges: Mapping[str, str]) -> list[Record]:
        """The records whose entries depend on the named networks with these bridges.
        Raises NeedsFullSync if a record is missing."""
        places = [_EVERY]
        for name, bridge in bridges.items():
            places += [name, _nics(name), _nics(hosts_own(bridge))]
        members = {one: place for place in places for one in self._members(place)}
        found = []
        for member, place in members.items():
            driver, _, name = member.partition(".")
            record = self._state.record((driver, files.unquote(name)))
            if record is None:
                raise NeedsFullSync(f"no guest is known by the name {place}/{member}")
            found.append(record)
        return found

    def _members(self, place: str) -> list[str]:
        return files.names(f"{self._state.path}/members/{files.file_name(place)}")

    def claim(self, one: Address | str, key: Key) -> bool:
        """Note that the guest is at the address; False if another guest is."""
        name, whose = f"addresses/{one}", record_name(key)
        if self._state.read(name) in ("", whose):
            self._state.write(name, whose)
            return True
        return False

    def release(self, one: Address | str, key: Key) -> None:
        """Note that the guest has left the address."""
        if self._state.read(f"addresses/{one}") == record_name(key):
            self._state.remove(f"addresses/{one}")

    def join(self, place: str, key: Key) -> None:
        """Note that the guest is a member of this place: it has the need, say."""
        try:
            posix.mkdir(f"{self._state.path}/members/{files.file_name(place)}", 0o700)
        except FileExistsError:
            pass
        self._state.write(_member(place, key), "")

    def leave(self, place: str, key: Key) -> bool:
        """Note that the guest has left the place; True if it was the last member."""
        self._state.remove(_member(place, key))
        try:
            posix.rmdir(f"{self._state.path}/members/{files.file_name(place)}")
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True

    def note_anew(self, records: list[Record]) -> None:
        """Note the references of these records, and no others. Files that are right
        already are left alone: of thousands, hardly any change."""
        whose: dict[str, Key] = {}
        members: dict[str, tuple[str, Key]] = {}
        for record in records:
            for one in _claimed(record):
                whose.setdefault(f"addresses/{one}", record.key)
            for place in _places(record):
                members[_member(place, record.key)] = place, record.key
        self._note_addresses(whose)
        self._note_members(members)

    def _note_addresses(self, whose: dict[str, Key]) -> None:
        for name in self._names("addresses"):
            if name in whose and self._state.read(name) == record_name(whose[name]):
                del whose[name]
            else:
                self._state.remove(name)
        for name, key in whose.items():
            self._state.write(name, record_name(key))

    def _note_members(self, members: dict[str, tuple[str, Key]]) -> None:
        for directory in self._names("members"):
            for name in self._names(directory):
                if members.pop(name, None) is None:
                    self._state.remove(name)
            try:
                posix.rmdir(f"{self._state.path}/{directory}")
            except OSError:
                pass  # some members are left
        for place, key in members.values():
            self.join(place, key)

    def _names(self, directory: str) -> list[str]:
        return [f"{directory}/{name}" for name in self._state.names(directory)]


def note_ousted(pairs: list[Pair]) -> None:
    """Note with a guest that comes to an address the guest that has just left it and
    goes on running: if that is a clone with the same lease, the address will show it
    again."""
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
    """Make equal entries the same objects, which compare at once."""
    for old, new in pairs:
        if old and new and old.entries == new.entries:
            new.entries = old.entries


def need_return_routes(pairs: list[Pair]) -> bool:
    """Whether answers of these guests take, or took, return routes (see
    return_path)."""
    records = [record for pair in pairs for record in pair if record]
    needs = [need for record in records for need in record.needs]
    return any(isinstance(need, ReturnRouteNeed) for need in needs)


def _member(place: str, key: Key) -> str:
    """The file that makes the guest a member of the place."""
    return f"members/{files.file_name(place)}/{member_name(key)}"


def _nics(network: str) -> str:
    return f"{network}/nics"


def _places(record: Record | None) -> set[str]:
    """The places in members/ for the guest: its needs, and, if it has forwards, the
    other networks on which its entries depend."""
    if record is None or record.guest.driver == "network":
        return set()
    found = {need.name for need in record.needs}
    has_forwards = record.entries or record.is_waiting or record.yields
    for nic in record.guest.nics if has_forwards else ():
        network = nic.network or (hosts_own(nic.bridge) if nic.bridge else "")
        if network and network not in found:
            found.add(_nics(network))
    if record.yields or record.seen or any(map(_is_for_bridges, record.entries)):
        found.add(_EVERY)
    if record.claims:
        found.add(_METADATA)
    return found


def _is_for_bridges(entry: Entry) -> bool:
    """Whether the entry makes the guest leave ports to services on the bridges."""
    if not isinstance(entry, (Dnat, Reject)):
        return isinstance(entry, Exempt)
    one = entry.published
    if one.first > EXEMPT_PORTS[-1]:  # most ports
        return False
    return one.host is None and any(map(one.has, EXEMPT_PORTS))


def _needs(record: Record | None) -> set[Need]:
    return set(record.needs) if record else set()


def _addresses(record: Record | None) -> set[Address]:
    entries = record.entries if record else []
    return {entry.address for entry in entries if isinstance(entry, Accept)}


def _claimed(record: Record | None) -> set[str]:
    """The names in addresses/ for what this guest alone has."""
    return {*map(str, _addresses(record)), *claims_of(record)}
