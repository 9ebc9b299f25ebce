"""Published ports of the host, as a value: family, address, protocol and ports."""

from __future__ import annotations

from _socket import AF_INET6, inet_ntop
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from .protocols import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar, Union

    T = TypeVar("T")
    Address = Union[IPv4Address, IPv6Address]
    Subnet = Union[IPv4Network, IPv6Network]
    Claimed = Union["Published", "Egress"]  # by one guest at a time
else:  # names for annotations: an import of typing costs a hook 2 ms
    Address = Subnet = Claimed = object

_CACHED = 4096


class Family(str, Enum):
    """An address family, written as its version's digit."""

    IPV4 = "4"
    IPV6 = "6"
    __hash__ = str.__hash__  # the hash of an enum is computed in Python

    def __str__(self) -> str:
        return self._value_


BOTH = (Family.IPV4, Family.IPV6)
EVERY = "*", "0.0.0.0", "::"  # the words for every address of the host


FIRST, LAST = 0, 65535  # the ports of ALL


def hashed_once(of: type[T]) -> type[T]:
    """A frozen dataclass that computes its hash once: an entry is looked up in a dozen
    sets, and an address of Python's computes its hash anew each time."""
    reckon = of.__hash__

    def __hash__(self: T) -> int:  # noqa: N807 - becomes the method
        try:
            return self._hash  # type: ignore[attr-defined,no-any-return] # see below
        except AttributeError:
            found = reckon(self)
            object.__setattr__(self, "_hash", found)
            return found

    of.__hash__ = __hash__  # type: ignore[assignment,method-assign] # that is the point
    return of


@hashed_once
@dataclass(frozen=True)
class Published:
    """Ports of the host, from `first` to `last`: on the address `host`, or on every
    local address if `host` is None."""

    family: Family
    host: Address | None
    protocol: Protocol
    first: int
    last: int

    @property
    def is_range(self) -> bool:
        return self.first != self.last

    @property
    def is_one_to_one(self) -> bool:
        """Whether this is a whole address with all of its protocols and ports."""
        return self.protocol is Protocol.ALL

    def ports(self, first: int, last: int) -> Published:
        """Other ports of the same address and protocol."""
        return Published(self.family, self.host, self.protocol, first, last)

    def at(self, port: int) -> Published:
        """One of these ports."""
        return self.ports(port, port)

    def on(self, host: Address) -> Published:
        return Published(self.family, host, self.protocol, self.first, self.last)

    def has(self, port: int) -> bool:
        return self.first <= port <= self.last

    def is_beside(self, other: Published) -> bool:
        """Whether both have the same address and the same protocol."""
        return (self.family, self.protocol, self.host) == (
            other.family,
            other.protocol,
            other.host,
        )

    def takes_from(self, other: Published) -> bool:
        """Whether connections to some of the other's ports are for this one: a port on
        one address comes before the same port on every address."""
        return (
            self.family == other.family
            and (self.protocol == other.protocol or self._is_all(other))
            and (other.host is None or self.host == other.host)
            and self.first <= other.last
            and other.first <= self.last
        )

    def _is_all(self, other: Published) -> bool:
        return Protocol.ALL in (self.protocol, other.protocol)


@hashed_once
@dataclass(frozen=True)
class Egress:
    """An address of the host from which a guest's own connections leave."""

    host: Address

    @property
    def family(self) -> Family:
        return family_of(self.host)


def family_of(address: Address) -> Family:
    return Family.IPV6 if address.version == 6 else Family.IPV4


@lru_cache(_CACHED)
def parse_address(text: str) -> Address:
    """The address in the text; one object for each address, however many entries lead
    there. Raises ValueError."""
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def is_of_a_link(address: Address) -> bool:
    """Whether only neighbours on one link know the address (fe80::/10): their packets
    are never forwarded, so a port on every address is not published there."""
    return address.version == 6 and address.is_link_local


def find_address(text: str) -> Address | None:
    """The address in a text of another program; None if the text is no address."""
    try:
        return None if "%" in text else parse_address(text)
    except ValueError:
        return None


def unpack_address(packed: bytes) -> Address:
    """An address in the kernel's form, of 4 or 16 bytes. Raises ValueError."""
    return IPv6Address(packed) if len(packed) == 16 else IPv4Address(packed)


@lru_cache(_CACHED)
def parse_subnet(text: str) -> Subnet:
    """The subnet in the text; host bits may be set. Raises ValueError."""
    return IPv6Network(text, False) if ":" in text else IPv4Network(text, False)


def saved(address: Address) -> str:
    """The address as iptables-save writes it: ::1.2.3.4, where Python has ::102:304."""
    return inet_ntop(AF_INET6, address.packed) if address.version == 6 else f"{address}"


def one_to_one(host: Address) -> Published:
    """A whole address of the host, with all of its protocols and ports."""
    return Published(family_of(host), host, Protocol.ALL, FIRST, LAST)


def parse_family(text: str) -> Family:
    """The family with this digit, "4" or "6". Raises ValueError."""
    try:
        return _FAMILIES[text]
    except KeyError:
        raise ValueError(f"no family {text!r}") from None


def parse_protocol(text: str) -> Protocol:
    """The protocol with this name. Raises ValueError."""
    try:
        return _PROTOCOLS[text]
    except KeyError:
        raise ValueError(f"no protocol {text!r}") from None


# A lookup by Enum takes ten times as long, and each line needs one.
_FAMILIES = {str(family): family for family in Family}
_PROTOCOLS = {str(protocol): protocol for protocol in Protocol}
