"""The meaning of forwards.yaml: trees in, guests with their forwards out, or problems.

A user's mistake raises nothing: all problems are collected, so that one check shows
them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from ..values.errors import show
from .allow_from import read_sources
from .config_files import files_to_read, in_file_order
from .conflicts import find_conflicts
from .forwards import GuestForwards
from .forwards_keys import DEFAULTS, DOCUMENT, GUEST, PATTERN, parse_switch
from .guest_names import is_uuid
from .host_ips import HostIp, HostIps, Interfaces
from .metadata_bounds import Bounds, format_permission, read_bounds
from .pattern_names import PatternNames
from .pattern_warnings import find_covered
from .port_list import Defaults, PortList
from .public_ip import read_public
from .shared_ports import mark_shared
from .unknown_keys import is_guest
from .value_reader import Values, find_slip_of, kind_of
from .value_syntax import (
    Address,
    parse_bridge,
    parse_guest_address,
    parse_when_stopped,
)
from .yaml_nodes import Node, Pairs, Place, Problem, Text, pairs
from .yaml_tree import read_edited, read_tree

_BELOW = "below it, indented, stand lines like web1: [8080:80]"
_BELOW_PATTERNS = "below it, indented, stand lines like web-*: [8080:80]"
_UUID = re.compile("[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}")


def read_forwards(
    main: Path,
    edited: Mapping[Path, bytes] = MappingProxyType({}),
    interfaces: Callable[[str], tuple[Address, ...]] | None = None,
) -> tuple[list[GuestForwards], list[Problem]]:
    """All guests and patterns of forwards.yaml and forwards.d, and all problems in file
    order, as if the `edited` files were written already. `interfaces` gives the
    addresses of an interface; without it, the kernel does."""
    guests, problems, _ = read_files(main, edited, interfaces or Interfaces())
    return guests, problems


def read_files(
    main: Path,
    edited: Mapping[Path, bytes],
    interfaces: Callable[[str], tuple[Address, ...]],
) -> tuple[list[GuestForwards], list[Problem], str]:
    """As `read_forwards`; and what metadata of guests may publish, as format_permission
    writes it, '' for nothing."""
    reader = _Reader(interfaces)
    files = files_to_read(main, edited, reader.read.problems)
    trees: list[tuple[Path, Node]] = []
    for path in files:
        if path in edited:
            tree = read_edited(path, edited[path], reader.read.problems)
        else:
            tree = read_tree(path, reader.read.problems)
        if tree is not None:
            reader.names(tree)
            trees.append((path, tree))
    for path, tree in trees:
        reader.document(tree, path == main)
    guests, problems = find_conflicts(reader.guests)
    reader.read.problems += problems
    guests = mark_shared(guests)
    reader.read.problems += find_covered([one for one in guests if one.is_pattern])
    permission = ""
    if reader.bounds:
        above, names = reader.main_defaults, reader.hosts.names
        permission = format_permission(reader.bounds, above, names)
    return guests, in_file_order(reader.read.problems, files), permission


def read_guest(
    key: Text,
    node: Node,
    tree: Node,
    interfaces: Callable[[str], tuple[Address, ...]],
    is_any_known: bool = False,
) -> tuple[GuestForwards | None, list[Problem]]:
    """One guest as if it stood in a file with the defaults and the names of addresses
    of `tree`; None if it has a problem. With `is_any_known` no name is unknown."""
    reader = _Reader(interfaces)
    reader.hosts = HostIps(interfaces, is_any_known)
    reader.names(tree)
    above = pairs(tree)
    if "defaults" in above:
        reader.defaults = reader.read_defaults(above["defaults"])
    reader.guest(key, node)
    guests, problems = find_conflicts(reader.guests)
    problems = [*reader.read.problems, *problems]
    wrong = [one for one in problems if not one.is_warning]
    return None if wrong else guests[0], wrong


class _Reader:
    """The guests read so far; `read` has the problems."""

    def __init__(self, interfaces: Callable[[str], tuple[Address, ...]]) -> None:
        self.hosts = HostIps(interfaces)
        self.guests: list[GuestForwards] = []
        self.read = Values()
        self.defaults = Defaults()
        self.known: dict[str, Place] = {}
        self.bounds: list[Bounds] = []
        self.main_defaults: Node | None = None
        self.patterns = PatternNames()

    def names(self, tree: Node) -> None:
        """Read the file's names of addresses; they hold for the guests of all files."""
        node = pairs(tree).get("addresses")
        if node:
            self.hosts.read_names(self.read, node)

    def document(self, tree: Node, is_main: bool) -> None:
        if not isinstance(tree, Pairs):
            what = f"the file is {kind_of(tree)}, not a mapping of"
            what += f" {', '.join(DOCUMENT)}; it begins with guests:, and {_BELOW}"
            if isinstance(tree, Text) and not tree.value:
                what = "the file says nothing; guests: {} says none"
            self.instead_of_lines(tree, what)
            return
        parts = self.read.mapping(tree, "the file", DOCUMENT) or {}
        above = self.defaults
        if "defaults" in parts:
            self.defaults = self.read_defaults(parts["defaults"])
            self.main_defaults = parts["defaults"] if is_main else self.main_defaults
        if "metadata" in parts:
            self.bounds += read_bounds(self.read, parts["metadata"], self.hosts)
        if not parts.keys() & {"guests", "patterns"}:
            self.no_guests(tree)
        self.below("guests", parts.get("guests"), self.guest, _BELOW)
        self.below("patterns", parts.get("patterns"), self.pattern, _BELOW_PATTERNS)
        if not is_main:
            self.defaults = above

    def below(
        self,
        word: str,
        node: Node | None,
        read: Callable[[Text, Node], None],
        lines: str,
    ) -> None:
        """Read what stands below a key of the file."""
        if isinstance(node, Pairs):
            for key, value in node.nodes:
                read(key, value)
        elif node is not None:
            what = f"{word}: is {kind_of(node)}; {lines}; {word}: {{}} says none"
            self.instead_of_lines(node, what)

    def instead_of_lines(self, node: Node, what: str) -> None:
        """Report a value in place of guests' lines, or the slip that has made it one
        value."""
        slip = find_slip_of(node) if isinstance(node, Text) else None
        self.read.wrong(*(slip or (node.place, what)))

    def no_guests(self, tree: Node) -> None:
        cure = "guests: {} says none"
        others = [
            key
            for key, node in pairs(tree).items()
            if key not in DOCUMENT and is_guest(node)
        ]
        if others:
            cure = f"write it above {show(others[0])}:, and indent what is below"
        self.read.wrong(tree.place, f"no guests: in the file; {cure}")

    def read_defaults(self, node: Node) -> Defaults:
        parts = self.read.mapping(node, "defaults", DEFAULTS) or {}
        above = self.defaults
        return self.read_common(
            parts,
            replace(
                above,
                host_ips=self.hosts.read(self.read, parts, above.host_ips),
            ),
        )

    def read_common(self, parts: dict[str, Node], above: Defaults) -> Defaults:
        """The keys that a guest and the defaults share; missing ones come from
        `above`."""
        return Defaults(
            above.host_ips,
            read_sources(self.read, parts, above.allow_from),
            self.is_claimed(parts, above),
            self.hairpin(parts, above),
            self.read.options(parts, above.options),
        )

    def is_claimed(self, parts: dict[str, Node], above: Defaults) -> bool:
        if "when_stopped" not in parts:
            return above.is_claimed
        return bool(self.read.scalar(parts["when_stopped"], parse_when_stopped))

    def bridge(self, parts: dict[str, Node]) -> str:
        if "bridge" not in parts:
            return ""
        if "network" in parts:
            what = "bridge: and network: both say which interface is meant"
            cure = (
                "write bridge: for a bridge of the host's own, network: for libvirt's"
            )
            self.read.wrong(parts["bridge"].place, f"{what}; {cure}")
        return self.read.scalar(parts["bridge"], parse_bridge) or ""

    def hairpin(self, parts: dict[str, Node], above: Defaults) -> Place | None:
        node = parts.get("hairpin")
        if node is None:
            return above.hairpin
        return node.place if self.read.scalar(node, parse_switch) else None

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
        if _UUID.fullmatch(name) and not is_uuid(name):
            cure = "write a UUID as virsh domuuid does, in small letters, with dashes"
            what = f"{name} is no guest's UUID; {cure}"
            self.read.problems.append(Problem(key.place, what, is_warning=True))
        self.value(key, node)

    def pattern(self, key: Text, node: Node) -> None:
        """A pattern, with what the guests have that it matches."""
        if not self.patterns.take(self.read, key):
            return
        above = self.defaults
        self.defaults = replace(above, is_claimed=False)  # nobody's while nobody runs
        self.value(key, node, is_pattern=True)
        self.defaults = above

    def value(self, key: Text, node: Node, is_pattern: bool = False) -> None:
        """What stands behind a guest's name, or behind a pattern."""
        name = key.value
        parts: dict[str, Node] | None = {"ports": node}
        if isinstance(node, Pairs):
            keys = PATTERN if is_pattern else GUEST
            parts = self.read.mapping(node, show(name), keys)
        if parts is None:
            return
        public = read_public(self.read, key, parts)
        own = tuple(map(HostIp, public.public_ips))
        host_ips = own or self.defaults.host_ips
        defaults = self.read_common(parts, replace(self.defaults, host_ips=host_ips))
        addresses: tuple[Address, ...] = ()
        network = ""
        if "address" in parts:
            addresses = self.read.one_a_family(parts["address"], parse_guest_address)
        if "network" in parts:
            network = self.read.scalar(parts["network"], str) or ""
        bridge = self.bridge(parts)
        why_unfit = partial(_why_unfit, name, addresses)
        ports = PortList(self.read, defaults, self.hosts, why_unfit)
        if public.is_one_to_one:
            forwards = ports.one_to_one(public)
        else:
            forwards = ports.listed(parts.get("ports"), node)
        guest = replace(
            public,
            forwards=tuple(forwards),
            by_interface=tuple(ports.by_interface),
            unplaced=tuple(ports.unplaced),
            addresses=addresses,
            network=network,
            bridge=bridge,
            bridge_place=parts["bridge"].place if bridge else Place(""),
            is_claimed=defaults.is_claimed,
            hairpin=defaults.hairpin,
            is_pattern=is_pattern,
        )
        self.guests.append(self.fit_families(guest))

    def fit_families(self, guest: GuestForwards) -> GuestForwards:
        """Without the forwards of an interface's addresses that the guest has no
        address for; a written address of such a family is a problem."""
        families = {address.version for address in guest.addresses}
        if not families:
            return guest
        for forward in guest.forwards:
            if forward.host_ip and not forward.interface:
                why = _why_unfit(guest.name, guest.addresses, forward.host_ip)
                if why:
                    self.read.wrong(forward.place, why)
        fitting = [
            one
            for one in guest.forwards
            if not one.interface or (one.host_ip and one.host_ip.version in families)
        ]
        return replace(guest, forwards=tuple(fitting))


def _why_unfit(guest: str, addresses: tuple[Address, ...], host_ip: Address) -> str:
    """Why a guest at these addresses is none for the host's; '' if it is, or may be."""
    if not addresses or host_ip.version in {one.version for one in addresses}:
        return ""
    which = ", ".join(map(str, addresses))
    return f"host_ip {host_ip} is IPv{host_ip.version}, but {guest} is at {which}"
