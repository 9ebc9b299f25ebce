"""What the kernel should hold for each running guest, on this host as it is now.

Brings together what was compiled, where the guest is, and who was there first.
"""

import time

from .address import Whereabouts, find_guest, find_ports, is_inside
from .compiled import Compiled
from .errors import show
from .inventory import Inventory
from .listeners import Listener
from .model import Guest, Network
from .plan import Addresses, Forward, Settings, key_of, network_entries
from .records import Key, Record
from .rivals import (
    LASTING,
    Past,
    find_lasting,
    find_left,
    find_meetings,
    find_rivals,
    is_all,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "/loopback"  # no network's name has a slash
_BEHIND = "loopback-behind-"  # no bridge's name is so long


class Planned:
    """A record's entries as they should be, and what keeps others from being there:
    `conflicts` are reasons by the entry's key, that of an address being its accept's;
    `networks` are those whose entries it needs, once it has any itself; `rivals` are
    listeners of the host by what they keep from being published, and `without` is all
    that is kept from it; `holes` are listeners that keep ports of published ranges, and
    `seen` those that may (see rivals); `left` are entries that leave listeners on
    bridges theirs;
    `ports` are those of bridges, as device and bridge, that are to be in hairpin mode
    once it is forwarded to. One that `is_contested` wants what another guest has.
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
        "where",
        "without",
    )

    def __init__(self, record: Record, settings: Settings, where: Whereabouts) -> None:
        self.record = record
        self.settings = settings
        self.where = where
        self.networks = [network.name for network in where.networks]
        self.entries: list[str] = []
        self.left: list[str] = []
        self.conflicts: dict[str, str] = {}
        self.rivals: dict[str, Listener] = {}
        self.holes: dict[str, dict[int, Listener]] = {}
        self.seen: dict[str, int] = {}
        self.without: set[str] = set()
        self.ports: list[tuple[str, str]] = []
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
        if self.ports and any(e.startswith("dnat ") for e in self.entries):
            settled.hairpins = [(device, bridge, 0) for device, bridge in self.ports]
        return settled

    def yields(self) -> list[str]:
        """What listeners keep, port by port; a whole address as a whole."""
        found = list(self.rivals)
        for one, ports in self.holes.items():
            to = one.rsplit(" ", 2)[0]
            found += [f"{to} {port} {port}" for port in ports]
        return list(dict.fromkeys(found))

    def yield_to(self, rivals: dict[str, dict[int, Listener]]) -> None:
        """Leave these listeners their ports: what has others is published without."""
        for one, ports in rivals.items():
            if is_all(one, ports):
                self.rivals[one] = next(iter(ports.values()))
            else:
                self.holes[one] = ports

    def plan(self, own: list[str]) -> None:
        """Plan the entries without what listeners have, and without what is on these
        addresses, which are the host's own."""
        reasons = {one: rival.reason for one, rival in self.rivals.items()}
        for host in own:
            reasons.update(dict.fromkeys(self.settings.at(host), _own_reason(host)))
        self.without = set(reasons)
        self.entries = self.planned(self.where.addresses)
        for forward in self.settings.forwards if reasons else ():
            for family in self.where.addresses:
                reason = reasons.get(forward.published(family))
                if reason:
                    for entry in self.entries_of(forward, family):
                        self.conflicts[key_of(entry)] = reason

    def entries_of(self, forward: Forward, family: str) -> list[str]:
        """One forward's entries, without the ports of it that listeners keep."""
        holes = self.holes.get(forward.published(family), ()) if self.holes else ()
        return forward.entries(family, self.where.addresses[family], holes)

    def planned(self, addresses: Addresses) -> list[str]:
        """The entries at these addresses, with what is left to services on bridges."""
        entries = self.settings.entries(addresses, self.without, self.holes)
        return entries + self.left if entries else []

    def summary(self) -> str:
        """One line for the log."""
        name = show(self.record.guest.name)
        where = ", ".join(self.where.addresses.values())
        reasons = dict.fromkeys(self.conflicts.values())
        for ports in self.holes.values():
            reasons.update((rival.reason, None) for rival in ports.values())
        why = "; ".join([*reasons, self.where.reason]).strip("; ")
        if not self.entries:
            return f"{name}: pending: {why}"
        return f"{name}: forwarded to {where}" + (f", but: {why}" if why else "")


class Planner:
    """Plans one guest, or all; `record` tells what is in force for somebody, `lasting`
    after how many ns a socket that was seen is there to stay."""

    def __init__(
        self,
        compiled: Compiled,
        inventory: Inventory,
        record: "Callable[[Key], Record | None]" = lambda _: None,
        lasting: int = LASTING,
    ) -> None:
        self.compiled = compiled
        self.inventory = inventory
        self._record = record
        self._lasting = lasting

    def settings(self, guest: Guest) -> Settings:
        """What forwards.yaml says of the guest, under its name and under its UUID."""
        lines = self.compiled.lookup(guest.name)
        if guest.uuid and guest.uuid != guest.name:
            lines = lines + self.compiled.lookup(guest.uuid)
        return Settings(lines)

    def guest(self, record: Record) -> Planned:
        """The guest's entries, as if it were alone."""
        settings = self.settings(record.guest)
        if not settings.wanted:
            return Planned(record, settings, Whereabouts({}, [], ""))
        now = {e[7]: e[9:] for e in record.entries if e.startswith("accept ")}
        where = find_guest(record.guest, settings, self.inventory, now)
        planned = Planned(record, settings, where)
        if settings.is_hairpin:
            planned.ports = find_ports(record.guest, settings, self.inventory)
        records = [record, *(self._claims(record.guest) if settings.claim else ())]
        published = settings.published(where.addresses)
        self._meet(planned, published, records)
        planned.plan(self._own(settings))
        if settings.is_wide:
            planned.networks = self._networks()
        if settings.is_loopback:
            address = where.addresses.get("4", "")
            planned.networks += [
                n.name + LOOPBACK for n in where.networks if _has(n, address)
            ]
        return planned

    def _meet(
        self, planned: Planned, published: list[str], records: list[Record]
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

    def _own(self, settings: Settings) -> list[str]:
        """The guest's public addresses that are those the world knows the host by."""
        return [h for h in settings.public if self.inventory.is_default_source(h)]

    def _claims(self, guest: Guest) -> list[Record]:
        """What is rejected for the guest already, whether it runs or not."""
        records = (self._record(("claim", name)) for name in (guest.name, guest.uuid))
        return [record for record in records if record]

    def claim(self, name: str) -> Planned:
        """What stays rejected for a guest of forwards.yaml, whether it runs or not."""
        settings = Settings(self.compiled.lookup(name))
        guest = Guest("claim", name, settings.claim, [])
        record = Record(guest, 0, 0, [], [])
        planned = Planned(record, Settings([]), Whereabouts({}, [], ""))
        self._meet(planned, settings.published("46"), self._claims(guest))
        reasons = {one: rival.reason for one, rival in planned.rivals.items()}
        for host in self._own(settings):
            reasons.update(dict.fromkeys(settings.at(host), _own_reason(host)))
        planned.entries = settings.claimed(reasons, planned.holes)
        for one, reason in reasons.items():
            planned.conflicts[f"reject {one}"] = reason
        if settings.is_wide:
            planned.networks = self._networks()
        return planned

    def all(self, records: list[Record]) -> list[Planned]:
        """Everybody's entries, and all claims: what two want goes to the one who runs
        longer."""
        found = [self.claim(name) for name in self.compiled.claims()]
        taken: dict[str, Record] = {}
        for record in records:
            if record.guest.driver in ("network", "claim"):
                continue
            planned = self.guest(record)
            _withhold(planned, taken)
            found.append(planned)
        needed = dict.fromkeys(
            name for one in found if one.entries for name in one.networks
        )
        shared = [one for name in needed if (one := self.shared(name))]
        return [*shared, *found]

    def _networks(self) -> list[str]:
        """The active networks whose bridges need DNS and DHCP to be left to them."""
        known = map(self.inventory.network, self.inventory.names())
        return [n.name for n in known if n and n.is_ours and n.subnets]

    def shared(self, name: str) -> "Planned | None":
        """What is needed once for all who need it, by the name in their records: the
        entries of a network that is active, or those for loopback on its bridge."""
        network = self.inventory.network(name.partition("/")[0])
        if network is None:
            return None
        planned = self.network(network)
        if name != network.name:
            guest = planned.record.guest
            guest.name, guest.uuid = name, _BEHIND + network.bridge
            planned.entries = [f"localnet 4 {network.bridge}"]
        return planned

    def network(self, network: Network) -> Planned:
        """A network's entries, needed once for all of its guests."""
        guest = Guest("network", network.name, network.bridge, [])
        record = Record(guest, 0, 0, [], [])
        planned = Planned(record, Settings([]), Whereabouts({}, [], ""))
        planned.entries = network_entries(network.subnets)
        return planned


def _own_reason(host: str) -> str:
    return f"{host} is the host's own address; public_ip_of_host: true gives it away"


def _has(network: Network, address: str) -> bool:
    subnets = [subnet for _, subnet in network.subnets]
    return bool(address) and (not subnets or is_inside(address, subnets))


def _withhold(planned: Planned, taken: dict[str, Record]) -> None:
    """Take out what an earlier guest has, its address or one of its ports, and note
    what this one has."""
    addresses = dict(planned.where.addresses)
    for family, address in planned.where.addresses.items():
        other = taken.get(f"accept {family} {address}")
        if other:
            del addresses[family]
            reason = f"{address} is the address of {show(other.guest.name)}"
            planned.is_contested = True
            planned.conflicts[f"accept {family} {address}"] = reason
    if addresses != planned.where.addresses:
        planned.where.addresses = addresses
        planned.entries = planned.planned(addresses)
    ranges: dict[str, Record] = {}  # one is somebody's as a whole, parts or not
    for forward in planned.settings.forwards:
        for family in addresses if forward.first < forward.last else ():
            one = forward.published(family)
            if one not in planned.without:
                other = taken.setdefault(one, planned.record)
                keys = map(key_of, planned.entries_of(forward, family))
                ranges.update(dict.fromkeys(keys, other))
    entries, planned.entries = planned.entries, []
    for entry in entries:
        other = ranges.get(key_of(entry)) or taken.setdefault(
            key_of(entry), planned.record
        )
        if other is not planned.record:
            reason = f"taken by {other.guest.driver} guest {show(other.guest.name)}"
            planned.is_contested = True
            planned.conflicts[key_of(entry)] = reason
        else:
            planned.entries.append(entry)
