"""allow_from: the source ranges of a forward, from the key in forwards.yaml to the name
of their chain."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from ..values.published import saved
from .value_reader import Values
from .value_syntax import Address, Subnet, parse_subnet
from .yaml_nodes import Node

Sources = tuple[Subnet, ...]


def read_sources(read: Values, parts: dict[str, Node], above: Sources) -> Sources:
    """The source ranges of a port, a guest or the defaults; without the key,
    `above`."""
    return read.given(parts, "allow_from", parse_subnet, above)


def find_fault(sources: Sources, host_ip: Address) -> str:
    """The problem with these source ranges on this host address; '' for none."""
    if not sources:
        return ""
    if host_ip.is_loopback:
        only = f"only this host itself connects to {host_ip}"
        return f"allow_from has no meaning here: {only}"
    if host_ip.version not in {subnet.version for subnet in sources}:
        what = f"no IPv{host_ip.version} network for host_ip {host_ip}"
        return f"allow_from has {what}: nobody could connect"
    return ""


def collapse(sources: Sources) -> list[Subnet]:
    """The source ranges without those inside another one, IPv4 before IPv6."""
    four = [s for s in sources if isinstance(s, IPv4Network)]
    six = [s for s in sources if isinstance(s, IPv6Network)]
    return [*collapse_addresses(four), *collapse_addresses(six)]


@cache
def chain_name(sources: Sources) -> str:
    """The chain that lets these source ranges through; equal lists have one chain."""
    words = ",".join(map(str, collapse(sources)))
    return "allow_" + sha256(words.encode()).hexdigest()[:16]


def by_family(sources: Sources) -> dict[str, tuple[str, ...]]:
    """The source ranges as text for a ruleset, by family number."""
    found: dict[str, tuple[str, ...]] = {"4": (), "6": ()}
    for source in collapse(sources):
        text = f"{saved(source.network_address)}/{source.prefixlen}"
        found[str(source.version)] += (text,)
    return found
