"""What the kernel should hold for each running guest, on this host as it is now.

Brings together what was compiled, where the guest is, and who was there first.
"""

from .address import Whereabouts, find_guest, find_ports, is_inside
from .compiled import Compiled
from .errors import show
from .inventory import Inventory
from .listeners import Listener
from .model import Guest, Network
from .plan import Addresses, Settings, key_of, network_entries
from .records import Key, Record
from .rivals import find_left, find_meetings, find_rivals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "/loopback"  # no network's name has a slash
_CLONE = "same machine-id?"
_BEHIND = "loopback-behind-"  # no bridge's name is so long


class Planned:
    """A record's entries as they should be, and what keeps others from being there:
    `conflicts` are reasons by the entry's key, that of an address being its accept's;
    `networks` are those whose entries it needs, once it has any itself; `rivals` are
    listeners of the host by what they keep from being published, and `without` is all
    that is kept from it; `left` are entries that leave listeners on bridges theirs;
    `ports` are those of bridges, as device and bridge, that are to be in hairpin mode
    once it is forwarded to. One that `is_contested` wants what another guest has.
    """

    __slots__ = (
        "conflicts",
        "entries",
        "is_contested",
        "left",
        "networks",
        "ports",
        "record",
        "rivals",
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
        settled.yields = list(self.rivals)
        there = {entry[9:] for entry in self.entries if entry.startswith("accept ")}
        settled.ousted = [one for one in record.ousted if one.split(" ")[0] in there]
        if self.ports and any(e.startswith("dnat ") for e in self.entries):
            settled.hairpins = [(device, bridge, 0) for device, bridge in self.ports]
        return settled

    def yield_to(self, rivals: dict[str, Listener], own: list[str]) -> None:
        """Plan the entries without what these listeners have, and without what is on
        these addresses, which are the host's own."""
        self.rivals = rivals
        reasons = {one: rival.reason for one, rival in rivals.items()}
        for host in own:
            reasons.update(dict.fromkeys(self.settings.at(host), _own_reason(host)))
        self.without = set(reasons)
        self.entries = self.planned(self.where.addresses)
        for forward in self.settings.forwards if reasons else ():
            for family, address in self.where.addresses.items():
                reason = reasons.get(forward.published(family))
                if reason:
                    for entry in forward.entries(family, address):
                        self.conflicts[key_of(entry)] = reason

    def planned(self, addresses: Addresses) -> list[str]:
        """The entries at these addresses, with what is left to services on bridges."""
        entries = self.settings.entries(addresses, self.without)
        return entries + self.left if entries else []

    def summary(self) -> str:
        """One line for the log."""
        name = show(self.record.guest.name)
        where = ", ".join(self.where.addresses.values())
        why = "; ".join([*set(self.conflicts.values()), self.where.reason]).strip("; ")
        if not self.entries:
            return f"{name}: pending: {why}"
        return f"{name}: forwarded to {where}" + (f", but: {why}" if why else "")


class Planner:
    """Plans one guest, or all; `record` tells what is in force for somebody."""

    def __init__(
        self,
        compiled: Compiled,
        inventory: Inventory,
        record: "Callable[[Key], Record | None]" = lambda _: None,
    ) -> None:
        self.compiled = compiled
        self.inventory = inventory
        self._record = record
        self._names: dict[str, str] = {}

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
        where = find_guest(
            record.guest, settings, self.inventory, now, record.ousted, self._names
        )
        planned = Planned(record, settings, where)
        if settings.is_hairpin:
            planned.ports = find_ports(record.guest, settings, self.inventory)
        held = record.entries
        if settings.claim:
            held = held + self._claimed(record.guest)
        published = settings.published(where.addresses)
        met = find_meetings(published, held, self.inventory)
        planned.left = find_left(published, held, met, self.inventory)
        planned.yield_to(find_rivals(met, self.inventory), self._own(settings))
        if settings.is_wide:
            planned.networks = self._networks()
        if settings.is_loopback:
            address = where.addresses.get("4", "")
            planned.networks += [
                n.name + LOOPBACK for n in where.networks if _has(n, address)
            ]
        return planned

    def _own(self, settings: Settings) -> list[str]:
        """The guest's public addresses that are those the world knows the host by."""
        return [h for h in settings.public if self.inventory.is_default_source(h)]

    def _claimed(self, guest: Guest) -> list[str]:
        """What is rejected for the guest already, whether it runs or not."""
        records = (self._record(("claim", name)) for name in (guest.name, guest.uuid))
        return [entry for record in records if record for entry in record.entries]

    def claim(self, name: str) -> Planned:
        """What stays rejected for a guest of forwards.yaml, whether it runs or not."""
        settings = Settings(self.compiled.lookup(name))
        guest = Guest("claim", name, settings.claim, [])
        record = Record(guest, 0, 0, [], [])
        planned = Planned(record, Settings([]), Whereabouts({}, [], ""))
        published, held = settings.published("46"), self._claimed(guest)
        met = find_meetings(published, held, self.inventory)
        planned.rivals = find_rivals(met, self.inventory)
        reasons = {one: rival.reason for one, rival in planned.rivals.items()}
        for host in self._own(settings):
            reasons.update(dict.fromkeys(settings.at(host), _own_reason(host)))
        planned.entries = settings.claimed(reasons)
        for one, reason in reasons.items():
            planned.conflicts[f"reject {one}"] = reason
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
        taken = _kept(guests)
        for planned in guests:
            _withhold(planned, taken)
            _tell_ousted(planned, records)
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


def _kept(guests: list[Planned]) -> dict[str, Record]:
    """The addresses that guests keep from those whom they have ousted: two clones with
    one lease would have the forwards go to and fro."""
    return {
        f"accept {family} {address}": planned.record
        for planned in guests
        for family, address in planned.where.addresses.items()
        for one in planned.record.ousted
        if one.split(" ")[0] == address
    }


def _tell_ousted(planned: Planned, records: list[Record]) -> None:
    """What is to be said of a guest that was ousted and is nowhere else."""
    macs = [nic.mac for nic in planned.record.guest.nics]
    for record in records if planned.where.reason else ():
        for one in record.ousted:
            address, _, mac = one.partition(" ")
            if mac in macs:
                who = show(record.guest.name)
                planned.where.reason = f"lease {address} is answered by {who}: {_CLONE}"


def _withhold(planned: Planned, taken: dict[str, Record]) -> None:
    """Take out what an earlier guest has, its address or one of its ports, and note
    what this one has."""
    addresses = dict(planned.where.addresses)
    for family, address in planned.where.addresses.items():
        other = taken.get(f"accept {family} {address}")
        if other and other is not planned.record:
            del addresses[family]
            reason = f"{address} is the address of {show(other.guest.name)}"
            if any(one.split(" ")[0] == address for one in other.ousted):
                reason += f": {_CLONE}"
            planned.is_contested = True
            planned.conflicts[f"accept {family} {address}"] = reason
    if addresses != planned.where.addresses:
        planned.where.addresses = addresses
        planned.entries = planned.planned(addresses)
    entries, planned.entries = planned.entries, []
    for entry in entries:
        other = taken.setdefault(key_of(entry), planned.record)
        if other is not planned.record:
            reason = f"taken by {other.guest.driver} guest {show(other.guest.name)}"
            planned.is_contested = True
            planned.conflicts[key_of(entry)] = reason
        else:
            planned.entries.append(entry)
