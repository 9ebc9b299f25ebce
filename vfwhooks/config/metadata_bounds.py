"""The key `metadata:` of forwards.yaml: which guests may publish ports by the metadata
of their domain, and which ports and addresses.

Who may edit a domain need not be the host's administrator: without the key no metadata
publishes anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .forwards import Forward
from .forwards_keys import METADATA
from .host_ips import HostIps
from .name_patterns import is_pattern, matches, parse_pattern
from .value_reader import Values, kind_of
from .value_syntax import (
    Address,
    PortRange,
    parse_address,
    parse_ports,
    parse_public_ip,
)
from .yaml_nodes import Items, Node, Pairs, Place, Text, listed, plain

_FORM = "write {guests: [web1], ports: [8000-8999]}"
_KEY = "metadata: of forwards.yaml"


@dataclass(frozen=True)
class Bounds:
    """What some guests may publish. `guests` are names, UUIDs or patterns; `host_ips`
    and `interfaces` are the addresses, all of them with `is_anywhere`."""

    guests: tuple[str, ...]
    ports: tuple[PortRange, ...]
    host_ips: tuple[Address, ...] = ()
    interfaces: tuple[str, ...] = ()
    is_anywhere: bool = True
    public_ips: tuple[Address, ...] = ()
    over_listener: bool = False

    def names(self, name: str, uuid: str) -> bool:
        """Whether it is about this guest; a UUID matches no pattern."""
        patterns = filter(is_pattern, self.guests)
        return bool(
            {name, uuid} & {*self.guests} or any(matches(one, name) for one in patterns)
        )

    def find_fault(self, forward: Forward) -> str:
        """Why the forward is not permitted; '' if it is."""
        if forward.options.over_listener and not self.over_listener:
            return f"{_KEY} does not permit over_listener"
        if forward.host_ip in self.public_ips:
            return ""
        if not self._has_ports(forward.published):
            some = ", ".join(map(str, self.ports))
            return f"{_KEY} permits {some}, not {forward.published}"
        if not self._has_host(forward):
            some = ", ".join([*map(str, self.host_ips), *self.interfaces])
            where = forward.interface or forward.host_ip or "every address"
            return f"{_KEY} permits {some}, not {where}"
        return ""

    def _has_ports(self, wanted: PortRange) -> bool:
        first = wanted.first
        for ports in sorted(self.ports, key=lambda one: one.first):
            if ports.first <= first <= ports.last:
                first = ports.last + 1
        return first > wanted.last

    def _has_host(self, forward: Forward) -> bool:
        if self.is_anywhere or forward.interface in self.interfaces:
            return True
        host = forward.host_ip
        return host is not None and any(
            one == host or (one.is_unspecified and one.version == host.version)
            for one in self.host_ips
        )


@dataclass(frozen=True)
class Permission:
    """All of `metadata:`, the first of which that names a guest counts; and what of
    forwards.yaml holds for forwards in metadata, too: its defaults and its names of
    addresses, as a tree."""

    bounds: tuple[Bounds, ...] = ()
    tree: Node = field(default_factory=lambda: Pairs(Place("forwards.yaml"), ()))

    def find(self, name: str, uuid: str) -> Bounds | None:
        """The bounds of a guest; None if its metadata is not permitted."""
        return next((one for one in self.bounds if one.names(name, uuid)), None)


def read_bounds(read: Values, node: Node, hosts: HostIps) -> list[Bounds]:
    """The value of `metadata:`, one mapping or a list of them."""
    nodes = listed(node)
    if not nodes:
        read.wrong(node.place, f"metadata: permits nothing; {_FORM}")
    return [one for each in nodes if (one := _read_one(read, each, hosts))]


def _read_one(read: Values, node: Node, hosts: HostIps) -> Bounds | None:
    if not isinstance(node, Pairs):
        read.wrong(node.place, f"metadata: is {kind_of(node)}; {_FORM}")
        return None
    before = len(read.problems)
    parts = read.mapping(node, "metadata", METADATA) or {}
    for key, example in (("guests", '["web*"]'), ("ports", "[8000-8999]")):
        if key not in parts:
            read.wrong(node.place, f"metadata: without {key}; {key}: {example}")
    host_ips = hosts.read(read, parts, ())
    public_ips: tuple[Address, ...] = ()
    if "public_ip" in parts:
        public_ips = read.several(parts["public_ip"], parse_public_ip)
    over = read.switch(parts, "over_listener", False)
    guests = read.given(parts, "guests", _parse_guest, ())
    ports = read.given(parts, "ports", parse_ports, ())
    if len(read.problems) > before:
        return None
    return Bounds(
        guests,
        ports,
        tuple(one.address for one in host_ips if one.address),
        tuple(one.source for one in host_ips if not one.address),
        "host_ip" not in parts,
        public_ips,
        over,
    )


def _parse_guest(text: str) -> str:
    """A name, a UUID or a good pattern. Raises VfwError."""
    if is_pattern(text):
        parse_pattern(text)
    return text


def format_permission(
    bounds: Iterable[Bounds],
    defaults: Node | None,
    names: dict[str, tuple[Address, ...]],
) -> str:
    """The permission as one word of JSON, for the compiled configuration."""
    tree: dict[str, object] = {"addresses": names}
    if defaults is not None:
        tree["defaults"] = plain(defaults)
    permission = {"bounds": [vars(one) for one in bounds], "tree": tree}
    return json.dumps(permission, separators=(",", ":"), default=str)


def parse_permission(text: str) -> Permission:
    """The permission in a text of `format_permission`."""
    found = json.loads(text)
    bounds = tuple(
        Bounds(
            tuple(one["guests"]),
            tuple(map(parse_ports, one["ports"])),
            tuple(map(parse_address, one["host_ips"])),
            tuple(one["interfaces"]),
            one["is_anywhere"],
            tuple(map(parse_address, one["public_ips"])),
            one["over_listener"],
        )
        for one in found["bounds"]
    )
    return Permission(bounds, _node(found["tree"], Place("defaults of forwards.yaml")))


def _node(value: Any, place: Place) -> Node:
    if isinstance(value, str):
        return Text(place, value)
    if isinstance(value, list):
        return Items(place, tuple(_node(one, place) for one in value))
    pairs = ((Text(place, key), _node(one, place)) for key, one in value.items())
    return Pairs(place, tuple(pairs))
