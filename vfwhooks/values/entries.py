"""The entries that the kernel should hold for a guest or a network, as values: one
entry is one element of our sets and maps, or a few rules of our chains.

Entries become text in two places: in the state directory (entry_text) and in the
backends (nft_elements, iptables_rules). No other module takes such text apart.
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
    """Published ports lead to the guest's address, and to `port` there. A range has
    as many ports there, and `port` is the first."""

    published: Published
    address: Address
    port: int
    verb = "dnat"


@hashed_once
@dataclass(frozen=True)
class SourceRanges:
    """The chain of a list of source ranges decides which clients may connect."""

    published: Published
    chain: str
    verb = "guard"


@hashed_once
@dataclass(frozen=True)
class Reject:
    """Packets that reach the host itself on published ports are rejected."""

    published: Published
    verb = "reject"


@hashed_once
@dataclass(frozen=True)
class Masquerade:
    """The guest sees the host's address in place of the client's."""

    published: Published
    verb = "masq"


@hashed_once
@dataclass(frozen=True)
class ReturnMark:
    """New connections from the uplink to one address of the host get the mark's value;
    the value decides how answers are routed. A forward on every address has one such
    entry for each address that needs it (`is_any`); the backend looks it up after the
    ports of one address."""

    published: Published
    uplink: str
    value: int
    is_any: bool

    @property
    def verb(self) -> str:
        """One of two verbs, since there are two sets."""
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
    """Connections that the guest at `source` opens leave from the address `to`."""

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
    """A client outside the subnet keeps its address when it connects to the subnet."""

    subnet: Subnet
    verb = "inside"


@hashed_once
@dataclass(frozen=True)
class LoopbackBridge:
    """The host's loopback address is forwarded to guests behind this bridge."""

    bridge: str
    verb = "localnet"


@hashed_once
@dataclass(frozen=True)
class Accept:
    """Packets that DNAT sent to the guest's address are accepted ahead of libvirt's
    rules."""

    address: Address
    verb = "accept"


@hashed_once
@dataclass(frozen=True)
class ReturnRoute:
    """Packets with the mark's value that come in by the bridge are routed by the table.
    This is an `ip rule`; no firewall backend holds it (see return_path)."""

    family: Family
    bridge: str
    table: int
    value: int
    uplink: str
    verb = "way"


@hashed_once
@dataclass(frozen=True)
class HairpinMode:
    """The guest's port of the bridge is in hairpin mode: for messages, never stored."""

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
    Kept = Union[Entry, HairpinMode]  # an entry of a record, or one for messages alone
else:  # names for annotations: typing is not imported
    Publishing = Entry = Kept = object


def entry_family(entry: Entry) -> Family:
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
    """The key that two entries in force cannot share: all but the place where a packet
    is sent."""
    if isinstance(entry, ReturnMark):
        return ReturnMark, (entry.published, entry.is_any)
    if isinstance(entry, PUBLISHING):
        return type(entry), entry.published
    if isinstance(entry, Accept):
        return Accept, entry.address
    return (Snat, entry.source) if isinstance(entry, Snat) else (type(entry), entry)
