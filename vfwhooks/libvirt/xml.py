"""libvirt's XML of domains and networks, read into values.

A document type ends the reading where it begins, before an entity is known, so no
entity is expanded or followed, in text or in attributes (`resolve_entities=False` alone
would not help in attributes). lxml parses; ElementTree's builder makes the elements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree.ElementTree import Element as Element
from xml.etree.ElementTree import TreeBuilder

from lxml import etree  # type: ignore[import-untyped]  # it has no stubs

from ..values.errors import VfwError
from ..values.guests import FORWARDS, UNREADABLE, Guest, Network, Nic
from ..values.published import Address, Subnet, find_address, parse_subnet
from .forgotten_names import forgets_names

_DEEPEST = 100
_LARGEST = 16 << 20
_PIECE = 1 << 16  # libxml2 lists all mistakes of a piece before the first is told
# Many attributes in one tag take long, too: libxml2 before 2.12 compares each with all.
_LONGEST_TAG = 256 << 10
_LONG_TAG = re.compile(rb"<[^<>!?][^<>]{%d}" % _LONGEST_TAG)
# A domain's metadata belongs to others, who may write what is refused elsewhere.
_METADATA = re.compile(rb"<metadata>.*</metadata>", re.DOTALL)
_UNREAD = "unread"
_CLASSFUL = ((128, 8), (192, 16), (224, 24))


class _Builder(TreeBuilder):
    """Builds elements, and refuses at once what libvirt never writes."""

    depth = 0
    is_whole = False

    def doctype(self, *_: object) -> None:
        """A document type begins."""
        raise VfwError("the XML has a document type, which libvirt's never has")

    def start(self, tag: str, attributes: Mapping[str, str]) -> Element:
        """An element begins."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise VfwError(f"the XML is more than {_DEEPEST} elements deep")
        return super().start(tag, dict(attributes))  # it takes nothing else

    def end(self, tag: str) -> Element:
        """An element ends."""
        self.depth -= 1
        self.is_whole = not self.depth
        return super().end(tag)


