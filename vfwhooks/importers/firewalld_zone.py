"""firewalld's forward-ports: of a zone's XML, or of what firewall-cmd --list-all
prints. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..values.protocols import PROTOCOLS
from .imported import (
    Found,
    Imported,
    Left,
    NotCarried,
    Origin,
    only_by,
    parse_span,
    span,
    unreadable,
)
from .source_xml import SourceXml

_ZONE = re.compile(r"(?P<name>\S+)(?: \([\w, ]+\))?\s*")
_KEY = re.compile(r"  ?(?P<key>[a-z][a-z -]*): ?(?P<value>.*)")
_PORT = re.compile(r"port=\S*")
_RICH = re.compile(r'([\w-]+)(?:="([^"]*)")?')


def is_list_all(text: str) -> bool:
    """Whether a text is what firewall-cmd --list-all prints."""
    return bool(re.search(r"(?m)^  ?forward-ports:", text))


def read_zone(text: str, name: str) -> Found:
    """The forward-ports of one zone's XML."""
    xml = SourceXml(text, name)
    if xml.root.tag != "zone":
        raise unreadable(name, f"<{xml.root.tag}> is no zone of firewalld")
    found = Found()
    zone = name.rpartition("/")[2].partition(".")[0]
    interfaces = [one.get("name", "") for one in xml.root.iterfind("interface")]
    sources = [one.get("address", "") for one in xml.root.iterfind("source")]
    base = _bound(Imported(xml.origin(xml.root)), zone, interfaces, sources)
    for element in xml.root.iterfind("forward-port"):
        found.take(_read(base, xml.origin(element), element.attrib))
    for rule in xml.root.iterfind("rule"):
        for element in rule.iterfind("forward-port"):
            origin, parts = xml.origin(element), {one.tag: one.attrib for one in rule}
            found.take(_of_rule(base, origin, element.attrib, parts))
    return found


def _bound(
    base: Imported, zone: str, interfaces: Sequence[str], sources: Sequence[str]
) -> Imported:
    """For what the zone is: what comes in by its interfaces, or from its sources. A
    zone that names neither stands for itself among the interfaces."""
    if sources and not interfaces:
        return replace(base, allow_from=tuple(sources))
    if sources:
        named = ", ".join(one or "a set" for one in sources)
        also = f"the zone is also for all that comes from {named}"
        base = replace(base, notes=(also,))
    return replace(base, interfaces=tuple(interfaces) or (zone,))


def read_list_all(text: str, name: str) -> Found:
    """The forward-ports of all zones that are printed."""
    found = Found()
    base = Imported(Origin(name, ""))
    zone, key = "", ""
    bound: dict[str, list[str]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        head, entry = _ZONE.fullmatch(line), _KEY.fullmatch(line.rstrip())
        if head:
            zone, key, bound = head["name"], "", {}
            continue
        if entry:
            key, line = entry["key"], entry["value"]
        if key in ("interfaces", "sources"):
            bound[key] = line.split()
        column = 1 + len(line) - len(line.lstrip())
        origin = Origin(f"{name}:{number}:{column}", line.strip())
        for one in _of_line(key, line, origin):
            limits = bound.get("interfaces", ()), bound.get("sources", ())
            found.take(_written(_bound(base, zone, *limits), one))
    # The zone of a source counts before that of an interface.
    found.forwards.sort(key=lambda one: bool(one.interfaces or one.host_ips))
    return found


_Written = tuple[Origin, Mapping[str, str], Mapping[str, Mapping[str, str]]]


def _of_line(key: str, line: str, origin: Origin) -> Iterator[_Written]:
    if key == "forward-ports":
        for port in _PORT.findall(line):
            words = dict(part.partition("=")[::2] for part in port.split(":", 3))
            yield origin, _as_xml(words), {}
    elif key == "rich rules" and "forward-port " in line:
        yield origin, {}, _rich(line)


def _as_xml(words: Mapping[str, str]) -> dict[str, str]:
    names = {"proto": "protocol", "toport": "to-port", "toaddr": "to-addr"}
    return {names.get(key, key): value for key, value in words.items()}


def _rich(line: str) -> dict[str, dict[str, str]]:
    """The elements of a rich rule, each with its attributes."""
    found: dict[str, dict[str, str]] = {}
    here: dict[str, str] = {}
    for name, value in _RICH.findall(line):
        if f'{name}="' in line and (value or f'{name}=""' in line):
            here[name] = value
        elif name == "NOT":
            here["invert"] = "True"
        else:
            here = found.setdefault(name, {})
    return found


def _written(base: Imported, one: _Written) -> Imported | Left:
    origin, port, rule = one
    if rule:
        return _of_rule(base, origin, rule.get("forward-port", {}), rule)
    return _read(base, origin, port)


def _of_rule(
    base: Imported,
    origin: Origin,
    port: Mapping[str, str],
    rule: Mapping[str, Mapping[str, str]],
) -> Imported | Left:
    """The forward-port of a rich rule, with the rule's source and destination."""
    source, destination = rule.get("source", {}), rule.get("destination", {})
    if any(
        one.get("invert", "").lower() in ("true", "yes")
        for one in (source, destination)
    ):
        return Left(origin, "forwards.yaml knows no exceptions (NOT)")
    if any(one and "address" not in one for one in (source, destination)):
        return Left(origin, "only addresses can be carried over, no sets and no MACs")
    if source and base.allow_from and source["address"] not in base.allow_from:
        return Left(origin, "both the zone and the rule are for certain sources")
    if source:
        base = replace(base, allow_from=(source["address"],))
    if destination:
        notes = (*base.notes, *([only_by(base.interfaces)] if base.interfaces else []))
        hosts = (destination["address"],)
        base = replace(base, host_ips=hosts, interfaces=(), notes=notes)
    return _read(base, origin, port)


def _read(base: Imported, origin: Origin, port: Mapping[str, str]) -> Imported | Left:
    one = replace(base, origin=origin, address=port.get("to-addr", ""))
    try:
        if not one.address:
            raise NotCarried("it leads to a port of the host itself")
        if port.get("protocol") not in PROTOCOLS:
            raise NotCarried(f"{port.get('protocol', 'nothing')} cannot be forwarded")
        if any(not one for one in base.allow_from):
            raise NotCarried("the zone is for a set or for MACs, not for addresses")
        published = parse_span(port.get("port", ""))
        target = parse_span(port.get("to-port") or port.get("port", ""))
        if target[0] != target[1] and target != published:
            raise NotCarried("it leads to any of these ports, as the kernel picks")
    except NotCarried as error:
        return Left(origin, str(error))
    return replace(
        one,
        protocols=(port["protocol"],),
        published=span(*published),
        target=span(*target),
    )
