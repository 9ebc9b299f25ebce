"""What libvirt's XML says, read by expat into a DOM. Imports nothing of vfwhooks, and
nothing of what vfwhooks reads XML with."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Any
from xml.dom import minidom

CLASSES = (("A", 128, 8), ("B", 192, 16), ("C", 256, 24))


def _root(data: bytes) -> Any:
    """The root element."""
    return minidom.parseString(data).documentElement


def _all(element: Any, path: str) -> list[Any]:
    """The elements at a path below one."""
    found = [element]
    for tag in path.split("/"):
        nodes = [node for one in found for node in one.childNodes]
        found = [node for node in nodes if node.nodeName == tag]
    return found


def _text(element: Any, path: str) -> str:
    """The text of the first element at a path."""
    for one in _all(element, path)[:1]:
        kinds = (one.TEXT_NODE, one.CDATA_SECTION_NODE)
        return "".join(n.data for n in one.childNodes if n.nodeType in kinds)
    return ""


def _value(element: Any, path: str, name: str) -> str:
    """An attribute of the first element at a path."""
    found = _all(element, path)
    return str(found[0].getAttribute(name)) if found else ""


def interface(element: Any) -> dict[str, str]:
    """An <interface>."""
    return {
        "mac": _value(element, "mac", "address").lower(),
        "kind": element.getAttribute("type"),
        "network": _value(element, "source", "network"),
        "bridge": _value(element, "source", "bridge"),
        "device": _value(element, "target", "dev"),
    }


def domain(data: bytes, driver: str) -> dict[str, Any]:
    """A <domain>."""
    root = _root(data)
    assert root.nodeName == "domain"
    return {
        "driver": driver,
        "name": _text(root, "name"),
        "uuid": _text(root, "uuid").strip().lower(),
        "nics": [interface(one) for one in _all(root, "devices/interface")],
        "metadata": "",  # no domain that is read here has forwards in it
    }


def network(data: bytes) -> dict[str, Any]:
    """A <network>, alone, in a status file or in hookData."""
    root = _root(data)
    is_alone = root.nodeName == "network"
    assert is_alone or root.nodeName in ("networkstatus", "hookData")
    (found,) = [root] if is_alone else _all(root, "network")
    mode = "none"
    if _all(found, "forward"):
        mode = _value(found, "forward", "mode") or "nat"
    reservations: dict[str, list[str]] = {}
    for host in _all(found, "ip/dhcp/host"):
        if host.hasAttribute("mac") and host.hasAttribute("ip"):
            addresses = reservations.setdefault(host.getAttribute("mac").lower(), [])
            addresses.append(str(ip_interface(host.getAttribute("ip")).ip))
    has_noted = root.nodeName == "networkstatus"
    return {
        "name": _text(found, "name"),
        "bridge": _value(found, "bridge", "name"),
        "mode": mode,
        "subnets": [_subnet(ip) for ip in _all(found, "ip")],
        "reservations": reservations,
        "backend": _value(root, "firewall", "backend") if has_noted else "",
    }


def _subnet(ip: Any) -> tuple[str, str]:
    """An <ip>'s address and subnet; without a size it is as large as its class."""
    address = ip_interface(ip.getAttribute("address"))
    size = ip.getAttribute("prefix") or ip.getAttribute("netmask")
    if not size and address.version == 6:
        size = 64
    elif not size:
        first = address.packed[0]
        size = next((length for _, below, length in CLASSES if first < below), 24)
    whole = ip_interface(f"{address.ip}/{size}")
    return str(whole.ip), str(whole.network)