@forgets_names
def read_xml(data: bytes) -> Element:
    """The root element with its content; comments and instructions are left out.

    Raises VfwError, with line and column, for anything but XML as libvirt writes it.
    """
    if len(data) > _LARGEST:
        raise VfwError(f"the XML is larger than {_LARGEST >> 20} MiB")
    if _LONG_TAG.search(data):
        raise VfwError(f"the XML has a tag of more than {_LONGEST_TAG >> 10} KiB")
    builder = _Builder()
    parser = etree.XMLParser(
        target=builder,
        resolve_entities="internal",  # else `&amp;` in an attribute comes as `&#38;`
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        for at in range(0, len(data) or 1, _PIECE):
            parser.feed(data[at : at + _PIECE])
        root: Element = parser.close()
    except etree.XMLSyntaxError as error:
        said = " ".join(str(error.msg).split())
        if error.code == etree.ErrorTypes.ERR_DOCUMENT_END and not builder.is_whole:
            line, column = error.position  # libxml2 says that there is too much
            said = f"no element found: line {line}, column {column - 1}"
        raise VfwError(f"the XML is malformed: {said}") from error
    if not builder.is_whole:  # see forgotten_names
        raise VfwError("the XML is malformed: it ends too early")
    return root


@forgets_names
def read_lines(data: bytes) -> list[int]:
    """The lines in which the tags of all elements end, in the document's order, of XML
    that `read_xml` has read; nothing where libxml2 takes offence at a namespace."""
    parser = etree.XMLParser(no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        return []
    return [element.sourceline or 0 for element in root.iter()]


def read_domain_xml(data: bytes) -> Element:
    """As read_xml, of a domain. What stands in its metadata never hides the domain: the
    metadata is left out where the XML cannot be read with it."""
    try:
        return read_xml(data)
    except VfwError as error:
        found = _METADATA.search(data)
        if not found:
            raise
        root = read_xml(data[: found.start()] + b"<metadata/>" + data[found.end() :])
        metadata = root.find(".//metadata")
        if metadata is not None and FORWARDS.encode() in found[0]:
            metadata.set(_UNREAD, error.message)
        return root


def parse_domain(data: bytes, driver: str) -> Guest:
    """The guest that a domain's XML describes."""
    root = read_domain_xml(data)
    if root.tag != "domain" or not root.findtext("name"):
        raise VfwError("the XML describes no domain")
    return read_domain(root, driver)


def read_domain(domain: Element, driver: str) -> Guest:
    """The guest that a `<domain>` describes, with its interfaces in order."""
    name, uuid = _owner(domain)
    nics = [read_nic(one) for one in domain.iterfind("devices/interface")]
    return Guest(driver, name, uuid, nics, _metadata(domain))


def _metadata(domain: Element) -> str:
    """The text of the forwards in the domain's metadata; '' if it has none."""
    metadata = domain.find("metadata")
    if metadata is None:
        return ""
    if metadata.get(_UNREAD):
        return f"{UNREADABLE}{metadata.get(_UNREAD)}"
    found = metadata.find(f"{{{FORWARDS}}}forwards")
    if found is None:
        return ""
    try:
        from .forwards_element import format_forwards  # few guests have any

        return format_forwards(found)
    except Exception as error:  # noqa: BLE001 - a defect of ours: the guest goes on
        return f"{UNREADABLE}{error!r}"


def parse_networks(data: bytes) -> list[Network]:
    """The networks in a network's XML, in libvirt's status file or in hookData."""
    root = read_xml(data)
    if root.tag == "network":
        return [_network(root)]
    if root.tag not in ("networkstatus", "hookData"):
        return []
    found = [_network(one) for one in root.iterfind("network")]
    if root.tag == "networkstatus":
        for network in found:
            network.backend = attribute(root, "firewall", "backend")
    return found


def has_dhcp(data: bytes) -> bool:
    """Whether the XML of a network has DHCP in an IPv4 subnet."""
    root = read_xml(data)
    return root.tag == "network" and any(
        own.version == 4 and ip.find("dhcp") is not None
        for ip in root.iterfind("ip")
        for own, _ in _subnets(ip.attrib)
    )


def attribute(element: Element, path: str, name: str) -> str:
    """An attribute of the first element at `path`; '' if there is none."""
    found = element.find(path)
    return "" if found is None else found.get(name, "")


def _owner(element: Element) -> tuple[str, str]:
    """The name and UUID of a guest."""
    name, uuid = element.findtext("name", ""), element.findtext("uuid", "")
    return name, uuid.strip().lower()


def read_nic(interface: Element) -> Nic:
    """An interface of a domain. libvirt's status files have an element `actual` with
    the interface's type and bridge in force."""
    kind = attribute(interface, "actual", "type") or interface.get("type", "")
    backend = attribute(interface, "backend", "type")
    if kind in ("user", "vhostuser") and backend == "passt":
        kind = "passt"  # it can forward ports by itself
    bridge = attribute(interface, "actual/source", "bridge")
    return Nic(
        attribute(interface, "mac", "address").lower(),
        kind,
        attribute(interface, "source", "network"),
        bridge or attribute(interface, "source", "bridge"),
        attribute(interface, "target", "dev"),
    )


def _network(element: Element) -> Network:
    forward = element.find("forward")
    reservations: dict[str, list[Address]] = {}
    for host in element.iterfind("ip/dhcp/host"):
        mac, address = host.get("mac", "").lower(), find_address(host.get("ip", ""))
        if mac and address:
            reservations.setdefault(mac, []).append(address)
    return Network(
        element.findtext("name", ""),
        attribute(element, "bridge", "name"),
        "none" if forward is None else forward.get("mode") or "nat",
        [one for ip in element.iterfind("ip") for one in _subnets(ip.attrib)],
        reservations,
    )


def _subnets(ip: dict[str, str]) -> list[tuple[Address, Subnet]]:
    """The address and the subnet of an `<ip>`; empty if it has no address."""
    address, mask = (find_address(ip.get(name, "")) for name in ("address", "netmask"))
    if not address:
        return []
    prefix = ip.get("prefix", "")
    if prefix.isdecimal() and len(prefix) < 4 and int(prefix) <= address.max_prefixlen:
        length = int(prefix)
    elif mask and mask.version == 4:
        length = bin(int(mask)).count("1")
    elif address.version == 6:
        length = 64
    else:
        first = address.packed[0]
        length = next((size for below, size in _CLASSFUL if first < below), 24)
    return [(address, parse_subnet(f"{address}/{length}"))]
