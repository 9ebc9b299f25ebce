"""One spelling for what netfilter's tools, old and new, spell in several ways. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network

from ..values.protocols import BY_NUMBER

_PROTOCOLS = {
    **BY_NUMBER,
    "1": "icmp",
    **dict.fromkeys(("58", "ipv6-icmp", "icmp6"), "icmpv6"),
}
_FAMILIES = {"ip": "ipv4", "ip6": "ipv6"}
_CACHED = 4096


def canonical(field: str, value: str) -> str:
    """A value of a field; '' for one that stands for everything. Raises ValueError for
    what is none."""
    if value[:1] == "@" or not value:
        return value
    if field in ("saddr", "daddr"):
        return _addresses(value)
    if field in ("in", "out", "physin", "physout"):
        name = f"{value[:-1]}*" if value[-1:] == "+" else value
        return "" if name == "*" else name
    if field == "proto":
        return _PROTOCOLS.get(value.lower(), value.lower())
    if field in ("sport", "dport"):
        return _ports(value)
    if field == "family":
        return _FAMILIES.get(value, value)
    if field in ("state", "direction", "dsttype", "srctype"):
        return value.lower()
    return value


@lru_cache(_CACHED)
def _addresses(value: str) -> str:
    if "-" in value:
        return value
    net = ip_network(value, strict=False)
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def _ports(value: str) -> str:
    first, colon, last = value.partition(":")
    if not colon:
        return value
    if (first or last) and (first or "0").isdigit() and (last or "0").isdigit():
        return f"{first or 0}-{last or 65535}"
    raise ValueError(f"{value} is no range of ports")


def plain_error(text: str) -> str:
    """What is rejected with, in one spelling: port-unreachable, tcp-reset."""
    words = [w for w in text.replace("tcp reset", "tcp-reset").split() if w != "type"]
    name = words[-1] if words else "port-unreachable"
    for head in ("icmp6-", "icmpx-", "icmp-"):
        name = name[len(head) :] if name.startswith(head) else name
    return name
