"""The `ports` of a Compose file; a service is a guest of its name. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..config.yaml_nodes import Node, Pairs, Text, pairs
from ..values.protocols import PROTOCOLS
from .imported import Found, Imported, Left, NotCarried, parse_span, span, unreadable
from .source_tree import items, origin, parse_source, plain, value

_FLAT = "docker compose config writes it out, with variables and aliases in place"
_BINDING = "com.docker.network.bridge.host_binding_ipv4"
_PORTLESS = "macvlan", "ipvlan"  # drivers of networks
_KEYS = ("target", "published", "host_ip", "protocol", "mode", "name", "app_protocol")


def read_compose(text: str, name: str) -> Found:
    """All published ports of all services."""
    found = Found()
    tree = parse_source(text, name, _FLAT, found)
    services = pairs(tree).get("services")
    if not isinstance(services, Pairs):
        raise unreadable(str(tree.place), "it has no services:", "is it a Compose file")
    found.notes.append("Each service is taken for the guest of that name.")
    if "include" in pairs(tree):
        at = pairs(tree)["include"]
        found.take(Left(origin(at), f"include: is not followed; {_FLAT}"))
    networks = pairs(pairs(tree).get("networks"))
    bound = [*_bound_networks(networks)]
    for key, node in services.nodes:
        ports = pairs(node).get("ports")
        closed = _why_closed(pairs(node), networks)
        if "extends" in pairs(node):
            at = pairs(node)["extends"]
            found.take(Left(origin(at), f"extends: is not followed; {_FLAT}"))
        for port in items(ports):
            one = _read(key.value, port)
            if closed and isinstance(one, Imported):
                one = Left(one.origin, closed)
            if bound and isinstance(one, Imported) and not one.host_ips:
                one = Left(one.origin, f"{bound[0]}; name the address at the port")
            found.take(one)
        if isinstance(ports, Text) and ports.value:
            found.take(Left(origin(ports), "ports: is no list"))
    return found


def _bound_networks(networks: dict[str, Node]) -> Iterator[str]:
    """The networks that say on which address ports without one are published."""
    for name, node in networks.items():
        address = value(pairs(pairs(node).get("driver_opts")), _BINDING)
        if address:
            yield f"the network {name} may publish it on {address} alone"


def _why_closed(service: dict[str, Node], networks: dict[str, Node]) -> str:
    """Why Docker publishes no port of the service; '' if it does."""
    mode, scale = value(service, "network_mode"), value(service, "scale")
    scale = scale or value(pairs(service.get("deploy")), "replicas")
    if mode in ("host", "none") or mode.startswith(("service:", "container:")):
        return f"with network_mode: {mode} Docker publishes no port of the service"
    if scale == "0":
        return "no container of the service runs"
    if items(service.get("profiles")):
        some = ", ".join(map(plain, items(service["profiles"])))
        return f"the service is for the profile {some} alone"
    named = service.get("networks")
    names = [*pairs(named), *map(plain, items(named))] or ["default"]
    if all(_is_closed(pairs(networks.get(name))) for name in names):
        return f"Docker publishes no port on the network {', '.join(names)}"
    return ""


def _is_closed(network: dict[str, Node]) -> bool:
    is_internal = value(network, "internal").lower() == "true"
    return is_internal or value(network, "driver") in _PORTLESS


def _read(guest: str, node: Node) -> Imported | Left:
    base = Imported(origin(node), guest=guest)
    try:
        if isinstance(node, Text):
            return _short(base, node.value)
        if isinstance(node, Pairs):
            return _long(base, pairs(node))
        raise NotCarried("it is a list in a list of ports")
    except NotCarried as error:
        return Left(base.origin, str(error))


def _short(base: Imported, text: str) -> Imported:
    """[HOST:]CONTAINER[/PROTOCOL], where HOST is [IP:](PORT | RANGE)."""
    if "$" in text:
        raise NotCarried(f"the value of a variable is not in the file; {_FLAT}")
    body, _, protocol = text.partition("/")
    head, _, target = body.rpartition(":")
    host, _, published = head.rpartition(":")
    return _carried(base, host.strip("[]"), published, target, protocol)


def _long(base: Imported, parts: dict[str, Node]) -> Imported:
    strange = [key for key in parts if key not in _KEYS and not key.startswith("x-")]
    if strange:
        raise NotCarried(f"{', '.join(strange)} is no key of a port")
    named = {key: value(parts, key) for key in _KEYS}
    if any("$" in one for one in named.values()):
        raise NotCarried(f"the value of a variable is not in the file; {_FLAT}")
    return _carried(
        base, named["host_ip"], named["published"], named["target"], named["protocol"]
    )


def _carried(
    base: Imported, host: str, published: str, target: str, protocol: str
) -> Imported:
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise NotCarried(f"{protocol} cannot be forwarded")
    if not published:
        raise NotCarried("no port of the host is named: Compose picks a free one")
    some, its = parse_span(published), parse_span(target)
    if some[1] - some[0] != its[1] - its[0]:
        raise NotCarried(f"Compose picks a free port of {published}")
    return replace(
        base,
        published=span(*some),
        target=span(*its),
        protocols=(protocol,),
        host_ips=(host,) if host else (),
    )
