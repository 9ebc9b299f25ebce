"""allow_from: the source ranges of a forward, from the key in forwards.yaml to the name
of the chain that lets them through."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from .value_reader import Values
from .value_syntax import Address, Subnet, parse_subnet
from .yaml_tree import Node

Sources = tuple[Subnet, ...]


def read_sources(read: Values, parts: dict[str, Node], above: Sources) -> Sources:
    """Those that a port, a guest or the defaults have; without the key, those above."""
    return read.given(parts, "allow_from", parse_subnet, above)


def find_fault(sources: Sources, host_ip: Address) -> str:
    """What is wrong with such sources on this address of the host's; '' for nothing."""
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
    """The sources without what is contained in another, IPv4 before IPv6."""
    four = [s for s in sources if isinstance(s, IPv4Network)]
    six = [s for s in sources if isinstance(s, IPv6Network)]
    return [*collapse_addresses(four), *collapse_addresses(six)]


@cache
def chain_name(sources: Sources) -> str:
    """The chain that lets these sources through; the same list is the same chain."""
    words = ",".join(map(str, collapse(sources)))
    return "allow_" + sha256(words.encode()).hexdigest()[:16]


def by_family(sources: Sources) -> dict[str, tuple[str, ...]]:
    """The sources as they are written in a ruleset, by family number."""
    found: dict[str, tuple[str, ...]] = {"4": (), "6": ()}
    for source in collapse(sources):
        found[str(source.version)] += (str(source),)
    return found
