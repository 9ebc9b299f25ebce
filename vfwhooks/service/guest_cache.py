"""The recorded guests in the service's memory, by MAC and address, and the claims of
guests (kept whether the guest runs or not)."""

from __future__ import annotations

import time

from ..store import files
from ..store.records import GuestEvent, Ousted, Record, parse_record
from ..store.state import DRIVERS, State
from ..values.entries import Accept
from ..values.guests import own_bridge
from ..values.published import Address, is_of_a_link

_MOST = 10_000
GUESTS = [driver for driver in DRIVERS if driver != "network"]
PLACES = [*(f"guests/{driver}" for driver in GUESTS), "claims"]


class GuestCache:
    """The recorded guests by MAC and by address, and the claims, which have neither;
    read again file by file. There may be thousands, and as many leases: each is looked
    up, and not searched for."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._records: dict[str, Record] = {}
        # By MAC, by address, and by whom they have ousted: the names of records.
        self._names: dict[object, set[str]] = {}
        self._read: list[str] = []
        self._heard: dict[Address, str] = {}
        self.look()

    def look(self) -> bool:
        """Read all record files; False if one cannot be read."""
        names = list(self._records)
        for place in PLACES:
            there = files.names(f"{self._state.path}/{place}")
            names += [f"{place}/{name}" for name in there]
        return self.read(list(dict.fromkeys(names)))

    def read(self, names: list[str]) -> bool:
        """Read the changed record files again; False if one cannot be read. Raises
        OSError if the kernel has no room for that just now: those records stay."""
        self._heard.clear()
        self._read = names
        is_whole = True
        for name in names:
            text = self._state.read(name)
            self._forget(name)
            try:
                if text:
                    self._keep(name, parse_record(text))
            except (ValueError, IndexError):
                is_whole = False
        return is_whole

    def plan_anew(self, record: Record) -> None:
        """Write an event that plans the guest anew."""
        self._state.note(GuestEvent("moved", record.guest, time.monotonic_ns()))

    def _keep(self, name: str, record: Record) -> None:
        self._records[name] = record
        for key in _keys(record):
            self._names.setdefault(key, set()).add(name)

    def _forget(self, name: str) -> None:
        record = self._records.pop(name, None)
        for key in _keys(record) if record else ():
            self._names[key].remove(name)
            if not self._names[key]:
                del self._names[key]

    def waiting(self) -> dict[str, set[int]]:
        """The IP versions of which guests with forwards have no address, by MAC; of
        the records that were read last."""
        found: dict[str, set[int]] = {}
        for record in filter(None, map(self._records.get, self._read)):
            lacking = {4, 6} - {one.version for one in _addresses(record)}
            for nic in record.guest.nics if record.is_waiting else ():
                found.setdefault(nic.mac, set()).update(lacking)
        return found

    def yielding(self) -> list[Record]:
        """The guests and claims with ports that a listener of the host has, or may
        keep."""
        records = self._records.values()
        return [record for record in records if record.yields or record.seen]

    def earlier(self, record: Record) -> list[Record]:
        """The guests whose metadata publishes ports and that run longer than this one,
        if its metadata does so, too."""
        records = self._records.values() if record.claims else ()
        return [one for one in records if one.claims and one.since < record.since]

    def hairpins(self) -> dict[str, Record]:
        """The guests with bridge ports that should be in hairpin mode, by device."""
        records = self._records.values()
        return {port[0]: record for record in records for port in record.hairpins}

    def returned(self) -> list[Record]:
        """The guests with answers that leave by the host's own way."""
        return [record for record in self._records.values() if record.is_returned]

    def public(self) -> list[Record]:
        """The guests and claims with addresses of their own, or of the host's."""
        return [record for record in self._records.values() if record.public]

    def bridges(self) -> set[str]:
        """The host bridges through which forwards lead, or may lead once the guest has
        an address."""
        found = set()
        for record in self._records.values():
            for bridge in [own_bridge(need.network) for need in record.needs]:
                if bridge:
                    found.add(bridge)
            is_nowhere = record.is_waiting and not record.entries
            for nic in record.guest.nics if is_nowhere else ():
                if nic.kind == "bridge" and nic.bridge:
                    found.add(nic.bridge)
        return found

    def is_new(self, mac: str, address: Address) -> bool:
        """Whether the neighbour differs from the last one at this address: the kernel
        confirms each every few seconds. A changed record makes every neighbour new,
        because records say what was done about it."""
        if self._heard.get(address) == mac:
            return False
        if len(self._heard) > _MOST:  # a scan of a network, for example
            self._heard.clear()
        self._heard[address] = mac
        return True

    def expect(self, address: Address) -> None:
        """The next neighbour at this address is news, whoever it is: the kernel is
        asking."""
        self._heard.pop(address, None)

    def silent(self) -> set[Address]:
        """The addresses where nobody answered when the kernel asked last."""
        return {address for address, mac in self._heard.items() if not mac}

    def concerned(self, mac: str, at: Address) -> list[Record]:
        """The guests that this lease or neighbour is news to: the guest with this MAC,
        unless it is known to be there, and the guest that was at this address before.
        The MAC '' means that the address does not answer. Of two clones with one lease,
        the ousted one is no news; nor is an address that every interface has with
        IPv6, to which no forward leads."""
        if Ousted(at, mac) in self._names:
            return []
        if is_of_a_link(at):
            return []
        found = []
        for record in self._of(self._with(mac) | self._with(at)):
            there = _addresses(record)
            if mac not in [nic.mac for nic in record.guest.nics]:
                is_news = at in there
            else:
                was = any(one.version == at.version for one in there)
                is_news = at not in there and (was or record.is_waiting)
            if is_news:
                found.append(record)
        return found

    def holders(self, mac: str, at: Address) -> list[Record]:
        """The guests with this MAC that are forwarded to at this address."""
        return self._of(self._with(mac) & self._with(at))

    def _with(self, key: object) -> set[str]:
        return self._names.get(key, set())

    def _of(self, names: set[str]) -> list[Record]:
        return [self._records[name] for name in sorted(names)]


def _addresses(record: Record) -> list[Address]:
    """The addresses at which the guest is forwarded to."""
    return [one.address for one in record.entries if isinstance(one, Accept)]


def _keys(record: Record) -> set[object]:
    """By what a record is looked up."""
    macs = (nic.mac for nic in record.guest.nics)
    return {*macs, *_addresses(record), *record.ousted}
