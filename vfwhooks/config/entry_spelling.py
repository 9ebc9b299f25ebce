"""The text of a new entry in forwards.yaml, and the entries that a port names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..values.errors import VfwError, show
from ..values.protocols import PROTOCOLS
from ..values.published import Published
from .forwards import Forward
from .host_ips import HostIps
from .port_list import Defaults, PortList
from .port_spellings import parse_entry
from .value_reader import Values
from .value_syntax import PortRange, parse_host_ip, parse_ports, parse_subnet
from .yaml_nodes import Items, Node, Pairs, Text, pairs
from .yaml_tree import parse_tree

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FLOW = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:-]*")
_ESCAPES = {'"': '\\"', "\\": "\\\\"}


def format_key(name: str) -> str:
    """A guest's name as a key; in quotes where YAML or its readers need them."""
    if any(0xD800 <= ord(one) <= 0xDFFF for one in name):
        raise VfwError(f"{show(name)} is not UTF-8", "write the guest's UUID")
    return name if _PLAIN.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(one: str) -> str:
    if one in _ESCAPES or one.isprintable():
        return _ESCAPES.get(one, one)
    number = ord(one)
    return f"\\U{number:08x}" if number > 0xFFFF else f"\\u{number:04x}"


def format_entry(text: str, allow_from: Sequence[str], host_ips: Sequence[str]) -> str:
    """An entry of the short syntax, and what options say beside it, in flow style.

    Raises VfwError for what no file may hold.
    """
    short = parse_entry(text)
    for network in allow_from:
        parse_subnet(network)
    for address in host_ips:
        parse_host_ip(address)
    if short.host_ip and host_ips:
        raise VfwError(f"{show(text)} names an address, and so does --host-ip")
    hosts = [short.host_ip] if short.host_ip else [*host_ips]
    if not allow_from and len(hosts) < 2:
        if not host_ips:
            return _scalar(text)
        host = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
        behind = f"/{short.protocol.lower()}" if short.protocol else ""
        return _scalar(f"{host}:{short.published}:{short.target}{behind}")
    words = [f"published: {short.published}", f"target: {short.target}"]
    if short.protocol:
        words.append(f"protocol: {short.protocol.lower()}")
    if hosts:
        words.append(f"host_ip: {_one_or_list(hosts)}")
    if allow_from:
        words.append(f"allow_from: {_one_or_list(allow_from)}")
    return f"{{{', '.join(words)}}}"


def _one_or_list(values: Sequence[str]) -> str:
    found = list(map(_scalar, values))
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]"


def _scalar(text: str) -> str:
    is_plain = text[0] != "[" and "::" not in text and text[-1] != ":"
    return text if is_plain and text[0] != ":" else _quoted(text)


def format_value(node: Node) -> str:
    """A value in flow style; an entry in the short syntax, if that says all of it."""
    if isinstance(node, Text):
        is_plain = _FLOW.fullmatch(node.value) and "::" not in node.value
        return node.value if is_plain and node.value[-1] != ":" else _quoted(node.value)
    if isinstance(node, Items):
        return f"[{', '.join(map(format_value, node.nodes))}]"
    given = pairs(node)
    if "published" in given and "target" in given:
        words = {k: one.value for k, one in given.items() if isinstance(one, Text)}
        if set(words) == set(given) <= {"published", "target", "protocol", "host_ip"}:
            host, ports = words.get("host_ip", ""), words["published"]
            if host:
                host = f"[{host}]:" if ":" in host else f"{host}:"
            if host or words["target"] != ports:
                ports += f":{words['target']}"
            end = (
                f"/{words['protocol']}" if words.get("protocol", "tcp") != "tcp" else ""
            )
            return format_value(Text(node.place, f"{host}{ports}{end}"))
    words_of = [f"{format_key(k)}: {format_value(one)}" for k, one in given.items()]
    return f"{{{', '.join(words_of)}}}"


def find_entries(tree: Node, guest: str, ports: Iterable[str]) -> list[int]:
    """The numbers of the guest's entries that these ports mean, each of the form
    [ADDRESS:]PORT[/PROTOCOL], or an entry as it stands.

    Raises VfwError where one means none, several, or a part of one.
    """
    nodes = entries_of(tree, guest)
    published = [_forwards(node) for node in nodes]
    found: list[int] = []
    for port in ports:
        same = [n for n, one in enumerate(nodes) if _is_written(one, port)]
        found += same[:1] or [_find(port, guest, published)]
    return sorted(set(found))


