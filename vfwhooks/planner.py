"""What the kernel should hold for each running guest, on this host as it is now.

Brings together what was compiled, where the guest is, and who was there first.
"""

from __future__ import annotations

import time

from .address import Whereabouts, find_guest, find_ports, is_inside
from .compiled import Compiled, Damaged
from .entries import (
    Accept,
    Exempt,
    LoopbackBridge,
    Masquerade,
    Reject,
    ReturnMark,
    key_of,
)
from .errors import show
from .inventory import Inventory
from .model import Guest, Network
from .needs import LoopbackNeed, Need, WayNeed
from .plan import Settings, network_entries
from .planned import Planned, own_reason
from .published import BOTH, Family, Published, family_of
from .records import Key, Record
from .rivals import (
    LASTING,
    Past,
    find_lasting,
    find_left,
    find_meetings,
    find_rivals,
)
from .settingstext import parse_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .entries import Key as EntryKey
    from .plan import Claimed
    from .published import Address, Published

_CLONE = "same machine-id?"
_BEHIND = "loopback-behind-"  # no bridge's name is so long


class Planner:
    """Plans one guest, or all; `record` tells what is in force for somebody, `lasting`
    after how many ns a socket that was seen is there to stay, `mark` what stands for a
    routing table (0 for nothing, see waysback)."""

    def __init__(
        self,
        compiled: Compiled,
        inventory: Inventory,
        record: Callable[[Key], Record | None] = lambda _: None,
        lasting: int = LASTING,
        mark: Callable[[int], int] = lambda _: 0,
    ) -> None:
        self.compiled = compiled
        self.inventory = inventory
        self._record = record
        self._lasting = lasting
        self._mark = mark
        self._names: dict[str, str] = {}
        try:
            inventory.know_bridges(compiled.bridges())
        except Damaged:
            pass  # whoever looks up a guest hears of it

    def settings(self, guest: Guest) -> Settings:
        """What forwards.yaml says of the guest, under its name and under its UUID."""
        lines = self.compiled.lookup(guest.name)
        if guest.uuid and guest.uuid != guest.name:
            lines = lines + self.compiled.lookup(guest.uuid)
        return parse_settings(lines)

    def guest(self, record: Record) -> Planned:
        """The guest's entries, as if it were alone."""
        settings = self.settings(record.guest)
        if not settings.wanted:
            return Planned(record, settings, Whereabouts({}, [], ""))
        accepts = [entry for entry in record.entries if isinstance(entry, Accept)]
        now = {family_of(one.address): one.address for one in accepts}
        where = find_guest(
            record.guest, settings, self.inventory, now, record.ousted, self._names
        )
        planned = Planned(record, settings, where)
        if settings.is_hairpin:
            planned.ports = find_ports(record.guest, settings, self.inventory)
        records = [record, *(self._claims(record.guest) if settings.claim else ())]
        ways = self._ways_back(planned) if settings.is_returned else []
        published = settings.published(where.addresses)
        self._meet(planned, published, records)
        planned.plan(self._own(settings))
        if settings.is_wide:
            planned.networks = self._networks()
        if settings.is_loopback:
            address = where.addresses.get(Family.IPV4)
            planned.networks += [
                LoopbackNeed(n.name) for n in where.networks if _has(n, address)
            ]
        planned.networks += ways
        return planned

    def _ways_back(self, planned: Planned) -> list[WayNeed]:
        """Look which ways the guest's answers have to take."""
        from .waysback import find_ways  # for those who need it

        addresses = planned.where.addresses
        bridges = {
            family: [n for n in planned.where.networks if _has(n, address)]
            for family, address in addresses.items()
        }
        inventory, settings = self.inventory, planned.settings
        ways, planned.unmarked = find_ways(
            settings, addresses, bridges, inventory, self._mark
        )
        return ways

    def _meet(
        self, planned: Planned, published: list[Published], records: list[Record]
    ) -> None:
        """Look who listens on what is to be published; the records say what is in
        force, and who was there before it."""
        held = [entry for record in records for entry in record.entries]
        past = Past(records)
        met = find_meetings(published, held, self.inventory, past)
        before = time.monotonic_ns() - self._lasting
        met, planned.seen = find_lasting(met, past, self.inventory, before)
        if planned.record.guest.driver != "claim":
            planned.left = find_left(published, held, met, self.inventory)
        planned.yield_to(find_rivals(met, self.inventory))
        if self.inventory.taken:
            from .takers import find_takers  # few hosts have any

            rivals, left = find_takers(published, held, past, self.inventory)
            planned.yield_to(rivals)
            if planned.record.guest.driver != "claim":
                planned.left += left

    def _own(self, settings: Settings) -> list[Address]:
        """The guest's public addresses that are those the world knows the host by."""
        is_own = self.inventory.is_default_source
        return [host for host in settings.public if is_own(str(host))]

    def _claims(self, guest: Guest) -> list[Record]:
        """What is rejected for the guest already, whether it runs or not."""
        records = (self._record(("claim", name)) for name in (guest.name, guest.uuid))
        return [record for record in records if record]

    def claim(self, name: str) -> Planned:
        """What stays rejected for a guest of forwards.yaml, whether it runs or not."""
        settings = parse_settings(self.compiled.lookup(name))
        guest = Guest("claim", name, settings.claim, [])
        record = Record(guest, 0, 0, [], [])
        planned = Planned(record, Settings(), Whereabouts({}, [], ""))
        self._meet(planned, settings.published(BOTH), self._claims(guest))
        reasons: dict[Claimed, str]
        reasons = {one: rival.reason for one, rival in planned.rivals.items()}
        for host in self._own(settings):
            reasons.update(dict.fromkeys(settings.at(host), own_reason(host)))
        planned.entries = settings.claimed(reasons, planned.holes)
        for one, reason in reasons.items():
            planned.conflicts[Reject, one] = reason
        if settings.is_wide:
            planned.networks = self._networks()
        return planned

    def all(self, records: list[Record]) -> list[Planned]:
        """Everybody's entries, and all claims: what two want goes to the one who runs
        longer, but for an address that another was ousted from."""
        found = [self.claim(name) for name in self.compiled.claims()]
        records = [r for r in records if r.guest.driver not in ("network", "claim")]
        self._names = {n.mac: r.guest.name for r in records for n in r.guest.nics}
        guests = [self.guest(record) for record in records]
        taken: dict[EntryKey, Record] = _kept(guests)
        for planned in guests:
            _withhold(planned, taken)
            _tell_ousted(planned, records)
            found.append(planned)
        needed = dict.fromkeys(
            need for one in found if one.entries for need in one.networks
        )
        shared = [one for need in needed if (one := self.shared(need))]
        return [*shared, *found]

    def _networks(self) -> list[Need]:
        """The active networks whose bridges need DNS and DHCP to be left to them."""
        known = map(self.inventory.network, self.inventory.names())
        return [Need(n.name) for n in known if n and n.is_ours and n.subnets]

    def shared(self, need: Need) -> Planned | None:
        """What is needed once for all who need it: the entries of a network that is
        active, or what goes with them on its bridge."""
        network = self.inventory.network(need.network)
        if network is None:
            return None
        planned = self.network(network)
        guest = planned.record.guest
        guest.name = need.name
        if isinstance(need, WayNeed):
            guest.uuid = ""
            planned.entries = [need.route(network.bridge)]
        elif isinstance(need, LoopbackNeed):
            guest.uuid = _BEHIND + network.bridge
            planned.entries = [LoopbackBridge(network.bridge)]
        return planned

    def network(self, network: Network) -> Planned:
        """A network's entries, needed once for all of its guests."""
        guest = Guest("network", network.name, network.bridge, [])
        record = Record(guest, 0, 0, [], [])
        planned = Planned(record, Settings(), Whereabouts({}, [], ""))
        planned.entries = network_entries(network.subnets)
        if not network.is_inside(self.inventory.is_default_source):
            entries = planned.entries
            planned.entries = [one for one in entries if not isinstance(one, Exempt)]
        return planned


