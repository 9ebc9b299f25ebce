"""Entries, made from a guest's forwards and addresses. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..values.entries import (
    Accept,
    Dnat,
    Entry,
    Exempt,
    HairpinSubnet,
    InsideSubnet,
    Masquerade,
    Reject,
    ReturnMark,
    Snat,
    SourceRanges,
    entry_family,
)
from ..values.protocols import Protocol
from ..values.published import (
    BOTH,
    Address,
    Claimed,
    Egress,
    Family,
    Published,
    Subnet,
    family_of,
    one_to_one,
)
from .forwards_keys import NO_OPTIONS, PortOptions

Addresses = dict[Family, Address]
_NONE: Mapping[Published, Collection[int]] = {}
# The places where a forward can be written: forwards.yaml, the domain's metadata.
FILE, METADATA = "file", "metadata"


@dataclass(eq=False)
class PortMapping:
    """One forward. `host` None means every local address; 0.0.0.0 and :: mean those of
    their family. `allow` names the chain of source ranges, '' for none. `return_marks`
    are what marks connections with `return_path`: address, interface, value (see
    return_path).
    `source` says where the forward is written."""

    host: Address | None
    protocol: Protocol
    first: int
    last: int
    target: int
    target_last: int
    allow: str = ""
    is_claimed: bool = False
    options: PortOptions = NO_OPTIONS
    return_marks: Sequence[tuple[Address, str, int]] = ()
    source: str = FILE
    _published: dict[Family, Published] = field(default_factory=dict, init=False)

    @property
    def families(self) -> tuple[Family, ...]:
        """The families that the forward publishes."""
        return BOTH if self.host is None else (family_of(self.host),)

    def published(self, family: Family) -> Published:
        """The published ports of one family."""
        if family not in self._published:
            host = None if self.is_any else self.host
            self._published[family] = Published(
                family, host, self.protocol, self.first, self.last
            )
        return self._published[family]

    @property
    def host_ip(self) -> str:
        """The published address as text for users."""
        return "*" if self.host is None else str(self.host)

    @property
    def is_any(self) -> bool:
        """Whether it publishes on every local address, of one family or both."""
        return self.host is None or self.host.is_unspecified

    @property
    def is_loopback(self) -> bool:
        """Whether only the host itself can connect."""
        host = self.host
        return host is not None and host.version == 4 and host.is_loopback

    def entries(
        self, family: Family, address: Address, holes: Collection[int] = ()
    ) -> list[Entry]:
        """The desired entries towards the guest at `address`; `holes` are ports of a
        range that stay the host's."""
        published = self._parts(family, holes)
        found: list[Entry] = []
        if self.allow:
            for part in published:
                found.append(SourceRanges(part, self.allow))
                if not self.is_claimed:
                    found.append(Reject(part))
        if self.return_marks or self.options.masquerade:
            found += self._marking(family, published)
        if self.first == self.last:
            return [*found, Dnat(published[0], address, self.target)]
        if self.first == self.target < self.target_last:
            return found + [Dnat(part, address, part.first) for part in published]
        one = self.published(family)
        step = 1 if self.target_last > self.target else 0
        for number, port in enumerate(range(self.first, self.last + 1)):
            if port not in holes:
                target = self.target + number * step
                found.append(Dnat(one.at(port), address, target))
        return found

    def _marking(self, family: Family, published: list[Published]) -> Iterable[Entry]:
        """Entries that mark connections, for each host address separately."""
        for part in published if self.options.masquerade else ():
            yield Masquerade(part)
        for host, uplink, value in self.return_marks:
            for part in published if family_of(host) == family else ():
                yield ReturnMark(part.on(host), uplink, value, self.is_any)

    def rejected(self, family: Family, holes: Collection[int] = ()) -> list[Reject]:
        """Entries that reject connections to the host itself."""
        return [Reject(part) for part in self._parts(family, holes)]

    def _parts(self, family: Family, holes: Collection[int]) -> list[Published]:
        """The published ports, in several parts if there are holes."""
        one = self.published(family)
        if not holes:
            return [one]
        found, first = [], self.first
        for port in [*sorted(holes), self.last + 1]:
            if first < port:
                found.append(one.ports(first, port - 1))
            first = port + 1
        return found


@dataclass
class FromMetadata:
    """What the metadata of a guest's domain says.

    `faults`: what is wrong with it, so that it counts for nothing. `refused`: forwards
    that are left out, each with its state and the reason. `claims`: the published ports
    that no other guest's metadata may have; `contested`: those of them that another
    guest has, with the reason. `lists`, `marks`: the source ranges by the names of
    their chains, and the keys about answers, for which there are rules of their own.
    """

    faults: list[str] = field(default_factory=list)
    refused: list[tuple[PortMapping, str, str]] = field(default_factory=list)
    claims: list[Published] = field(default_factory=list)
    lists: dict[str, tuple[Subnet, ...]] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)
    contested: dict[Published, str] = field(default_factory=dict)


