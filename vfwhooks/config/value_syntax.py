"""Parsers for the values of one port entry: Compose's short syntax, ranges, addresses,
protocols."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple, Union

from ..values.errors import VfwError, show
from ..values.protocols import ONE_OF_THEM, PROTOCOLS

Address = Union[IPv4Address, IPv6Address]
Subnet = Union[IPv4Network, IPv6Network]
_TOO_LONG = 10  # digits of a port; Python refuses thousands of digits
_LONGEST_NAME = 15  # bytes in the name of an interface
_MAPPED = 96  # bits before an IPv4 address that is written as IPv6
_BETWEEN = frozenset(" ,\t\n")


@dataclass(frozen=True)
class PortRange:
    """The ports from `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return (
            f"{self.first}-{self.last}" if self.last > self.first else f"{self.first}"
        )

    def has(self, port: int) -> bool:
        return self.first <= port <= self.last


class Short(NamedTuple):
    """An entry of the short syntax; `host_ip` and `protocol` are '' if not given."""

    host_ip: str
    published: PortRange
    target: PortRange
    protocol: str


def parse_short(text: str) -> Short:
    """An entry like 8080:80, 443, 5000-5010:5000-5010/udp, [2001:db8::5]:443:443."""
    body, slash, protocol = text.partition("/")
    if slash and not protocol:
        raise VfwError(f"{show(text)}: no protocol behind the slash")
    if slash and not body:
        raise VfwError(f"{show(text)}: no port in front of the slash")
    if not _BETWEEN.isdisjoint(body):
        several = "no blanks and commas in one; several are a list, [8080:80, 443]"
        raise VfwError(f"{show(text)}: {several}")
    host_ip, published, target = _split(body, text)
    if body and not target:
        raise VfwError(f"{show(text)}: no target port; write it out")
    ports = parse_ports(target)
    if published is None:
        return Short(host_ip, ports, ports, protocol)
    if not published:
        raise VfwError(f"{show(text)}: no published port; write it out")
    return Short(host_ip, parse_ports(published), ports, protocol)


def _split(body: str, text: str) -> tuple[str, str | None, str]:
    host_ip: str | None
    if body.startswith("["):
        host_ip, bracket, rest = body[1:].partition("]:")
        if not bracket or rest.count(":") != 1:
            raise VfwError(f"{show(text)}: write [IPv6 address]:published:target")
    elif body.count(":") > 2:
        cure = "write an IPv6 address in [brackets], and all in quotes"
        raise VfwError(f"{show(text)}: {cure}")
    elif body.count(":") == 2:
        host_ip, _, rest = body.partition(":")
        if host_ip.isdigit():
            cure = "two are HOST:GUEST, and an address may stand in front of them"
            raise VfwError(f"{show(text)}: three ports; {cure}")
    else:
        host_ip, rest = None, body
    if host_ip == "":
        raise VfwError(f"{show(text)}: no address in front of the ports")
    published, colon, target = rest.partition(":")
    return host_ip or "", published if colon else None, target if colon else published


@cache
def parse_ports(text: str) -> PortRange:
    """One port or a range, FIRST-LAST; ports are 1 to 65535."""
    low, dash, high = text.partition("-")
    first = _port(low, text)
    last = _port(high, text) if dash else first
    if last < first:
        raise VfwError(f"range {text} is reversed; write {last}-{first}")
    return PortRange(first, last)


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        # In ASCII, since other dashes and quotes may look the same.
        raise VfwError(f"{text!a} is not a port or a range of ports")
    number = int(digits) if len(digits) < _TOO_LONG else 0
    if not 0 < number < 65536:
        raise VfwError(f"{show(text)}: ports are 1 to 65535")
    return number


def parse_address(text: str) -> Address:
    """An IPv4 or IPv6 address that a host or a guest can have."""
    try:
        address = ip_address(text)
    except ValueError:
        hint = "an IPv4 or IPv6 address is needed here"
        raise VfwError(f"{text!r} is not an address: {hint}") from None
    if isinstance(address, IPv6Address):
        if address.scope_id:
            raise VfwError(f"{show(text)}: an address with a zone cannot be forwarded")
        if address.ipv4_mapped:
            raise VfwError(f"{text}: write {address.ipv4_mapped}")
    if address.is_multicast or text == "255.255.255.255":
        raise VfwError(f"{text} is not the address of one host")
    return address


def parse_guest_address(text: str) -> Address:
    """An address that a guest can have: no loopback, and one address only."""
    address = parse_address(text)
    if address.is_unspecified or address.is_loopback:
        raise VfwError(f"{text} is not the address of one host")
    return address


def parse_host_ip(text: str) -> Address:
    """An address of this host for published ports."""
    address = parse_address(text)
    if isinstance(address, IPv6Address) and address.is_loopback:
        why = "Linux routes nothing from ::1 to a guest"
        raise VfwError(f"{text} cannot be forwarded: {why}; write 127.0.0.1")
    return address


def parse_public_ip(text: str) -> Address:
    """An address of this host that can belong to one guest."""
    address = parse_host_ip(text)
    if address.is_unspecified or address.is_loopback or address.is_link_local:
        raise VfwError(f"{text} is not an address that the world knows one guest by")
    return address


def parse_subnet(text: str) -> Subnet:
    """A source range: a network in CIDR form, or one address."""
    if "%" in text:  # Python takes any text as a zone, and the rules would have it
        raise VfwError(f"{show(text)}: a source range has no zone")
    try:
        network = ip_network(text)
    except ValueError:
        with suppress(ValueError):
            right = ip_network(text, strict=False)
            raise VfwError(f"{text} has host bits set; write {right}") from None
        what = f"{text!r} is not an address or a network like 10.0.0.0/8"
        raise VfwError(what) from None
    first = network.network_address
    if first.is_unspecified and "/" not in text:
        raise VfwError(f"nobody has the address {text}; write {text}/0 for everybody")
    four = first.ipv4_mapped if isinstance(first, IPv6Address) else None
    if four and network.prefixlen >= _MAPPED:
        right = ip_network(f"{four}/{network.prefixlen - _MAPPED}")
        raise VfwError(f"{text}: write {right}")
    return network


def parse_bridge(text: str) -> str:
    """The name of a bridge, as the kernel allows it."""
    return _device(text, "a bridge", "ip -br link show type bridge")


def parse_interface(text: str) -> str:
    """The name of an interface, as the kernel allows it."""
    return _device(text, "an interface", "ip -br link")


def _device(text: str, what: str, command: str) -> str:
    size = len(text.encode("utf-8", "surrogateescape"))
    is_known = text not in (".", "..") and size <= _LONGEST_NAME
    if not is_known or any(one in "/:\0" or one.isspace() for one in text):
        cure = f"{command} lists those of this host"
        raise VfwError(f"{show(text)} is not the name of {what}; {cure}")
    return text


def parse_when_stopped(text: str) -> bool:
    """True for reject, False for pass: whether a stopped guest's ports are rejected."""
    if text not in ("reject", "pass"):
        raise VfwError(f"{text!r} is neither reject nor pass")
    return text == "reject"


def parse_protocol(text: str) -> str:
    """A protocol, in lower or upper case."""
    if text.lower() not in PROTOCOLS:
        raise VfwError(f"{text!r} is not a protocol; write {ONE_OF_THEM}")
    return text.lower()