def _has(network: Network, address: Address | None) -> bool:
    subnets = [subnet for _, subnet in network.subnets]
    if address is None:
        return False
    return not subnets or is_inside(address, subnets)


def _kept(guests: list[Planned]) -> dict[EntryKey, Record]:
    """The addresses that guests keep from those whom they have ousted: two clones with
    one lease would have the forwards go to and fro."""
    return {
        (Accept, address): planned.record
        for planned in guests
        for address in planned.where.addresses.values()
        for one in planned.record.ousted
        if one.address == address
    }


def _tell_ousted(planned: Planned, records: list[Record]) -> None:
    """What is to be said of a guest that was ousted and is nowhere else."""
    macs = [nic.mac for nic in planned.record.guest.nics]
    for record in records if planned.where.reason else ():
        for one in record.ousted:
            if one.mac in macs:
                lease, who = f"lease {one.address}", show(record.guest.name)
                planned.where.reason = f"{lease} is answered by {who}: {_CLONE}"


def _withhold(planned: Planned, taken: dict[EntryKey, Record]) -> None:
    """Take out what an earlier guest has, its address or one of its ports, and note
    what this one has."""
    addresses = dict(planned.where.addresses)
    for family, address in planned.where.addresses.items():
        other = taken.get((Accept, address))
        if other and other is not planned.record:
            del addresses[family]
            reason = f"{address} is the address of {show(other.guest.name)}"
            if any(one.address == address for one in other.ousted):
                reason += f": {_CLONE}"
            planned.is_contested = True
            planned.conflicts[Accept, address] = reason
    if addresses != planned.where.addresses:
        planned.where.addresses = addresses
        planned.entries = planned.planned(addresses)
    ranges: dict[EntryKey, Record] = {}  # one is somebody's as a whole, parts or not
    for forward in planned.settings.forwards:
        for family in addresses if forward.first < forward.last else ():
            one = forward.published(family)
            if one not in planned.without:
                other = taken.setdefault((Published, one), planned.record)
                keys = map(key_of, planned.entries_of(forward, family))
                ranges.update(dict.fromkeys(keys, other))
    entries, planned.entries = planned.entries, []
    for entry in entries:
        key = key_of(entry)
        other = ranges.get(key) if ranges else None
        other = other or taken.setdefault(key, planned.record)
        if other is not planned.record:
            reason = f"taken by {other.guest.driver} guest {show(other.guest.name)}"
            planned.is_contested = True
            planned.conflicts[key] = reason
        else:
            planned.entries.append(entry)
    for forward in planned.settings.forwards if planned.is_contested else ():
        for family in addresses if forward.ways or forward.is_masqueraded else ():
            some = planned.entries_of(forward, family)
            if any(key_of(entry) in planned.conflicts for entry in some):
                marks = {e for e in some if isinstance(e, (ReturnMark, Masquerade))}
                planned.entries = [e for e in planned.entries if e not in marks]
