"""forwards.yaml's meaning: trees in, guests with their forwards out, or problems.

Nothing is raised for what a user wrote: every problem is collected, so that one check
shows them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from .claims import find_conflicts
from .config import (
    Items,
    Node,
    Pairs,
    Place,
    Problem,
    Text,
    find_files,
    in_file_order,
    read_tree,
)
from .errors import VfwError, show
from .forwards import Forward, GuestForwards
from .ports import (
    Address,
    Ports,
    Short,
    Subnet,
    parse_guest_address,
    parse_host_ip,
    parse_ports,
    parse_protocol,
    parse_short,
    parse_subnet,
    parse_switch,
    parse_when_stopped,
)

T = TypeVar("T")
_DOCUMENT = ("defaults", "guests")
_DEFAULTS = ("host_ip", "allow_from", "when_stopped")
_GUEST = ("ports", "address", "network", "when_stopped", "over_listener")
_PORT = ("published", "target", "protocol", "host_ip", "allow_from", "over_listener")


@dataclass(frozen=True)
class Defaults:
    """What holds for a port or a guest that does not say otherwise."""

    host_ips: tuple[Address, ...] = ()
    allow_from: tuple[Subnet, ...] = ()
    is_claimed: bool = False


def read_forwards(main: Path) -> tuple[list[GuestForwards], list[Problem]]:
    """All guests of forwards.yaml and forwards.d, and all problems in file order."""
    reader = _Reader()
    files = find_files(main)
    for path in files:
        tree = read_tree(path, reader.problems)
        if tree is not None:
            reader.document(tree, path == main)
    reader.problems += find_conflicts(reader.guests)
    return reader.guests, in_file_order(reader.problems, files)


class _Reader:
    """The guests and problems met so far."""

    def __init__(self) -> None:
        self.guests: list[GuestForwards] = []
        self.problems: list[Problem] = []
        self.defaults = Defaults()
        self.known: dict[str, Place] = {}
        self.over_listener = False

    def wrong(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))

    def document(self, tree: Node, is_main: bool) -> None:
        parts = self.mapping(tree, "the file", _DOCUMENT)
        if parts is None:
            return
        above = self.defaults
        if "defaults" in parts:
            self.defaults = self.read_defaults(parts["defaults"])
        if "guests" not in parts:
            self.wrong(tree.place, "no guests: in the file; guests: {} says none")
        elif isinstance(parts["guests"], Pairs):
            for key, node in parts["guests"].nodes:
                self.guest(key, node)
        else:
            at = parts["guests"]
            self.wrong(at.place, f"guests: is {_kind(at)}; guests: {{}} says none")
        if not is_main:
            self.defaults = above

    def read_defaults(self, node: Node) -> Defaults:
        parts = self.mapping(node, "defaults", _DEFAULTS) or {}
        above = self.defaults
        return Defaults(
            self.several(parts["host_ip"], parse_host_ip)
            if "host_ip" in parts
            else above.host_ips,
            self.several(parts["allow_from"], parse_subnet)
            if "allow_from" in parts
            else above.allow_from,
            self.is_claimed(parts, above),
        )

    def is_claimed(self, parts: dict[str, Node], above: Defaults) -> bool:
        if "when_stopped" not in parts:
            return above.is_claimed
        return bool(self.scalar(parts["when_stopped"], parse_when_stopped))

    def guest(self, key: Text, node: Node) -> None:
        name = key.value
        if name in self.known:
            self.wrong(key.place, f"{show(name)} stands in {self.known[name]} already")
            return
        self.known[name] = key.place
        if not name:
            self.wrong(key.place, "a guest without a name")
        parts: dict[str, Node] | None = {"ports": node}
        if isinstance(node, Pairs):
            parts = self.mapping(node, show(name), _GUEST)
        if parts is None:
            return
        is_claimed = self.is_claimed(parts, self.defaults)
        addresses: tuple[Address, ...] = ()
        network = ""
        if "address" in parts:
            addresses = self.guest_addresses(parts["address"])
        if "network" in parts:
            network = self.scalar(parts["network"], str) or ""
        over = parts.get("over_listener")
        self.over_listener = bool(over and self.scalar(over, parse_switch))
        forwards = list(self.ports(parts.get("ports"), node))
        guest = GuestForwards(
            name, key.place, tuple(forwards), addresses, network, is_claimed
        )
        self.check_families(guest)
        self.guests.append(guest)

    def guest_addresses(self, node: Node) -> tuple[Address, ...]:
        found = self.several(node, parse_guest_address)
        for version in (4, 6):
            both = [str(address) for address in found if address.version == version]
            if len(both) > 1:
                some = " and ".join(both)
                self.wrong(node.place, f"{some} are both IPv{version}; one a family")
        return found

    def ports(self, node: Node | None, guest: Node) -> Iterator[Forward]:
        if node is None:
            self.wrong(guest.place, "no ports: for this guest; ports: [] says none")
        elif isinstance(node, Items):
            for item in node.nodes:
                yield from self.port(item)
        elif isinstance(node, Text) and node.value:
            yield from self.port(node)
        else:
            self.wrong(node.place, f"ports are {_kind(node)}; write [8080:80, 443]")

    def port(self, node: Node) -> Iterator[Forward]:
        if isinstance(node, Text):
            short = self.scalar(node, parse_short)
            if short:
                yield from self.short(short, node.place)
        elif isinstance(node, Pairs):
            yield from self.long(node)
        else:
            self.wrong(node.place, "a list in a list of ports")

    def short(self, short: Short, place: Place) -> Iterator[Forward]:
        host_ips, protocols = self.defaults.host_ips, ("tcp",)
        try:
            if short.host_ip:
                host_ips = (parse_host_ip(short.host_ip),)
            if short.protocol:
                protocols = (parse_protocol(short.protocol),)
        except VfwError as error:
            self.wrong(place, error.message)
            return
        allow = self.defaults.allow_from
        yield from self.forwards(
            host_ips, protocols, short.published, short.target, allow, place
        )

    def long(self, node: Pairs) -> Iterator[Forward]:
        parts = self.mapping(node, "a port", _PORT)
        if parts is None:
            return
        before = len(self.problems)
        given = {
            key: self.scalar(parts[key], parse_ports)
            for key in ("published", "target")
            if key in parts
        }
        published = given.get("published") or given.get("target")
        target = given.get("target") or published
        protocols: tuple[str, ...] = ("tcp",)
        host_ips = self.defaults.host_ips
        allow = self.defaults.allow_from
        if "protocol" in parts:
            protocols = self.several(parts["protocol"], parse_protocol)
        if "host_ip" in parts:
            host_ips = self.several(parts["host_ip"], parse_host_ip)
        if "allow_from" in parts:
            allow = self.several(parts["allow_from"], parse_subnet)
        over = None
        if "over_listener" in parts:
            over = self.scalar(parts["over_listener"], parse_switch)
        if not published or not target:
            if not given:
                self.wrong(node.place, "a port needs published: or target:")
        elif len(self.problems) == before:
            for forward in self.forwards(
                host_ips, protocols, published, target, allow, node.place
            ):
                yield forward if over is None else replace(forward, over_listener=over)

    def forwards(
        self,
        host_ips: tuple[Address, ...],
        protocols: tuple[str, ...],
        published: Ports,
        target: Ports,
        allow: tuple[Subnet, ...],
        place: Place,
    ) -> Iterator[Forward]:
        lengths = [ports.last - ports.first for ports in (published, target)]
        if lengths[1] and lengths[0] != lengths[1]:
            count = f"{lengths[0] + 1} to {lengths[1] + 1} ports"
            self.wrong(place, f"{published} to {target} is {count}; make them as many")
            return
        is_default = allow is self.defaults.allow_from
        for host_ip in host_ips or (None,):
            if host_ip and host_ip.is_loopback and allow:
                if not is_default:
                    only = f"only this host itself connects to {host_ip}"
                    self.wrong(place, f"allow_from has no meaning here: {only}")
                    continue
                yield from self.forwards(
                    (host_ip,), protocols, published, target, (), place
                )
                continue
            families = {subnet.version for subnet in allow}
            if host_ip and allow and host_ip.version not in families:
                what = f"no IPv{host_ip.version} network for host_ip {host_ip}"
                self.wrong(place, f"allow_from has {what}: nobody could connect")
                continue
            for protocol in protocols:
                over = self.over_listener
                yield Forward(host_ip, protocol, published, target, allow, place, over)

    def check_families(self, guest: GuestForwards) -> None:
        families = {address.version for address in guest.addresses}
        for forward in guest.forwards if families else ():
            if forward.host_ip and forward.host_ip.version not in families:
                host = f"host_ip {forward.host_ip} is IPv{forward.host_ip.version}"
                which = ", ".join(map(str, guest.addresses))
                self.wrong(forward.place, f"{host}, but {guest.name} is at {which}")

    def mapping(
        self, node: Node, name: str, keys: tuple[str, ...]
    ) -> dict[str, Node] | None:
        if not isinstance(node, Pairs):
            what = f"{name} is {_kind(node)}"
            self.wrong(node.place, f"{what}, not a mapping of {', '.join(keys)}")
            return None
        for key, _ in node.nodes:
            if key.value not in keys:
                near = get_close_matches(key.value, keys, 1)
                hint = (
                    f"did you mean {near[0]}" if near else f"known: {', '.join(keys)}"
                )
                self.wrong(key.place, f"unknown key {show(key.value)}; {hint}")
        return {key.value: value for key, value in node.nodes if key.value in keys}

    def several(self, node: Node, parse: Callable[[str], T]) -> tuple[T, ...]:
        nodes = node.nodes if isinstance(node, Items) else (node,)
        found = [self.scalar(one, parse) for one in nodes]
        if not nodes:
            self.wrong(node.place, "an empty list; leave the key out")
        return tuple(dict.fromkeys(value for value in found if value is not None))

    def scalar(self, node: Node, parse: Callable[[str], T]) -> T | None:
        if not isinstance(node, Text) or not node.value:
            self.wrong(node.place, f"{_kind(node)}, where one value is needed")
            return None
        try:
            return parse(node.value)
        except VfwError as error:
            self.wrong(node.place, error.message)
            return None


def _kind(node: Node) -> str:
    if isinstance(node, Text):
        return f"{show(node.value)!r}" if node.value else "nothing"
    return "a list" if isinstance(node, Items) else "a mapping"
