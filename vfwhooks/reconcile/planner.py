"""Plans the desired state of each running guest, on this host as it is now.

It brings together the compiled configuration, the endpoint, and the order of the
guests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

from ..config.compiled_file import Compiled, Damaged
from ..config.compiled_lines import parse_settings
from ..config.port_mappings import Settings, is_exempt, network_entries
from ..libvirt.inventory import Inventory
from ..store.records import Key, Record
from ..values.entries import (
    Accept,
    Dnat,
    Entry,
    Exempt,
    LoopbackBridge,
    Reject,
)
from ..values.entries import Key as EntryKey
from ..values.guests import Guest, Network
from ..values.needs import LoopbackNeed, Need, ReturnRouteNeed
from ..values.published import BOTH, Address, Family, Published, family_of
from .contests import kept_from_ousted, tell_ousted, withhold
from .desired_state import DesiredState
from .guest_addresses import Endpoint, find_endpoint, find_ports, has_address
from .port_conflicts import (
    LASTING,
    Past,
    find_exempt,
    find_lasting,
    find_port_conflicts,
    find_port_owners,
)

_BEHIND = "loopback-behind-"  # no name of a bridge is so long


class Planner:
    """Plans one guest, or all. `record` gives the record in force by its key; `lasting`
    is the age (ns) at which a seen socket is there to stay; `mark` gives the mark's
    value for a routing table (0 for none, see return_path)."""

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
        # By metadata of the guests so far, if all are planned.
        self._published: list[tuple[Published, str]] | None = None
        # If all are planned, also the running guests, by name and by UUID, and what
        # claims leave to services.
        self._running: dict[str, list[Record]] = {}
        self._left: set[Entry] | None = None
        self.bridges: list[str] = []
        try:
            self.bridges = compiled.bridges()
            inventory.know_bridges(self.bridges)
        except Damaged:
            pass  # the lookup of a guest raises this error again

    def know_earlier(self, records: Iterable[Record]) -> None:
        """Set the guests that run longer than the next one: as in `all`, what their
        metadata publishes is theirs."""
        self._published = [
            (port, record.guest.name) for record in records for port in record.claims
        ]

    def settings(self, guest: Guest) -> Settings:
        """The settings of the guest in forwards.yaml, under its name and under its
        UUID; or else by a pattern."""
        settings = parse_settings(self.compiled.lines_of(guest.name, guest.uuid))
        if guest.metadata:
            from .metadata_merge import add_metadata  # few guests have any

            add_metadata(settings, guest, self.compiled)
        return settings

    def plan(self, record: Record) -> DesiredState:
        """The desired state of a guest or of a claim."""
        is_claim = record.guest.driver == "claim"
        return self.claim(record.guest.name) if is_claim else self.guest(record)

    def guest(self, record: Record) -> DesiredState:
        """The desired state of the guest, as if it were alone."""
        settings = self.settings(record.guest)
        if settings.from_metadata and self._published is not None:
            from .metadata_merge import yield_to_earlier

            yield_to_earlier(settings, record, self._published)
        if not settings.wanted:
            return DesiredState(record, settings, Endpoint({}, [], ""))
        accepts = [entry for entry in record.entries if isinstance(entry, Accept)]
        now = {family_of(one.address): one.address for one in accepts}
        endpoint = find_endpoint(
            record.guest, settings, self.inventory, now, record.ousted, self._names
        )
        desired = DesiredState(record, settings, endpoint)
        if settings.is_hairpin:
            desired.ports = find_ports(record.guest, settings, self.inventory)
        records = [record, *(self._claims(record.guest) if settings.claim else ())]
        routes = self._find_return_routes(desired) if settings.is_returned else []
        published = settings.published(endpoint.addresses)
        self._meet(desired, published, records)
        left = self._left_by_claims(records[1:])
        desired.exempt = [one for one in desired.exempt if one not in left]
        own = self._own(desired, settings, records)
        desired.plan(own, self._kept_by_libvirt(settings))
        if settings.is_wide:
            desired.needs = self._network_needs()
        if settings.is_loopback:
            address = endpoint.addresses.get(Family.IPV4)
            desired.needs += [
                LoopbackNeed(n.name)
                for n in endpoint.networks
                if has_address(n, address)
            ]
        desired.needs += routes
        return desired

    def _find_return_routes(self, desired: DesiredState) -> list[ReturnRouteNeed]:
        """Find the return routes that the guest's answers need."""
        from .return_path import find_return_routes  # few guests need it

        addresses = desired.endpoint.addresses
        bridges = {
            family: [n for n in desired.endpoint.networks if has_address(n, address)]
            for family, address in addresses.items()
        }
        inventory, settings = self.inventory, desired.settings
        routes, desired.unmarked = find_return_routes(
            settings, addresses, bridges, inventory, self._mark
        )
        return routes

    def _meet(
        self, desired: DesiredState, published: list[Published], records: list[Record]
    ) -> None:
        """Find the port conflicts of the ports to publish; the records say which
        entries are in force, and which listeners were there first."""
        held = [entry for one in records for entry in (*one.entries, *one.left)]
        past = Past(records)
        met = find_port_conflicts(published, held, self.inventory, past)
        before = time.monotonic_ns() - self._lasting
        met, desired.seen = find_lasting(met, past, self.inventory, before)
        desired.exempt = find_exempt(published, held, met, self.inventory)
        desired.yield_to(find_port_owners(met, self.inventory, past))
        if self.inventory.taken:
            from .foreign_conflicts import find_foreign_owners  # few need it

            port_owners, exempt = find_foreign_owners(
                published, held, past, self.inventory
            )
            desired.yield_to(port_owners)
            desired.exempt += exempt

    def _own(
        self, desired: DesiredState, settings: Settings, records: list[Record]
    ) -> list[Address]:
        """The guest's public addresses that are the host's own. What the guest's record
        says counts before a claim's; of a former release it says what is in force."""
        if not settings.public:
            return []
        dnats = [one for one in desired.record.entries if isinstance(one, Dnat)]
        hosts = (one.published.host for one in dnats)
        known = {host: False for host in hosts if host}
        for record in reversed(records):
            known.update(record.public)
        is_own = self.inventory.is_own
        desired.public = {h: is_own(h, known.get(h)) for h in settings.public}
        return [host for host, is_hosts in desired.public.items() if is_hosts]

    def _kept_by_libvirt(self, settings: Settings) -> list[Published]:
        """The ports on the address of a bridge that stay there, whoever listens."""
        some = [
            forward.published(family)
            for forward in settings.forwards
            for family in forward.families
            if not forward.is_any
        ]
        ports = [one for one in some if is_exempt(one)]
        own = self.inventory.bridge_addresses() if ports else ()
        return [one for one in ports if one.host in own]

    def _claims(self, guest: Guest) -> list[Record]:
        """The claims that hold rejected ports of the guest, whether it runs or not."""
        records = (self._record(("claim", name)) for name in (guest.name, guest.uuid))
        return [record for record in records if record]

    def _left_by_claims(self, claims: Iterable[Record]) -> Collection[Entry]:
        """The entries by which the guest's claims leave ports to services on bridges:
        they stay while the guest does not run, so they are not its own, too."""
        if self._left is not None:
            return self._left
        entries = [entry for claim in claims for entry in claim.entries]
        return [entry for entry in entries if isinstance(entry, Exempt)]

    def claim(self, name: str) -> DesiredState:
        """The desired state of a claim: the ports of a guest in forwards.yaml that stay
        rejected, whether it runs or not."""
        settings = parse_settings(self.compiled.lookup(name))
        guest = Guest("claim", name, settings.claim, [])
        record, records = Record(guest, 0, 0, [], []), self._claims(guest)
        # What is forwarded to the running guest is in force for its claim, too.
        records += self._running.get(name, ())
        desired = DesiredState(record, Settings(), Endpoint({}, [], ""))
        # No claim has a port of loopback, so that no listener there matters.
        local = {f.published(Family.IPV4) for f in settings.forwards if f.is_loopback}
        published = [one for one in settings.published(BOTH) if one not in local]
        self._meet(desired, published, records)
        own = self._own(desired, settings, records)
        reasons = desired.reasons(settings, own)
        desired.entries = settings.claimed(reasons, desired.holes)
        desired.entries += desired.exempt if desired.entries else []
        for one, reason in reasons.items():
            desired.conflicts[Reject, one] = reason
        if settings.is_wide:
            desired.needs = self._network_needs()
        return desired

    def all(self, records: list[Record]) -> list[DesiredState]:
        """The desired states of all guests, claims and needs: of two guests that want
        the same, the guest that runs longer has it, but for an address from which it
        was ousted."""
        records = [r for r in records if r.guest.driver not in ("network", "claim")]
        for record in records:
            for known in (record.guest.name, record.guest.uuid):
                self._running.setdefault(known, []).append(record)
        found = [self.claim(name) for name in self.compiled.claims()]
        self._names = {n.mac: r.guest.name for r in records for n in r.guest.nics}
        self._published = []
        entries = [entry for one in found for entry in one.entries]
        self._left = {entry for entry in entries if isinstance(entry, Exempt)}
        guests = [self.guest(record) for record in records]
        self._published = self._left = None
        taken: dict[EntryKey, Record] = kept_from_ousted(guests)
        for desired in guests:
            withhold(desired, taken)
            tell_ousted(desired, records)
            found.append(desired)
        needed = dict.fromkeys(
            need for one in found if one.entries for need in one.needs
        )
        shared = [one for need in needed if (one := self.shared(need))]
        return [*shared, *found]

    def base_rulesets(
        self, desired: Iterable[DesiredState], base: dict[str, str]
    ) -> dict[str, str]:
        """The base rulesets for these guests. What only their metadata needs is noted
        in the base."""
        base.pop("metadata", None)
        some = [more for one in desired if (more := one.settings.from_metadata)]
        if not some:
            return self.compiled.base_rulesets()
        from .metadata_needs import extended_rulesets

        rulesets, base["metadata"] = extended_rulesets(self.compiled, some)
        return rulesets

    def _network_needs(self) -> list[Need]:
        """The needs of all active networks: their bridges must keep DNS and DHCP."""
        known = map(self.inventory.network, self.inventory.names())
        return [Need(n.name) for n in known if n and n.is_ours and n.subnets]

    def shared(self, need: Need) -> DesiredState | None:
        """The desired state of a need that guests share: the entries of an active
        network, or the extra entries of its bridge; None if the network is not active.
        """
        network = self.inventory.network(need.network)
        if network is None:
            return None
        desired = self.network(network)
        guest = desired.record.guest
        guest.name = need.name
        if isinstance(need, ReturnRouteNeed):
            guest.uuid = ""
            desired.entries = [need.route(network.bridge)]
        elif isinstance(need, LoopbackNeed):
            guest.uuid = _BEHIND + network.bridge
            desired.entries = [LoopbackBridge(network.bridge)]
        return desired

    def network(self, network: Network) -> DesiredState:
        """The entries of a network, which all of its guests share."""
        guest = Guest("network", network.name, network.bridge, [])
        record = Record(guest, 0, 0, [], [])
        desired = DesiredState(record, Settings(), Endpoint({}, [], ""))
        desired.entries = network_entries(network.subnets)
        if not network.is_inside(self.inventory.is_default_source):
            entries = desired.entries
            desired.entries = [one for one in entries if not isinstance(one, Exempt)]
        return desired
