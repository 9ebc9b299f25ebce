"""What is planned for a guest: its entries, and what keeps others from being there."""

from __future__ import annotations

from .address import Whereabouts
from .entries import Accept, Dnat, key_of
from .errors import show
from .listeners import Listener
from .needs import Need
from .plan import Forward, Settings
from .records import Record
from .rivals import is_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Union

    from .entries import Entry, Key
    from .plan import Addresses, Claimed
    from .published import Address, Family, Published
    from .records import Seen
    from .takenports import Taken

    Rival = Union[Listener, Taken]


class Planned:
    """A record's entries as they should be, and what keeps others from being there:
    `conflicts` are reasons by the entry's key, that of an address being its accept's;
    `networks` are those whose entries it needs, once it has any itself; `rivals` are
    listeners of the host and rules of others by what they keep from being published,
    and `without` is all that is kept from it; `holes` are those that keep ports of
    published ranges, and `seen` listeners that may (see rivals); `left` are entries
    that leave listeners on bridges theirs, and rules that are for an address;
    `ports` are those of bridges, as device and bridge, that are to be in hairpin mode
    once it is forwarded to; `unmarked` says of what there is no mark for. One that
    `is_contested` wants what another guest has.
    """

    __slots__ = (
        "conflicts",
        "entries",
        "holes",
        "is_contested",
        "left",
        "networks",
        "ports",
        "record",
        "rivals",
        "seen",
        "settings",
        "unmarked",
        "where",
        "without",
    )

    def __init__(self, record: Record, settings: Settings, where: Whereabouts) -> None:
        self.record = record
        self.settings = settings
        self.where = where
        self.networks = [Need(network.name) for network in where.networks]
        self.entries: list[Entry] = []
        self.left: list[Entry] = []
        self.conflicts: dict[Key, str] = {}
        self.rivals: dict[Published, Rival] = {}
        self.holes: dict[Published, dict[int, Rival]] = {}
        self.seen: dict[Seen, int] = {}
        self.without: set[Claimed] = set()
        self.ports: list[tuple[str, str]] = []
        self.unmarked: list[str] = []
        self.is_contested = False

    def settled(self) -> Record:
        """The record as it is when all of this has been done."""
        networks = self.networks if self.entries else []
        record = self.record
        since, stamp = record.since, record.stamp
        settled = Record(record.guest, since, stamp, self.entries, networks)
        settled.is_followed = record.is_followed
        settled.is_waiting = any(
            not any(family in self.where.addresses for family in families)
            for families in self.settings.wanted
        )
        settled.yields, settled.seen = self.yields(), self.seen
        there = {one.address for one in self.entries if isinstance(one, Accept)}
        settled.ousted = [one for one in record.ousted if one.address in there]
        if self.ports and any(isinstance(one, Dnat) for one in self.entries):
            settled.hairpins = [(device, bridge, 0) for device, bridge in self.ports]
        settled.is_returned = self.settings.is_returned and bool(self.entries)
        return settled

    def yields(self) -> list[Published]:
        """What listeners keep, port by port; a whole address as a whole."""
        found = list(self.rivals)
        for one, ports in self.holes.items():
            found += map(one.at, ports)
        return list(dict.fromkeys(found))

    def yield_to(self, rivals: Mapping[Published, Mapping[int, Rival]]) -> None:
        """Leave these their ports: what has others is published without."""
        for one, some in rivals.items():
            ports = {**self.holes.pop(one, {}), **some}
            if one in self.rivals:
                continue
            if is_all(one, ports):
                self.rivals[one] = next(iter(ports.values()))
            else:
                self.holes[one] = ports

    def takers(self) -> list[str]:
        """Lines that say which rules of others keep ports of it."""
        some = list(self.rivals.values())
        for ports in self.holes.values():
            some += ports.values()
        name = show(self.record.guest.name)
        rules = [one for one in some if not isinstance(one, Listener)]
        return list(dict.fromkeys(f"{name}: {rule.reason}" for rule in rules))

    def plan(self, own: list[Address]) -> None:
        """Plan the entries without what listeners have, and without what is on these
        addresses, which are the host's own."""
        reasons: dict[Claimed, str] = {o: r.reason for o, r in self.rivals.items()}
        for host in own:
            reasons.update(dict.fromkeys(self.settings.at(host), own_reason(host)))
        self.without = set(reasons)
        self.entries = self.planned(self.where.addresses)
        for forward in self.settings.forwards if reasons else ():
            for family in self.where.addresses:
                reason = reasons.get(forward.published(family))
                if reason:
                    for entry in self.entries_of(forward, family):
                        self.conflicts[key_of(entry)] = reason

    def entries_of(self, forward: Forward, family: Family) -> list[Entry]:
        """One forward's entries, without the ports of it that listeners keep."""
        holes = self.holes.get(forward.published(family), ()) if self.holes else ()
        return forward.entries(family, self.where.addresses[family], holes)

    def planned(self, addresses: Addresses) -> list[Entry]:
        """The entries at these addresses, with what is left to services on bridges."""
        entries = self.settings.entries(addresses, self.without, self.holes)
        return entries + self.left if entries else []

    def summary(self) -> str:
        """One line for the log."""
        name = show(self.record.guest.name)
        where = ", ".join(map(str, self.where.addresses.values()))
        reasons = dict.fromkeys(self.conflicts.values())
        for ports in self.holes.values():
            reasons.update((rival.reason, None) for rival in ports.values())
        why = "; ".join([*reasons, *self.unmarked, self.where.reason]).strip("; ")
        if not self.entries:
            return f"{name}: pending: {why}"
        return f"{name}: forwarded to {where}" + (f", but: {why}" if why else "")


def own_reason(host: Address) -> str:
    return f"{host} is the host's own address; public_ip_of_host: true gives it away"


def line_of(old: Record | None, planned: Planned | None) -> list[str]:
    """What the log says of a guest, once it is so."""
    if planned and planned.settings.wanted:
        return [planned.summary()]
    if old and old.entries and planned is None:
        return [f"{show(old.guest.name)}: stopped, nothing is forwarded"]
    return []
