"""Libvirt's XML, read into values: domains and networks.

expat and not lxml, for the whole package: lxml costs 18 ms to import, on every start
of every guest. A document type is refused, so no entity is ever expanded or followed.
"""

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from pyexpat import ExpatError, ParserCreate

from .errors import VfwError
from .model import Guest, Network, Nic

_DEEPEST = 100
_CLASSFUL = ((128, 8), (192, 16), (224, 24))


class Element:
    """One element with all that is in it."""

    __slots__ = ("attributes", "children", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element] = []
        self.text = ""

    def all(self, path: str) -> "list[Element]":
        """The elements at `path` ("dhcp/host") below this one."""
        found = [self]
        for tag in path.split("/"):
            found = [
                child for one in found for child in one.children if child.tag == tag
            ]
        return found

    def get(self, path: str, name: str) -> str:
        """An attribute of the first element at `path`; '' where there is none."""
        found = self.all(path)
        return found[0].attributes.get(name, "") if found else ""

    def content(self, path: str) -> str:
        """The text of the first element at `path`; '' where there is none."""
        found = self.all(path)
        return found[0].text if found else ""


def read_elements(data: bytes, *paths: str) -> list[Element]:
    """The elements at any of `paths` from the root ("domain/name"), in order.

    Raises VfwError, with line and column, on what is not XML as libvirt writes it.
    """
    found: list[Element] = []
    above: list[str] = [""]
    kept: list[Element] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(above) > _DEEPEST:
            raise VfwError(f"the XML is more than {_DEEPEST} elements deep")
        path = f"{above[-1]}/{tag}"
        above.append(path)
        element = Element(tag, attributes)
        if kept:
            kept[-1].children.append(element)
        elif path[1:] in paths:
            found.append(element)
        else:
            return
        kept.append(element)

    def end(_: str) -> None:
        above.pop()
        if kept:
            kept.pop()

    def characters(text: str) -> None:
        if kept:
            kept[-1].text += text

    def refuse(*_: object) -> None:
        raise VfwError("the XML has a document type, which libvirt's never has")

    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (ExpatError, LookupError, ValueError) as error:
        raise VfwError(f"the XML is malformed: {error}") from error
    return found


def parse_domain(data: bytes, driver: str) -> Guest:
    """The guest that a domain's XML describes, with its interfaces in order."""
    at = "domain/name", "domain/uuid", "domain/devices/interface"
    name, uuid, nics = "", "", []
    for element in read_elements(data, *at):
        if element.tag == "name":
            name = element.text
        elif element.tag == "uuid":
            uuid = element.text.strip().lower()
        else:
            nics.append(read_nic(element))
    if not name:
        raise VfwError("the XML describes no domain")
    return Guest(driver, name, uuid, nics)


def parse_networks(data: bytes) -> list[Network]:
    """The network in a network's XML, in libvirt's status file or in hookData."""
    at = "network", "networkstatus/network", "hookData/network"
    found: list[Network] = []
    backend = ""
    for element in read_elements(data, *at, "networkstatus/firewall"):
        if element.tag == "network":
            found.append(_network(element))
        else:
            backend = element.attributes.get("backend", "")
    for network in found:
        network.backend = backend
    return found


def dhcp_subnet(data: bytes) -> str:
    """The IPv4 subnet in which a network, by its XML, has DHCP; '' for none."""
    for ip in read_elements(data, "network/ip"):
        subnet = _subnet(ip.attributes)
        if subnet and ":" not in subnet[0] and ip.all("dhcp"):
            return subnet[1]
    return ""


def read_nic(interface: Element) -> Nic:
    """An interface of a domain. In libvirt's status files what it has come to be, with
    its bridge, stands in an element of its own, `actual`."""
    kind = interface.get("actual", "type") or interface.attributes.get("type", "")
    if kind in ("user", "vhostuser") and interface.get("backend", "type") == "passt":
        kind = "passt"  # it can forward ports by itself
    bridge = interface.get("actual/source", "bridge")
    return Nic(
        interface.get("mac", "address").lower(),
        kind,
        interface.get("source", "network"),
        bridge or interface.get("source", "bridge"),
        interface.get("target", "dev"),
    )


def _network(element: Element) -> Network:
    forward = element.all("forward")
    subnets: list[tuple[str, str]] = []
    reservations: dict[str, list[str]] = {}
    for ip in element.all("ip"):
        subnet = _subnet(ip.attributes)
        if subnet:
            subnets.append(subnet)
        for host in ip.all("dhcp/host"):
            mac = host.attributes.get("mac", "").lower()
            address = canonical(host.attributes.get("ip", ""))
            if mac and address:
                reservations.setdefault(mac, []).append(address)
    return Network(
        element.content("name"),
        element.get("bridge", "name"),
        (forward[0].attributes.get("mode") or "nat") if forward else "none",
        subnets,
        reservations,
    )


def _subnet(ip: dict[str, str]) -> "tuple[str, str] | None":
    address = canonical(ip.get("address", ""))
    if not address:
        return None
    family = AF_INET6 if ":" in address else AF_INET
    packed = inet_pton(family, address)
    bits = len(packed) * 8
    prefix, mask = ip.get("prefix", ""), canonical(ip.get("netmask", ""))
    if prefix.isdecimal() and len(prefix) < 4 and int(prefix) <= bits:
        length = int(prefix)
    elif mask and ":" not in mask:
        length = bin(int.from_bytes(inet_pton(AF_INET, mask), "big")).count("1")
    elif family == AF_INET6:
        length = 64
    else:
        length = next((size for below, size in _CLASSFUL if packed[0] < below), 24)
    host = (1 << (bits - length)) - 1
    base = (int.from_bytes(packed, "big") & ~host).to_bytes(len(packed), "big")
    return address, f"{inet_ntop(family, base)}/{length}"


def canonical(address: str) -> str:
    """The address as the kernel writes it; '' for what is no address."""
    family = AF_INET6 if ":" in address else AF_INET
    try:
        return inet_ntop(family, inet_pton(family, address))
    except (OSError, ValueError, UnicodeError):
        return ""