@dataclass
class Settings:
    """One guest's settings from forwards.yaml, as compiled."""

    addresses: Addresses = field(default_factory=dict)
    pattern: str = ""  # by which the guest has its forwards
    network: str = ""
    bridge: str = ""
    claim: str = ""  # the owner of rejects while the guest does not run
    forwards: list[PortMapping] = field(default_factory=list)
    public: list[Address] = field(default_factory=list)  # the guest's, not the host's
    # Addresses whose unpublished ports are rejected; on `kept` also without the guest.
    one_to_one: list[Address] = field(default_factory=list)
    kept: list[Address] = field(default_factory=list)
    egress: list[Address] = field(default_factory=list)  # of the guest's connections
    over: set[Published] = field(default_factory=set)  # they yield to no listener
    # With the interface of the host, which has no address.
    unplaced: list[tuple[str, PortMapping]] = field(default_factory=list)
    from_metadata: FromMetadata | None = None  # what the guest's metadata adds
    is_shared: bool = False  # another guest may want the ports while this one runs
    is_wide: bool = False  # it needs every network's entries
    is_loopback: bool = False  # a forward is on a 127.x address of the host
    is_hairpin: bool = False  # the guest reaches itself through the host
    is_returned: bool = False  # some answers leave by the host's own way

    @property
    def wanted(self) -> list[tuple[Family, ...]]:
        """The families of addresses that the guest needs: one family of each tuple."""
        leaving = [(family_of(address),) for address in self.egress]
        return [*(forward.families for forward in self.forwards), *leaving]

    def published(self, families: Collection[Family]) -> list[Published]:
        """The published ports of these families, except those that yield to no
        listener."""
        found = [
            forward.published(family)
            for forward in self.forwards
            for family in forward.families
            if family in families
        ]
        if self.over:
            found = [one for one in found if one not in self.over]
        hosts = [*self.one_to_one, *self.kept]
        return found + [
            one_to_one(host) for host in hosts if family_of(host) in families
        ]

    def at(self, host: Address) -> list[Claimed]:
        """What the guest publishes at a host address, the whole address, and its
        egress."""
        found = [f.published(family_of(host)) for f in self.forwards if f.host == host]
        return [*found, one_to_one(host), Egress(host)]

    def entries(
        self,
        addresses: Addresses,
        without: Collection[Claimed] = (),
        holes: Mapping[Published, Collection[int]] = _NONE,
    ) -> list[Entry]:
        """The desired entries of a guest at `addresses`. Other users have the published
        ports in `without` and, for ranges, in `holes`; these are left out."""
        found: list[Entry] = []
        for forward in self.forwards:
            for family in forward.families:
                if family not in addresses:
                    continue
                one = forward.published(family)
                if not without or one not in without:
                    some = holes.get(one, ()) if holes else ()
                    found += forward.entries(family, addresses[family], some)
        for host in self.one_to_one:
            if family_of(host) in addresses and one_to_one(host) not in without:
                found.append(Reject(one_to_one(host)))
        for host in self.egress:
            if family_of(host) in addresses and Egress(host) not in without:
                found.append(Snat(addresses[family_of(host)], host))
        used = {entry_family(entry) for entry in found}
        return found + [Accept(addresses[f]) for f in addresses if f in used]

    def claimed(
        self,
        without: Collection[Claimed] = (),
        holes: Mapping[Published, Collection[int]] = _NONE,
    ) -> list[Entry]:
        """The rejects that stay whether the guest runs or not. While the ports are
        forwarded, no connection to them reaches the host."""
        found: list[Entry] = [
            entry
            for forward in self.forwards
            if not forward.is_loopback
            for family in forward.families
            if (one := forward.published(family)) not in without
            for entry in forward.rejected(family, holes.get(one, ()))
        ]
        kept = [one_to_one(host) for host in self.kept]
        return found + [Reject(one) for one in kept if one not in without]


def network_entries(subnets: Iterable[tuple[Address, Subnet]]) -> list[Entry]:
    """The entries that a network needs once: DNS and DHCP stay libvirt's; hairpins
    work. A subnet inside another one (of a second address, with /32 say) needs none of
    its own, and nf_tables would refuse them."""
    pairs = list(subnets)
    found: list[Entry] = []
    for address, subnet in pairs:
        family = family_of(address)
        for protocol, port in _EXEMPT[family]:
            found.append(Exempt(Published(family, address, protocol, port, port)))
        if not any(_is_within(subnet, other) for _, other in pairs):
            found += HairpinSubnet(subnet), InsideSubnet(subnet)
    return list(dict.fromkeys(found))  # two addresses may be in one subnet


def is_exempt(one: Published) -> bool:
    """Whether this is a port that stays libvirt's on the addresses of its bridges."""
    return not one.is_range and (one.protocol, one.first) in _EXEMPT[one.family]


def _is_within(subnet: Subnet, other: Subnet) -> bool:
    """Whether the subnet is a part of a larger one."""
    is_smaller = subnet.prefixlen > other.prefixlen
    return is_smaller and subnet.network_address in other


_TCP, _UDP = Protocol.TCP, Protocol.UDP
_EXEMPT = {
    Family.IPV4: ((_TCP, 53), (_UDP, 53), (_UDP, 67), (_UDP, 69)),
    Family.IPV6: ((_TCP, 53), (_UDP, 53), (_UDP, 547)),
}
EXEMPT_PORTS = (53, 67, 69, 547)
