"""The desired state of a guest: its entries, and the reasons of missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..config.port_mappings import Addresses, PortMapping, Settings
from ..host.listeners import Listener
from ..store.records import Record, Seen
from ..values.entries import PUBLISHING, Accept, Dnat, Entry, Key, key_of
from ..values.errors import show
from ..values.needs import Need
from ..values.published import Address, Claimed, Family, Published, family_of
from .guest_addresses import Endpoint
from .port_conflicts import is_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from ..store.foreign_ports import ForeignPort

    PortOwner = Union[Listener, ForeignPort]


AWAY = "the guest is being migrated and does not run here"


class DesiredState:
    """The entries that a record should have, and the reasons of those that are missing.
    A guest that is away keeps nothing that leads new connections to it."""

    def __init__(self, record: Record, settings: Settings, endpoint: Endpoint) -> None:
        self.record = record
        self.settings = settings
        self.endpoint = endpoint
        # Needs that come with the first entry.
        self.needs = [Need(network.name) for network in endpoint.networks]
        self.entries: list[Entry] = []
        # They leave ports to services on bridges, and to foreign rules for one address.
        self.exempt: list[Entry] = []
        # Reasons by the entry's key; of an address: by the key of its accept.
        self.conflicts: dict[Key, str] = {}
        # Listeners or foreign rules that keep something whole from being published.
        self.port_owners: dict[Published, PortOwner] = {}
        # The owners of single ports of published ranges.
        self.holes: dict[Published, dict[int, PortOwner]] = {}
        self.seen: dict[Seen, int] = {}  # they may become owners (see port_conflicts)
        self.without: set[Claimed] = set()  # all that is not published
        # Device and bridge, to be in hairpin mode once there is a forward.
        self.ports: list[tuple[str, str]] = []
        # Addresses for this guest alone, and whether they are the host's own.
        self.public: dict[Address, bool] = {}
        self.unmarked: list[str] = []  # messages about tables without a mark
        more = settings.from_metadata
        for one, reason in more.contested.items() if more else ():
            self.conflicts[Published, one] = reason
        # Another guest has something that this one wants.
        self.is_contested = bool(self.conflicts)

    def settled(self) -> Record:
        """The record after this state has come into force."""
        needs = self.needs if self.entries else []
        record = self.record
        since, stamp = record.since, record.stamp
        settled = Record(record.guest, since, stamp, self.entries, needs)
        settled.is_followed = record.is_followed
        settled.is_waiting = self._is_waiting()
        settled.yields, settled.seen = self.yields(), self.seen
        there = {one.address for one in self.entries if isinstance(one, Accept)}
        settled.ousted = [one for one in record.ousted if one.address in there]
        if self.ports and any(isinstance(one, Dnat) for one in self.entries):
            settled.hairpins = [(device, bridge, 0) for device, bridge in self.ports]
        settled.is_returned = self.settings.is_returned and bool(self.entries)
        settled.public = self.public
        if record.is_away:
            settled.is_away = True
            led = [one for one in record.entries if isinstance(one, Dnat)]
            settled.left = list(dict.fromkeys([*record.left, *led]))
        if self.settings.from_metadata:
            settled.claims = self.settings.from_metadata.claims
        settled.is_shared = self.settings.is_shared
        settled.shares = self._shared_ranges()
        return settled

    def _shared_ranges(self) -> list[Published]:
        """The ranges that another guest may want, whole, with ports of this one's."""
        if not self.settings.is_shared:
            return []
        had = [one.published for one in self.entries if isinstance(one, Dnat)]
        ranges = [
            forward.published(family)
            for forward in self.settings.forwards
            for family in forward.families
            if forward.first < forward.last
        ]
        return [
            one
            for one in ranges
            if any(one.is_beside(part) and one.has(part.first) for part in had)
        ]

    def _is_waiting(self) -> bool:
        """Whether forwards have no address, or none of a family that the guest's
        networks have."""
        known = set(self.endpoint.addresses)
        subnets = [one for network in self.endpoint.networks for one in network.subnets]
        lacking = {family_of(own) for own, _ in subnets} - known
        return any(
            lacking.intersection(families) or not known.intersection(families)
            for families in self.settings.wanted
        )

    def yields(self) -> list[Published]:
        """The published ports that their owners keep, one by one; a whole address as
        one."""
        found = list(self.port_owners)
        for one, ports in self.holes.items():
            found += map(one.at, ports)
        return list(dict.fromkeys(found))

    def yield_to(
        self, port_owners: Mapping[Published, Mapping[int, PortOwner]]
    ) -> None:
        """Leave these ports to their owners; the other ports are published."""
        for one, some in port_owners.items():
            ports = {**self.holes.pop(one, {}), **some}
            if one in self.port_owners:
                continue
            if is_all(one, ports):
                self.port_owners[one] = next(iter(ports.values()))
            else:
                self.holes[one] = ports

    def lines_of_owners(self) -> list[str]:
        """Lines about the foreign rules that keep ports of the guest."""
        some = list(self.port_owners.values())
        for ports in self.holes.values():
            some += ports.values()
        name = show(self.record.guest.name)
        rules = [one for one in some if not isinstance(one, Listener)]
        return list(dict.fromkeys(f"{name}: {rule.reason}" for rule in rules))

    def reasons(
        self, settings: Settings, own: list[Address], kept: Iterable[Published] = ()
    ) -> dict[Claimed, str]:
        """Why ports and addresses in the settings are not published as a whole: libvirt
        has `kept` them, they have other owners, or they are at the addresses `own`,
        which are the host's own."""
        reasons: dict[Claimed, str] = {one: _kept_reason(one) for one in kept}
        reasons.update((one, its.reason) for one, its in self.port_owners.items())
        for host in own:
            why = f"{host} is the host's own address"
            cure = "public_ip_of_host: true gives it away"
            reasons.update(dict.fromkeys(settings.at(host), f"{why}; {cure}"))
        return reasons

    def plan(self, own: list[Address], kept: Iterable[Published] = ()) -> None:
        """Plan the entries, without ports of other owners, without the addresses `own`,
        which are the host's own, and without the ports that libvirt has `kept`."""
        reasons = self.reasons(self.settings, own, kept)
        self.without = set(reasons)
        self.entries = self.entries_at(self.endpoint.addresses)
        for forward in self.settings.forwards if reasons else ():
            for family in self.endpoint.addresses:
                reason = reasons.get(forward.published(family))
                if reason:
                    for entry in self.entries_of(forward, family):
                        self.conflicts[key_of(entry)] = reason

    def entries_of(self, forward: PortMapping, family: Family) -> list[Entry]:
        """The entries of one forward, without the ports that their owners keep."""
        holes = self.holes.get(forward.published(family), ()) if self.holes else ()
        return forward.entries(family, self.endpoint.addresses[family], holes)

    def entries_at(self, addresses: Addresses) -> list[Entry]:
        """The entries at these addresses, with the exempt ones."""
        if self.record.is_away:  # what its connections have stays for them
            held = self.record.entries
            return [one for one in held if not isinstance(one, PUBLISHING)]
        entries = self.settings.entries(addresses, self.without, self.holes)
        return entries + self.exempt if entries else []

    def summary(self) -> str:
        name = show(self.record.guest.name)
        if self.record.is_away:
            return f"{name}: pending: {AWAY}"
        endpoint = ", ".join(map(str, self.endpoint.addresses.values()))
        reasons = dict.fromkeys(self.conflicts.values())
        for ports in self.holes.values():
            reasons.update((port_owner.reason, None) for port_owner in ports.values())
        more = self.settings.from_metadata
        if more:
            reasons.update((reason, None) for _, _, reason in more.refused)
            reasons.update((f"metadata: {fault}", None) for fault in more.faults)
        why = "; ".join([*reasons, *self.unmarked, self.endpoint.reason]).strip("; ")
        if not self.entries:
            return f"{name}: pending: {why}"
        return f"{name}: forwarded to {endpoint}" + (f", but: {why}" if why else "")


def _kept_reason(one: Published) -> str:
    where = f"{one.host}, the address of a bridge,"
    return f"{one.protocol}/{one.first} on {where} stays the host's (DNS, DHCP, TFTP)"


def line_of(old: Record | None, desired: DesiredState | None) -> list[str]:
    """The log's line about a guest after the change, or none."""
    settings = desired.settings if desired else None
    if desired and settings and (settings.wanted or settings.from_metadata):
        return [desired.summary()]
    if old and old.entries and desired is None:
        return [f"{show(old.guest.name)}: stopped, nothing is forwarded"]
    return []
