"""What the kernel is to hold for a guest or a network, as values: one entry is one
element of our sets and maps, or a few rules of our chains.

Texts are made of entries at two edges: in the state directory (entry_text), and by the
backends (nft_elements, iptables_rules). Between them nothing is taken apart by
position.
"""

from __future__ import annotations

from dataclasses import dataclass

from .published import Address, Family, Published, Subnet, family_of, hashed_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

Key = tuple[type, object]


@hashed_once
@dataclass(frozen=True)
class Dnat:
    """What is published leads to the guest's address, and `port` there. A range keeps
    its numbers, and `port` is its first."""

    published: Published
    address: Address
    port: int
    verb = "dnat"


@hashed_once
@dataclass(frozen=True)
class SourceRanges:
    """A chain, named by its list of sources, decides who may connect."""

    published: Published
    chain: str
    verb = "guard"


@hashed_once
@dataclass(frozen=True)
class Reject:
    """What gets through to the host itself is rejected."""

    published: Published
    verb = "reject"


@hashed_once
@dataclass(frozen=True)
class Masquerade:
    """The guest sees the host in place of the client."""

    published: Published
    verb = "masq"


@hashed_once
@dataclass(frozen=True)
class ReturnMark:
    """Connections to one address that come in by the uplink get the mark's value, by
    which their answers are routed. What is published on every address has one for each
    that needs it (`is_any`): asked where no port on that address alone is."""

    published: Published
    uplink: str
    value: int
    is_any: bool

    @property
    def verb(self) -> str:
        """One of two, since there are two sets."""
        return "backany" if self.is_any else "back"


@hashed_once
@dataclass(frozen=True)
class Exempt:
    """This address and port stay the host's."""

    published: Published
    verb = "left"


@hashed_once
@dataclass(frozen=True)
class Snat:
    """What the guest at `source` begins itself leaves from the address `to`."""

    source: Address
    to: Address
    verb = "snat"


@hashed_once
@dataclass(frozen=True)
class HairpinSubnet:
    """Connections between guests of the subnet by way of the host are masqueraded."""

    subnet: Subnet
    verb = "hairpin"


@hashed_once
@dataclass(frozen=True)
class InsideSubnet:
    """Who connects to the subnet from outside of it keeps his address."""

    subnet: Subnet
    verb = "inside"


@hashed_once
@dataclass(frozen=True)
class LoopbackBridge:
    """By this bridge the host's loopback is forwarded to guests."""

    bridge: str
    verb = "localnet"


@hashed_once
@dataclass(frozen=True)
class Accept:
    """What was DNATed to the guest's address is let in, past libvirt's own rules."""

    address: Address
    verb = "accept"


@hashed_once
@dataclass(frozen=True)
class ReturnRoute:
    """What has the mark's value and comes in by the bridge is routed by the table; an
    `ip rule`, which no firewall knows of (see return_path)."""

    family: Family
    bridge: str
    table: int
    value: int
    uplink: str
    verb = "way"


@hashed_once
@dataclass(frozen=True)
class HairpinMode:
    """The guest's port of the bridge is in hairpin mode: only said, never kept."""

    bridge: str
    device: str
    verb = "mode"


PUBLISHING = Dnat, SourceRanges, Reject, Masquerade, ReturnMark, Exempt
if TYPE_CHECKING:
    Publishing = Union[Dnat, SourceRanges, Reject, Masquerade, ReturnMark, Exempt]
    Entry = Union[
        Publishing,
        Snat,
        HairpinSubnet,
        InsideSubnet,
        LoopbackBridge,
        Accept,
        ReturnRoute,
    ]
    Kept = Union[Entry, HairpinMode]  # what is written down, or only said
else:  # for who imports them to say a type
    Publishing = Entry = Kept = object


def entry_family(entry: Entry) -> Family:
    """The family that the entry is of."""
    if isinstance(entry, PUBLISHING):
        return entry.published.family
    if isinstance(entry, Accept):
        return family_of(entry.address)
    if isinstance(entry, Snat):
        return family_of(entry.source)
    if isinstance(entry, (HairpinSubnet, InsideSubnet)):
        return Family.IPV6 if entry.subnet.version == 6 else Family.IPV4
    return entry.family if isinstance(entry, ReturnRoute) else Family.IPV4


def key_of(entry: Entry) -> Key:
    """What two entries cannot both have: everything but where a packet is sent."""
    if isinstance(entry, ReturnMark):
        return ReturnMark, (entry.published, entry.is_any)
    if isinstance(entry, PUBLISHING):
        return type(entry), entry.published
    if isinstance(entry, Accept):
        return Accept, entry.address
    return (Snat, entry.source) if isinstance(entry, Snat) else (type(entry), entry)
