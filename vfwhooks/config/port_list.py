"""A guest's list of ports in forwards.yaml: nodes in, forwards out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..values.protocols import ALL_PROTOCOLS
from ..values.published import FIRST, LAST
from .allow_from import find_fault, read_sources
from .forwards import Forward, GuestForwards
from .forwards_keys import ANSWERS, NO_OPTIONS, PORT, PortOptions
from .host_ips import HostIp, HostIps
from .port_spellings import (
    parse_entry,
    parse_protocols,
    parse_published,
    parse_target,
)
from .value_reader import Values, find_slip_of, kind_of
from .value_syntax import (
    Address,
    PortRange,
    Short,
    Subnet,
    parse_host_ip,
    parse_protocol,
)
from .yaml_nodes import Items, Node, Pairs, Place, Problem, Text, pairs

_EVERY = HostIp(None)
_SIDES = ("published", parse_published), ("target", parse_target)
# An address of an entry, with the source ranges and the options that hold there.
_Place = tuple[HostIp, tuple[Subnet, ...], PortOptions]


@dataclass(frozen=True)
class Defaults:
    """The values for ports and guests without a key of their own. `hairpin` is the
    place of the key, None if hairpin mode is off."""

    host_ips: tuple[HostIp, ...] = ()
    allow_from: tuple[Subnet, ...] = ()
    is_claimed: bool = False
    hairpin: Place | None = None
    options: PortOptions = NO_OPTIONS


@dataclass  # a frozen one takes three times as long to make
class _Entry:
    """One entry of a list of ports, completed by the defaults. `answers` are the keys
    about answers that stand in the entry itself."""

    place: Place
    published: PortRange
    target: PortRange
    host_ips: tuple[HostIp, ...]
    allow_from: tuple[Subnet, ...]
    options: PortOptions
    protocols: tuple[str, ...] = ("tcp",)
    answers: tuple[str, ...] = ()


class PortList:
    """Reads one guest's ports, with `defaults`. `why_unfit` says why the guest has no
    address for one of the host's. Problems go to `read`, and forwards on interfaces to
    `by_interface` and `unplaced` (see GuestForwards)."""

    def __init__(
        self,
        read: Values,
        defaults: Defaults,
        hosts: HostIps,
        why_unfit: Callable[[Address], str] = lambda _: "",
    ) -> None:
        self._read = read
        self._defaults = defaults
        self._hosts = hosts
        self._why_unfit = why_unfit
        self._by_defaults: list[_Place] = []
        self.by_interface: list[Forward] = []
        self.unplaced: list[Forward] = []

    def one_to_one(self, guest: GuestForwards) -> list[Forward]:
        """One forward of all ports and protocols for each of the guest's public
        addresses."""
        everything = PortRange(FIRST, LAST)
        entry = self._entry(guest.public_place, everything, everything)
        entry = replace(entry, protocols=(ALL_PROTOCOLS,))
        return [
            forward
            for address in guest.public_ips
            for forward in self._forwards(replace(entry, host_ips=(HostIp(address),)))
        ]

    def listed(self, node: Node | None, guest: Node) -> list[Forward]:
        """The forwards of a list of ports, or of one port in place of a list."""
        if node is None:
            self._read.wrong(
                guest.place, "no ports: for this guest; ports: [] says none"
            )
        elif isinstance(node, Items):
            self._warn_of_dashes(node)
            return [forward for item in node.nodes for forward in self._port(item)]
        elif isinstance(node, Text) and node.value:
            slip = find_slip_of(node) if node.value.startswith("-") else None
            if not slip:
                return self._port(node)
            self._read.wrong(*slip)
        else:
            self._read.wrong(
                node.place, f"ports are {kind_of(node)}; write [8080:80, 443]"
            )
        return []

    def _warn_of_dashes(self, node: Items) -> None:
        """Warn of two entries with one side each, which may be meant as one."""
        pairs = zip(node.nodes, node.nodes[1:])
        for published, target in pairs:
            if _only_side(published) == "published" and _only_side(target) == "target":
                where = f"published: in line {published.place.line} and target: here"
                cure = "are they one? then take the dash here away"
                what = f"{where} are two entries, with a port each; {cure}"
                self._read.problems.append(Problem(target.place, what, is_warning=True))

    def _port(self, node: Node) -> list[Forward]:
        entry = None
        if isinstance(node, Text):
            short = self._read.scalar(node, parse_entry)
            entry = self._short(short, node.place) if short else None
        elif isinstance(node, Pairs):
            entry = self._long(node)
        else:
            self._read.wrong(node.place, "a list in a list of ports")
        return list(self._forwards(entry)) if entry else []

    def _entry(self, place: Place, published: PortRange, target: PortRange) -> _Entry:
        """An entry with these ports, and the defaults for everything else."""
        above = self._defaults
        return _Entry(
            place, published, target, above.host_ips, above.allow_from, above.options
        )

    def _short(self, short: Short, place: Place) -> _Entry:
        entry = self._entry(place, short.published, short.target)
        if short.host_ip:
            address = parse_host_ip(short.host_ip)
            entry = replace(entry, host_ips=(HostIp(address),))
        if short.protocol:
            entry = replace(entry, protocols=(parse_protocol(short.protocol),))
        return entry

    def _long(self, node: Pairs) -> _Entry | None:
        parts = self._read.mapping(node, "a port", PORT)
        if parts is None:
            return None
        before = len(self._read.problems)
        given = {
            key: self._read.scalar(parts[key], parse)
            for key, parse in _SIDES
            if key in parts
        }
        published = given.get("published") or given.get("target")
        target = given.get("target") or published
        above, read = self._defaults, self._read
        protocols = read.given(parts, "protocol", parse_protocols, ("tcp",))
        host_ips = self._hosts.read(read, parts, above.host_ips)
        allow = read_sources(read, parts, above.allow_from)
        options = read.options(parts, above.options)
        if not given:
            read.wrong(node.place, "a port needs published: or target:")
        if not published or not target or len(read.problems) > before:
            return None
        answers = tuple(key for key in ANSWERS if key in parts)
        return _Entry(
            node.place, published, target, host_ips, allow, options, protocols, answers
        )

    def _forwards(self, entry: _Entry) -> Iterator[Forward]:
        """One forward for each of the entry's addresses and protocols."""
        published, target = entry.published, entry.target
        lengths = published.last - published.first, target.last - target.first
        if lengths[1] and lengths[0] != lengths[1]:
            count = f"{lengths[0] + 1} to {lengths[1] + 1} ports"
            what = f"{published} to {target} is {count}; make them as many"
            self._read.wrong(entry.place, what)
            return
        for host_ip, sources, options in self._places(entry):
            for protocol in entry.protocols:
                forward = Forward(
                    host_ip.address,
                    protocol,
                    published,
                    target,
                    sources,
                    entry.place,
                    options,
                    host_ip.source if host_ip.is_by_interface else "",
                )
                if host_ip.address or not host_ip.source:
                    yield forward
                    continue
                self.by_interface.append(forward)
                if host_ip.is_absent:
                    self.unplaced.append(forward)

    def _places(self, entry: _Entry) -> list[_Place]:
        """The entry's addresses, each with its source ranges and options; found once
        for all entries that have the defaults: the very values, since an entry that
        writes the same itself may be wrong on an address."""
        above = self._defaults
        is_usual = (
            entry.host_ips is above.host_ips
            and entry.allow_from is above.allow_from
            and entry.options is above.options
        )
        if is_usual and self._by_defaults:
            return self._by_defaults
        before = len(self._read.problems)
        found = [
            (one, self._sources(entry, one), self._options(entry, one.address))
            for one in self._reachable(entry)
        ]
        if is_usual and len(self._read.problems) == before:
            self._by_defaults = found
        return found

    def _options(self, entry: _Entry, host_ip: Address | None) -> PortOptions:
        """The entry's options on this address. The host's loopback has no answers to
        lead, so these keys are off there, and a problem if they stand in the entry
        itself."""
        if not host_ip or not host_ip.is_loopback:
            return entry.options
        for key in entry.answers:
            if getattr(entry.options, key):
                only = f"only this host itself connects to {host_ip}"
                self._read.wrong(entry.place, f"{key} has no meaning here: {only}")
        without: dict[str, Any] = dict.fromkeys(ANSWERS, False)
        return replace(entry.options, **without)

    def _reachable(self, entry: _Entry) -> list[HostIp]:
        """The entry's addresses to which anybody may connect. A written address that
        nobody may connect to is a problem, and so is a name if all of its addresses
        are, or the guest has none of their families; which addresses an interface has
        is another matter on each host."""
        host_ips = entry.host_ips or (_EVERY,)
        faults = {
            one: find_fault(self._sources(entry, one), one.address)
            or (self._why_unfit(one.address) if one.source else "")
            for one in host_ips
            if one.address
        }
        found = [one for one in host_ips if not faults.get(one)]
        for one, fault in faults.items():
            if fault and not (one.is_by_interface or (one.source and found)):
                self._read.wrong(entry.place, fault)
        return found

    def _sources(self, entry: _Entry, host_ip: HostIp) -> tuple[Subnet, ...]:
        """The source ranges on this address: those of `defaults` do not hold on the
        host's loopback."""
        allow, address = entry.allow_from, host_ip.address
        is_inside = address is not None and address.is_loopback
        return () if is_inside and allow is self._defaults.allow_from else allow


def _only_side(node: Node) -> str:
    """Which of published: and target: an entry has, if it has one of them."""
    sides = [side for side, _ in _SIDES if side in pairs(node)]
    return sides[0] if len(sides) == 1 else ""
