"""Ports in a domain's XML: passt's <portForward>, and hostfwd= in <qemu:commandline>.
Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ..config.metadata_syntax import without
from ..config.value_syntax import PortRange
from ..libvirt.xml import Element
from ..values.protocols import PROTOCOLS
from .imported import (
    Found,
    Imported,
    Left,
    NotCarried,
    Origin,
    only_by,
    parse_span,
    shift,
    span,
    unreadable,
)
from .source_xml import SourceXml

_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_FORWARD = re.compile(
    r"(?P<protocol>[a-z]*):(?P<host>\[[^]]*\]|[^:]*):(?P<published>\d+)"
    r"-(?P<guest>[^:]*):(?P<target>\d+)"
)
_ALL = "without a range passt forwards every port; name the ports that are meant"
_IN_JSON = "it is JSON; write user,hostfwd=PROTOCOL:ADDRESS:PORT-GUEST:PORT"
_NIC = (
    "{} has an interface of type user: nothing can be forwarded to it; give the guest "
    "one of type network."
)


def read_domain_ports(text: str, name: str) -> Found:
    """All ports of the guest that the XML describes, as virsh dumpxml prints it."""
    xml = SourceXml(text, name)
    guest = xml.root.findtext("name", "")
    if xml.root.tag != "domain" or not guest:
        raise unreadable(name, "the XML describes no domain")
    found = Found()
    base = Imported(xml.origin(xml.root), guest=guest)
    for interface in xml.root.iterfind("devices/interface"):
        for element in interface.iterfind("portForward"):
            for one in _port_forward(base, element, xml):
                found.take(one)
    arguments = list(xml.root.iterfind(f"{_QEMU}commandline/{_QEMU}arg"))
    for element in arguments:
        for one in _host_forwards(base, element, xml):
            found.take(one)
    if found.forwards:
        found.notes.append(_NIC.format(guest))
    return found


def _port_forward(
    base: Imported, element: Element, xml: SourceXml
) -> Iterator[Imported | Left]:
    """The ranges of one <portForward>, less those that it excludes."""
    protocol = element.get("proto", "")
    address, device = element.get("address", ""), element.get("dev", "")
    one = replace(
        base,
        origin=xml.origin(element),
        protocols=(protocol,),
        host_ips=(address,) if address else (),
        interfaces=(device,) if device and not address else (),
        notes=(only_by([device]),) if device and address else (),
    )
    ranges = list(element.iterfind("range"))
    wanted = [part for part in ranges if part.get("exclude") != "yes"]
    try:
        if protocol not in PROTOCOLS:
            raise NotCarried(f"{protocol or 'no protocol'} cannot be forwarded")
        if not wanted:
            raise NotCarried(_ALL)
        holes = [_range(part) for part in ranges if part.get("exclude") == "yes"]
    except NotCarried as error:
        yield Left(one.origin, str(error))
        return
    for part in wanted:
        here = replace(one, origin=xml.origin(part))
        try:
            first = _range(part).first
            target, _ = parse_span(part.get("to") or f"{first}")
            for ports in without(_range(part), holes):
                moved = shift((ports.first, ports.last), target + ports.first - first)
                yield replace(here, published=str(ports), target=moved)
        except NotCarried as error:
            yield Left(here.origin, str(error))


def _range(element: Element) -> PortRange:
    first = element.get("start", "")
    return PortRange(*parse_span(f"{first}-{element.get('end', first)}"))


def _host_forwards(
    base: Imported, element: Element, xml: SourceXml
) -> Iterator[Imported | Left]:
    """hostfwd=[tcp|udp]:[ADDRESS]:PORT-[GUEST]:PORT among a network's options. Without
    an address QEMU listens on every one of IPv4."""
    whole = element.get("value", "")
    if whole.lstrip()[:1] == "{" and "hostfwd" in whole:
        yield Left(Origin(xml.origin(element).where, whole), _IN_JSON)
    for option in re.split("(?<!,),(?!,)", whole):
        key, _, text = option.partition("=")
        if key != "hostfwd":
            continue
        origin = Origin(xml.origin(element).where, option)
        match = _FORWARD.fullmatch(text)
        if not match or match["protocol"] not in ("", *PROTOCOLS):
            why = "write hostfwd=PROTOCOL:ADDRESS:PORT-GUEST:PORT"
            yield Left(origin, f"it is no forward of ports; {why}")
            continue
        host = match["host"].strip("[]")
        try:
            yield replace(
                base,
                origin=origin,
                protocols=(match["protocol"] or "tcp",),
                host_ips=(host or "0.0.0.0",),
                published=span(*parse_span(match["published"])),
                target=span(*parse_span(match["target"])),
            )
        except NotCarried as error:
            yield Left(origin, str(error))
