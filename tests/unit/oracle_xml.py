"""What libvirt's XML says, read by lxml and XPath. Imports nothing of vfwhooks."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Any

from lxml import etree  # type: ignore[import-untyped]  # it has no stubs

CLASSES = (("A", 128, 8), ("B", 192, 16), ("C", 256, 24))


def _text(element: Any, path: str) -> str:
    """The text of the first element at a path."""
    return str(element.xpath(f"string({path})"))


def interface(element: Any) -> dict[str, str]:
    """An <interface>."""
    return {
        "mac": _text(element, "mac/@address").lower(),
        "kind": _text(element, "@type"),
        "network": _text(element, "source/@network"),
        "bridge": _text(element, "source/@bridge"),
        "device": _text(element, "target/@dev"),
    }


def domain(data: bytes, driver: str) -> dict[str, Any]:
    """A <domain>."""
    root = etree.fromstring(data)
    return {
        "driver": driver,
        "name": _text(root, "/domain/name"),
        "uuid": _text(root, "/domain/uuid").strip().lower(),
        "nics": [interface(one) for one in root.xpath("/domain/devices/interface")],
    }


def network(data: bytes) -> dict[str, Any]:
    """A <network>, alone, in a status file or in hookData."""
    root = etree.fromstring(data)
    (found,) = root.xpath("/network | /networkstatus/network | /hookData/network")
    mode = "none"
    if found.xpath("forward"):
        mode = _text(found, "forward/@mode") or "nat"
    reservations: dict[str, list[str]] = {}
    for host in found.xpath("ip/dhcp/host[@mac][@ip]"):
        addresses = reservations.setdefault(host.get("mac").lower(), [])
        addresses.append(str(ip_interface(host.get("ip")).ip))
    return {
        "name": _text(found, "name"),
        "bridge": _text(found, "bridge/@name"),
        "mode": mode,
        "subnets": [_subnet(ip) for ip in found.xpath("ip")],
        "reservations": reservations,
        "backend": _text(root, "/networkstatus/firewall/@backend"),
    }


def _subnet(ip: Any) -> tuple[str, str]:
    """An <ip>'s address and subnet; without a size it is as large as its class."""
    address = ip_interface(ip.get("address"))
    size = ip.get("prefix") or ip.get("netmask")
    if not size and address.version == 6:
        size = 64
    elif not size:
        first = address.packed[0]
        size = next((length for _, below, length in CLASSES if first < below), 24)
    whole = ip_interface(f"{address.ip}/{size}")
    return str(whole.ip), str(whole.network)
