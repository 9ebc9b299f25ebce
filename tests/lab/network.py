"""libvirt networks as values, and their XML."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET


@dataclass(frozen=True)
class Network:
    """A libvirt network; `mode` is its forward mode, None for an isolated one.

    `address` and `ipv6` are the bridge's, with a prefix length. `reservations`
    maps MACs to addresses. `dhcp` is the range, None for a network without DHCP.
    """

    name: str = "default"
    bridge: str = "virbr0"
    mode: str | None = "nat"
    address: str | None = "192.168.122.1/24"
    dhcp: tuple[str, str] | None = ("192.168.122.100", "192.168.122.254")
    reservations: Mapping[str, str] = field(default_factory=dict)
    ipv6: str | None = None
    nat_ipv6: bool = False
    stp: bool = False

    def xml(self) -> str:
        """What net-define takes."""
        network = ET.Element("network")
        ET.SubElement(network, "name").text = self.name
        if self.mode is not None:
            forward = ET.SubElement(network, "forward", mode=self.mode)
            if self.nat_ipv6:
                ET.SubElement(forward, "nat", ipv6="yes")
        bridge = ET.SubElement(network, "bridge", name=self.bridge)
        if self.mode != "bridge":
            # With it on, as libvirt has it by default, a bridge port passes nothing
            # for its first four seconds.
            bridge.set("stp", "on" if self.stp else "off")
            bridge.set("delay", "0")
        if self.address is not None:
            self._add_ipv4(network, ipaddress.IPv4Interface(self.address))
        if self.ipv6 is not None:
            own = ipaddress.IPv6Interface(self.ipv6)
            prefix = str(own.network.prefixlen)
            ET.SubElement(
                network, "ip", family="ipv6", address=str(own.ip), prefix=prefix
            )
        return ET.tostring(network, encoding="unicode")

    def _add_ipv4(self, network: ET.Element, own: ipaddress.IPv4Interface) -> None:
        ip = ET.SubElement(network, "ip", address=str(own.ip), netmask=str(own.netmask))
        if self.dhcp is None:
            return
        dhcp = ET.SubElement(ip, "dhcp")
        ET.SubElement(dhcp, "range", start=self.dhcp[0], end=self.dhcp[1])
        for mac, address in self.reservations.items():
            ET.SubElement(dhcp, "host", mac=mac, ip=address)


NUMBERS = range(10, 100)


def mac_for(number: int) -> str:
    """The MAC of the lab's guest of that number."""
    return f"52:54:00:00:00:{number:02x}"


def default_network(
    ipv6: bool = False, mode: str | None = "nat", name: str = "default"
) -> Network:
    """The default NAT network, with reservations for the lab's guests.

    Guest number N, of NUMBERS, has the MAC mac_for(N) and gets 192.168.122.N. With
    ipv6 it has fd00:122::/64 besides, behind NAT as well where the mode is nat.
    """
    return Network(
        name=name,
        mode=mode,
        reservations={mac_for(n): f"192.168.122.{n}" for n in NUMBERS},
        ipv6="fd00:122::1/64" if ipv6 else None,
        nat_ipv6=ipv6 and mode == "nat",
    )


def second_network(
    name: str, number: int, mode: str | None = None, ipv6: str | None = None
) -> Network:
    """Another network, 192.168.NUMBER.0/24 on virbrNUMBER; isolated by default.

    Guest number N gets 192.168.NUMBER.N there.
    """
    subnet = f"192.168.{number}"
    return Network(
        name=name,
        bridge=f"virbr{number}",
        mode=mode,
        address=f"{subnet}.1/24",
        dhcp=(f"{subnet}.100", f"{subnet}.254"),
        reservations={mac_for(n): f"{subnet}.{n}" for n in NUMBERS},
        ipv6=ipv6,
    )
