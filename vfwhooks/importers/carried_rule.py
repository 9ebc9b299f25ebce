"""One DNAT rule of a firewall, with all conditions on the way to it, as an imported
forward; or the reason why it is none. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..rulesets.nft_reader import add_elements
from ..rulesets.ruleset import Match, Rule, Set, Table
from ..values.errors import show
from ..values.protocols import PROTOCOLS
from .imported import (
    Imported,
    Left,
    NotCarried,
    Origin,
    only_by,
    parse_span,
    shift,
    span,
)

_TARGET = re.compile(
    r"(?:ip6? (?:to )?)?"
    r"(?:\[(?P<six>[\da-fA-F:.]+)\]|(?P<four>\d+\.\d+\.\d+\.\d+)|(?P<bare>[\da-fA-F:]+))"
    r"(?::(?P<ports>\d+(?:-\d+)?)(?:/(?P<base>\d+))?)?"
    r"(?: (?P<flags>(?:(?:random|fully-random|persistent),? ?)+))?"
)
_PORT_OF = re.compile(rf"\b({'|'.join(PROTOCOLS)}) dport map\b")
_KEPT = ("proto", "daddr", "dport", "saddr", "in", "family", "state", "direction")
_NEW = {"state": "new", "direction": "original", "dsttype": "local"}


def carried(
    matches: Sequence[Match], rule: Rule, table: Table, origin: Origin
) -> list[Imported | Left]:
    """The forwards of a rule with these conditions before its own."""
    try:
        found = _Conditions(table, (*matches, *rule.matches))
        return list(_forwards(found, rule, table, origin))
    except NotCarried as error:
        return [Left(origin, str(error))]


def is_for_new(match: Match) -> bool:
    """Whether a new connection to this host may meet a condition."""
    if match.field not in _NEW:
        return True
    return (_NEW[match.field] in match.values) != match.is_not


class _Conditions:
    """What all conditions together ask for."""

    def __init__(self, table: Table, matches: Sequence[Match]) -> None:
        self.notes: list[str] = []
        self._table = table
        self._values: dict[str, tuple[str, ...]] = {}
        for match in matches:
            self._take(match)

    def get(self, field: str) -> tuple[str, ...]:
        """What a field may be; nothing where it may be anything."""
        return self._values.get(field, ())

    def _take(self, match: Match) -> None:
        field, is_not = match.field, match.is_not
        values = match.values if field else ()
        if field in _NEW:
            if match.text.startswith("ct status") or not is_for_new(match):
                raise NotCarried(f"it is not for new connections ({match.text})")
            return
        if field not in _KEPT:
            raise NotCarried(f"forwards.yaml has no such condition ({match.text})")
        if is_not and field == "in":
            named = ", ".join(values)
            self.notes.append(f"the rule leaves out what comes in by {named}")
            return
        if is_not:
            raise NotCarried(f"forwards.yaml knows no exceptions ({match.text})")
        self._narrow(field, self._resolved(match), match.text)

    def _resolved(self, match: Match) -> tuple[str, ...]:
        if match.values[0][:1] != "@":
            return match.values
        name = match.values[0][1:]
        one = self._table.sets.get(name)
        keys = [element.key for element in one.elements()] if one else []
        if not keys or any(len(key) != 1 for key in keys):
            raise NotCarried(f"what is in the set {name} is not in this file")
        if one and one.is_passing:
            raise NotCarried(f"what is in the set {name} comes and goes by itself")
        return tuple(key[0] for key in keys)

    def _narrow(self, field: str, values: tuple[str, ...], text: str) -> None:
        before = self._values.get(field)
        both = values if before is None else tuple(v for v in values if v in before)
        if not both:
            raise NotCarried(f"it is too narrow to be told apart ({text})")
        self._values[field] = both


def _forwards(
    found: _Conditions, rule: Rule, table: Table, origin: Origin
) -> Iterator[Imported | Left]:
    kind, target, key = rule.verdict
    if kind == "redirect":
        raise NotCarried("it leads to a port of the host itself")
    if kind != "dnat":
        raise NotCarried("it translates whole networks")
    base = _common(found, origin)
    if key:
        yield from _of_map(base, found, rule, table)
        return
    ports = found.get("dport")
    if ports and not base.protocols:
        raise NotCarried("it names no protocol")
    if not ports:
        yield _whole(base, found, target)
    for one in ports:
        yield _with_ports(base, one, target)


def _common(found: _Conditions, origin: Origin) -> Imported:
    """What all forwards of the rule have."""
    protocols = found.get("proto")
    strange = [one for one in protocols if one not in PROTOCOLS]
    if strange:
        raise NotCarried(f"{', '.join(strange)} cannot be forwarded by ports")
    for one in found.get("daddr"):
        if "/" in one or "-" in one:
            raise NotCarried(f"{one} is no single address of this host")
    for one in found.get("saddr"):
        if "-" in one:
            raise NotCarried(f"write the addresses {one} as networks in allow_from")
    for one in found.get("in"):
        if "*" in one:
            raise NotCarried(f"{one} may be several interfaces")
    hosts = found.get("daddr")
    notes = list(found.notes)
    if hosts and found.get("in"):
        notes.append(only_by(found.get("in")))
    return Imported(
        origin,
        protocols=protocols,
        host_ips=hosts,
        interfaces=() if hosts else found.get("in"),
        allow_from=found.get("saddr"),
        notes=tuple(notes),
    )


def _parsed(target: str) -> tuple[str, str, str]:
    """The guest's address, its ports ('' for the same ones), and the port of the host
    that leads to the first of these."""
    match = _TARGET.fullmatch(target.strip().replace('"', ""))
    if not match:
        raise NotCarried(
            f"it leads to {show(target) or 'no address'}, not to one guest"
        )
    if "random" in (match["flags"] or ""):
        raise NotCarried("it picks a port of the guest by chance")
    address = match["six"] or match["four"] or match["bare"]
    return address, match["ports"] or "", match["base"] or ""


def _whole(base: Imported, found: _Conditions, target: str) -> Imported:
    address, ports, _ = _parsed(target)
    if ports or found.get("proto") or len(base.host_ips) != 1:
        raise NotCarried("it names no port of the host")
    return replace(base, address=address)


def _with_ports(base: Imported, dport: str, target: str) -> Imported:
    address, ports, base_port = _parsed(target)
    published = parse_span(dport)
    return replace(
        base,
        address=address,
        published=span(*published),
        target=_guests_ports(published, ports, base_port),
    )


def _guests_ports(published: tuple[int, int], ports: str, base: str) -> str:
    if not ports:
        return span(*published)
    target = parse_span(ports)
    if target[0] == target[1] or target == published:
        return span(*target)
    if (
        base == f"{published[0]}"
        and target[1] - target[0] == published[1] - published[0]
    ):
        return shift(published, target[0])
    raise NotCarried(f"it leads to any of the ports {ports}, as the kernel picks")


def _of_map(
    base: Imported, found: _Conditions, rule: Rule, table: Table
) -> Iterator[Imported]:
    """One forward for each port in a map from ports to addresses."""
    _, name, key = rule.verdict
    one = table.sets.get(name[1:])
    if name[:1] == "{":
        one = Set("")
        add_elements(one, name.strip("{} "))
    if key != "dport" or one is None or one.is_passing or found.get("dport"):
        raise NotCarried("it takes its addresses from a map; write them one by one")
    implied = _PORT_OF.search(rule.text)
    if not base.protocols and implied:
        base = replace(base, protocols=(implied[1],))
    if not base.protocols:
        raise NotCarried("it names no protocol")
    for element in one.elements():
        address, _, port = element.data.partition(" . ")
        published = parse_span(element.key[0])
        yield replace(
            base,
            address=address,
            published=span(*published),
            target=span(*parse_span(port)) if port else span(*published),
        )
