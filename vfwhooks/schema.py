"""forwards.yaml's meaning: trees in, guests with their forwards out, or problems.

Nothing is raised for what a user wrote: every problem is collected, so that one check
shows them all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

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
from .elements import WHOLE
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
from .public import PUBLIC, read_public
from .values import Values, kind_of

_DOCUMENT = ("defaults", "guests")
_DEFAULTS = ("host_ip", "allow_from", "when_stopped")
_GUEST = (
    "ports",
    "address",
    "network",
    "allow_from",
    "when_stopped",
    "over_listener",
    *PUBLIC,
)
_PORT = ("published", "target", "protocol", "host_ip", "allow_from", "over_listener")

_UUID = re.compile("[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}")
_LIBVIRTS_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
        tree = read_tree(path, reader.read.problems)
        if tree is not None:
            reader.document(tree, path == main)
    reader.read.problems += find_conflicts(reader.guests)
    return reader.guests, in_file_order(reader.read.problems, files)


class _Reader:
    """The guests met so far; `read` has the problems."""

    def __init__(self) -> None:
        self.guests: list[GuestForwards] = []
        self.read = Values()
        self.defaults = Defaults()
        self.known: dict[str, Place] = {}
        self.over_listener = False

    def document(self, tree: Node, is_main: bool) -> None:
        parts = self.read.mapping(tree, "the file", _DOCUMENT)
        if parts is None:
            return
        above = self.defaults
        if "defaults" in parts:
            self.defaults = self.read_defaults(parts["defaults"])
        if "guests" not in parts:
            self.read.wrong(tree.place, "no guests: in the file; guests: {} says none")
        elif isinstance(parts["guests"], Pairs):
            for key, node in parts["guests"].nodes:
                self.guest(key, node)
        else:
            at = parts["guests"]
            what = f"guests: is {kind_of(at)}; below it, indented, stand lines like"
            self.read.wrong(at.place, f"{what} web1: [8080:80]; guests: {{}} says none")
        if not is_main:
            self.defaults = above

    def read_defaults(self, node: Node) -> Defaults:
        parts = self.read.mapping(node, "defaults", _DEFAULTS) or {}
        above = self.defaults
        return Defaults(
            self.read.several(parts["host_ip"], parse_host_ip)
            if "host_ip" in parts
            else above.host_ips,
            self.read.several(parts["allow_from"], parse_subnet)
            if "allow_from" in parts
            else above.allow_from,
            self.is_claimed(parts, above),
        )

    def is_claimed(self, parts: dict[str, Node], above: Defaults) -> bool:
        if "when_stopped" not in parts:
            return above.is_claimed
        return bool(self.read.scalar(parts["when_stopped"], parse_when_stopped))

    def guest(self, key: Text, node: Node) -> None:
        name = key.value
        if name in self.known:
            self.read.wrong(
                key.place, f"{show(name)} stands in {self.known[name]} already"
            )
            return
        self.known[name] = key.place
        if not name:
            self.read.wrong(key.place, "a guest without a name")
        if _UUID.fullmatch(name) and not _LIBVIRTS_UUID.fullmatch(name):
            cure = "write a UUID as virsh domuuid does, in small letters, with dashes"
            what = f"{name} is no guest's UUID; {cure}"
            self.read.problems.append(Problem(key.place, what, is_warning=True))
        parts: dict[str, Node] | None = {"ports": node}
        if isinstance(node, Pairs):
            parts = self.read.mapping(node, show(name), _GUEST, _PORT)
        if parts is None:
            return
        above = self.defaults
        public = read_public(self.read, key, parts)
        self.defaults = Defaults(
            public.public_ips or above.host_ips,
            self.read.several(parts["allow_from"], parse_subnet)
            if "allow_from" in parts
            else above.allow_from,
            self.is_claimed(parts, above),
        )
        addresses: tuple[Address, ...] = ()
        network = ""
        if "address" in parts:
            addresses = self.read.one_a_family(parts["address"], parse_guest_address)
        if "network" in parts:
            network = self.read.scalar(parts["network"], str) or ""
        over = parts.get("over_listener")
        self.over_listener = bool(over and self.read.scalar(over, parse_switch))
        if public.is_whole:
            forwards = self.whole(public)
        else:
            forwards = self.ports(parts.get("ports"), node)
        guest = replace(
            public,
            forwards=tuple(forwards),
            addresses=addresses,
            network=network,
            is_claimed=self.defaults.is_claimed,
        )
        self.defaults = above
        self.check_families(guest)
        self.guests.append(guest)

    def whole(self, guest: GuestForwards) -> list[Forward]:
        """Everything that comes to its public addresses, as one forward for each."""
        everything, allow = Ports(0, 65535), self.defaults.allow_from
        return [
            forward
            for address in guest.public_ips
            for forward in self.forwards(
                (address,), (WHOLE,), everything, everything, allow, guest.public_place
            )
        ]

    def ports(self, node: Node | None, guest: Node) -> list[Forward]:
        if node is None:
            self.read.wrong(
                guest.place, "no ports: for this guest; ports: [] says none"
            )
        elif isinstance(node, Items):
            return [forward for item in node.nodes for forward in self.port(item)]
        elif isinstance(node, Text) and node.value:
            return self.port(node)
        else:
            self.read.wrong(
                node.place, f"ports are {kind_of(node)}; write [8080:80, 443]"
            )
        return []

    def port(self, node: Node) -> list[Forward]:
        if isinstance(node, Text):
            short = self.read.scalar(node, parse_short)
            return self.short(short, node.place) if short else []
        if isinstance(node, Pairs):
            return self.long(node)
        self.read.wrong(node.place, "a list in a list of ports")
        return []

    def short(self, short: Short, place: Place) -> list[Forward]:
        host_ips, protocols = self.defaults.host_ips, ("tcp",)
        try:
            if short.host_ip:
                host_ips = (parse_host_ip(short.host_ip),)
            if short.protocol:
                protocols = (parse_protocol(short.protocol),)
        except VfwError as error:
            self.read.wrong(place, error.message)
            return []
        allow = self.defaults.allow_from
        return self.forwards(
            host_ips, protocols, short.published, short.target, allow, place
        )

    def long(self, node: Pairs) -> list[Forward]:
        parts = self.read.mapping(node, "a port", _PORT)
        if parts is None:
            return []
        before = len(self.read.problems)
        given = {
            key: self.read.scalar(parts[key], parse_ports)
            for key in ("published", "target")
            if key in parts
        }
        published = given.get("published") or given.get("target")
        target = given.get("target") or published
        protocols: tuple[str, ...] = ("tcp",)
        host_ips = self.defaults.host_ips
        allow = self.defaults.allow_from
        if "protocol" in parts:
            protocols = self.read.several(parts["protocol"], parse_protocol)
        if "host_ip" in parts:
            host_ips = self.read.several(parts["host_ip"], parse_host_ip)
        if "allow_from" in parts:
            allow = self.read.several(parts["allow_from"], parse_subnet)
        over = None
        if "over_listener" in parts:
            over = self.read.scalar(parts["over_listener"], parse_switch)
        if not published or not target:
            if not given:
                self.read.wrong(node.place, "a port needs published: or target:")
            return []
        if len(self.read.problems) > before:
            return []
        found = self.forwards(host_ips, protocols, published, target, allow, node.place)
        if over is None:
            return found
        return [replace(forward, over_listener=over) for forward in found]

    def forwards(
        self,
        host_ips: tuple[Address, ...],
        protocols: tuple[str, ...],
        published: Ports,
        target: Ports,
        allow: tuple[Subnet, ...],
        place: Place,
    ) -> list[Forward]:
        lengths = published.last - published.first, target.last - target.first
        if lengths[1] and lengths[0] != lengths[1]:
            count = f"{lengths[0] + 1} to {lengths[1] + 1} ports"
            self.read.wrong(
                place, f"{published} to {target} is {count}; make them as many"
            )
            return []
        found = []
        for host_ip in host_ips or (None,):
            sources = self.sources(host_ip, allow, place) if host_ip else allow
            if sources is None:
                continue
            for protocol in protocols:
                over = self.over_listener
                found.append(
                    Forward(host_ip, protocol, published, target, sources, place, over)
                )
        return found

    def sources(
        self, host_ip: Address, allow: tuple[Subnet, ...], place: Place
    ) -> tuple[Subnet, ...] | None:
        """Who may connect there; None, and a problem, where nobody could."""
        if host_ip.is_loopback and allow:
            if allow is self.defaults.allow_from:
                return ()
            only = f"only this host itself connects to {host_ip}"
            self.read.wrong(place, f"allow_from has no meaning here: {only}")
            return None
        if allow and host_ip.version not in {subnet.version for subnet in allow}:
            what = f"no IPv{host_ip.version} network for host_ip {host_ip}"
            self.read.wrong(place, f"allow_from has {what}: nobody could connect")
            return None
        return allow

    def check_families(self, guest: GuestForwards) -> None:
        families = {address.version for address in guest.addresses}
        for forward in guest.forwards if families else ():
            if forward.host_ip and forward.host_ip.version not in families:
                host = f"host_ip {forward.host_ip} is IPv{forward.host_ip.version}"
                which = ", ".join(map(str, guest.addresses))
                self.read.wrong(
                    forward.place, f"{host}, but {guest.name} is at {which}"
                )