def find_published(tree: Node, guest: str, entries: Iterable[str]) -> str:
    """What to say of a new entry, in flow style, whose port the guest has already in
    the same way; '' if there is none. Which addresses an interface or a name has, check
    knows."""
    had = [
        (claim, one)
        for node in entries_of(tree, guest)
        for one in _forwards(node)
        if not one.interface
        for claim in one.claims()
    ]
    for entry in entries:
        for forward in _forwards(parse_tree(entry.encode(), "", [])):
            for claim, one in had:
                if any(_is_same_port(mine, claim) for mine in forward.claims()):
                    what = f"{_whole(one)} is published for {show(guest)} already"
                    return f"{what}, in line {one.place.line}"
    return ""


def _is_same_port(one: Published, other: Published) -> bool:
    return one.is_beside(other) and one.first <= other.last and other.first <= one.last


def _whole(one: Forward) -> str:
    host = _spelt(one).rpartition(f"{one.published}/")[0]
    end = "" if one.protocol == "tcp" else f"/{one.protocol}"
    return f"{host}{one.published}:{one.target}{end}"


def count_entries(tree: Node, guest: str) -> int:
    """How many entries the guest has."""
    return len(entries_of(tree, guest))


def keys_of(tree: Node, guest: str) -> list[str]:
    """The keys that the guest has, if it has keys."""
    return list(pairs(_find_guest(tree, guest)))


def names_in(tree: Node | None) -> list[str]:
    """The guests that stand in a file."""
    return list(pairs(pairs(tree).get("guests")))


def _find_guest(tree: Node, guest: str) -> Node | None:
    return pairs(pairs(tree).get("guests")).get(guest)


def entries_of(tree: Node, guest: str) -> list[Node]:
    """The guest's entries, as they stand."""
    node = _find_guest(tree, guest)
    ports = pairs(node).get("ports") if isinstance(node, Pairs) else node
    if isinstance(ports, Items):
        return list(ports.nodes)
    return [ports] if isinstance(ports, Text) and ports.value else []


def _forwards(node: Node) -> list[Forward]:
    """What an entry publishes, by itself."""
    ports = PortList(Values(), Defaults(), HostIps(lambda _: (), is_any_known=True))
    return ports.listed(Items(node.place, (node,)), node) + ports.unplaced


def _is_written(node: Node, port: str) -> bool:
    return isinstance(node, Text) and node.value == port and ":" in port


def _find(port: str, guest: str, published: list[list[Forward]]) -> int:
    host, ports, protocol = _wanted(port)
    near = [
        (number, forward)
        for number, forwards in enumerate(published)
        for forward in forwards
        if not host or str(forward.host_ip) == host
        if not protocol or forward.protocol == protocol
        if forward.published.has(ports.first)
    ]
    found = {number for number, one in near if one.published == ports}
    if len(found) > 1:
        which = [one for number, one in near if number in found]
        spelt = " or ".join(dict.fromkeys(map(_spelt, which)))
        raise VfwError(f"{show(port)} of {show(guest)} may be {spelt}; write which")
    if not found:
        whole = f" alone; it is part of {_spelt(near[0][1])}" if near else ""
        raise VfwError(f"{show(guest)} has no entry for {show(port)}{whole}")
    (number,) = found
    others = {one.protocol for one in published[number]} - {protocol}
    if protocol and others:
        also = " and ".join(sorted(others))
        what = f"{show(port)} of {show(guest)} is in one entry with {also}"
        raise VfwError(what, "vfwhooks edit changes a part of it")
    return number


def _wanted(port: str) -> tuple[str, PortRange, str]:
    body, slash, protocol = port.partition("/")
    if slash and protocol.lower() not in PROTOCOLS:
        raise VfwError(f"{show(port)}: after the slash stands a protocol")
    if body.startswith("[") or body.count(":") == 2:
        short = parse_entry(port)
        return str(parse_host_ip(short.host_ip)), short.published, protocol.lower()
    host, colon, rest = body.rpartition(":")
    if colon and host.replace("-", "").isdigit():
        return "", parse_ports(host), protocol.lower()
    address = str(parse_host_ip(host)) if colon else ""
    return address, parse_ports(rest), protocol.lower()


def _spelt(forward: Forward) -> str:
    host = f"{forward.host_ip}:" if forward.host_ip else ""
    if forward.host_ip and forward.host_ip.version == 6:
        host = f"[{forward.host_ip}]:"
    return f"{host}{forward.published}/{forward.protocol}"
