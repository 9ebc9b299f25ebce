"""hooks.json (qemu.json in older releases) of saschpe's libvirt-hook-qemu. Pure."""

from __future__ import annotations

from dataclasses import replace

from ..config.yaml_nodes import Node, Pairs, Place, Text, listed, pairs
from ..values.protocols import PROTOCOLS
from .imported import Found, Imported, Left, NotCarried, parse_span, span, unreadable
from .source_tree import items, origin, parse_json, plain, value

_KNOWN = ("interface", "private_ip", "public_ip", "source_ip", "port_map", "port_range")
_ADDRESSES = ("private_ip", "public_ip", "source_ip")
_NONE = Text(Place(""), "")
_EVERY = (
    "Without a public_ip the hook took the address of the default route; here such a "
    "port is on every IPv4 address of the host (0.0.0.0)."
)
_FOR_ALL = (
    "The hook looked at source_ip for port_map alone; here it is for port_range too."
)


def read_hooks_json(text: str, name: str) -> Found:
    """All ports of all guests."""
    found = Found()
    tree = parse_json(text, name, found)
    if not isinstance(tree, Pairs):
        raise unreadable(str(tree.place), "hooks.json is an object with a key a guest")
    for key, node in tree.nodes:
        for one in listed(node):
            _domain(key.value, one, found)
    return found


def _domain(guest: str, node: Node, found: Found) -> None:
    """One guest at one address."""
    parts = pairs(node)
    strange = [key for key in _ADDRESSES if not isinstance(parts.get(key, _NONE), Text)]
    if strange:
        why = f"{guest} has more than one address as its {strange[0]}"
        found.take(Left(origin(node), why))
        return
    if not value(parts, "private_ip"):
        found.take(Left(origin(node), f"{guest} has no private_ip"))
        return
    base = Imported(
        origin(node),
        guest=guest,
        address=value(parts, "private_ip"),
        host_ips=tuple(filter(None, [value(parts, "public_ip")])),
        allow_from=tuple(filter(None, [value(parts, "source_ip")])),
    )
    if not base.host_ips and _EVERY not in found.notes:
        found.notes.append(_EVERY)
    if base.allow_from and "port_range" in parts and _FOR_ALL not in found.notes:
        found.notes.append(_FOR_ALL)
    for key, other in parts.items():
        if key not in _KNOWN:
            found.take(Left(origin(other), f"{key} is no key of hooks.json"))
    for protocol, ports in pairs(parts.get("port_map")).items():
        for port in items(ports):
            found.take(_read(base, protocol, port))
    for port_range in items(parts.get("port_range")):
        found.take(_read(base, value(pairs(port_range), "protocol"), port_range))


def _read(base: Imported, protocol: str, node: Node) -> Imported | Left:
    one = replace(base, origin=origin(node), protocols=(protocol,))
    try:
        if protocol not in PROTOCOLS:
            raise NotCarried(f"{protocol or 'nothing'} has no ports to be forwarded")
        published, target = _ports(node)
    except NotCarried as error:
        return Left(one.origin, str(error))
    return replace(one, published=published, target=target)


def _ports(node: Node) -> tuple[str, str]:
    if isinstance(node, Pairs):
        first, _ = parse_span(value(pairs(node), "init_port"))
        count, _ = parse_span(value(pairs(node), "ports_num"))
        return (span(first, first + count - 1),) * 2
    found = [_port(one) for one in listed(node)]
    if len(found) not in (1, 2):
        raise NotCarried(f"{plain(node)} is neither a port nor a pair of ports")
    return found[0], found[-1]


def _port(node: Node) -> str:
    return span(*parse_span(node.value if isinstance(node, Text) else ""))
