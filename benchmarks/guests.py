"""Guests as libvirt tells hooks of them, and forwards.yaml for many of them. Pure."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import Path

RECORDED = Path(__file__).resolve().parent.parent / "tests" / "unit" / "recorded"
SUBNET, BRIDGE_ADDRESS = "192.168.0.0/16", "192.168.0.1"
FIRST_PORT = 1024
GuestsForwards = dict[str, list[str]]


@dataclass(frozen=True)
class Guest:
    """The guest of this number; 0 is the one that is measured."""

    number: int

    @property
    def name(self) -> str:
        """Its name."""
        return f"web{self.number}"

    @property
    def uuid(self) -> str:
        """Its UUID."""
        return str(uuid.UUID(int=0x5646 << 64 | 4 << 76 | self.number))

    @property
    def mac(self) -> str:
        """The MAC of its interface."""
        return f"52:54:00:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def address(self) -> str:
        """The address that is reserved for it."""
        return f"192.168.{self.number // 200 + 1}.{self.number % 200 + 10}"

    def xml(self, operation: str, daemon: str = "libvirt-11.3") -> str:
        """What libvirt sends to the hook for an operation ("network-port-created")."""
        text = (RECORDED / daemon / f"{operation}.xml").read_text()
        text = re.sub(r"<name>web1</name>", f"<name>{self.name}</name>", text)
        text = text.replace("52:54:00:00:00:10", self.mac)
        text = text.replace("vnet0", f"vnet{self.number}")
        if operation.startswith("network-"):
            head, owner, rest = text.partition("<owner>")
            return head + owner + re.sub("<uuid>.*?</uuid>", self._uuid, rest, count=1)
        return re.sub("<uuid>.*?</uuid>", self._uuid, text, count=1)

    @property
    def _uuid(self) -> str:
        return f"<uuid>{self.uuid}</uuid>"


def network_xml(backend: str, reservations: int) -> str:
    """libvirt's status file of the network, with this many guests' reservations."""
    text = (RECORDED / "libvirt-9.0" / "run-libvirt-network-default.xml").read_text()
    hosts = [
        f"        <host mac='{g.mac}' name='{g.name}' ip='{g.address}'/>\n"
        for g in map(Guest, range(reservations))
    ]
    text = re.sub(r" *<host .*\n", "".join(hosts), text)
    text = text.replace("192.168.122.1'", f"{BRIDGE_ADDRESS}'")
    text = text.replace("netmask='255.255.255.0'", "netmask='255.255.0.0'")
    if backend == "nftables":
        noted = "  <firewall name='fwRemoval' backend='nftables'/>\n"
        text = text.replace("  <network>", noted + "  <network>", 1)
    return text


def with_reservations(xml: str, status: Path) -> str:
    """What libvirt tells a network's hook, with the reservations of its status file."""
    hosts = "".join(re.findall(" *<host .*\n", status.read_text()))
    return re.sub(" *<host .*\n", hosts, xml)


def plain(count: int, first: int = FIRST_PORT) -> list[str]:
    """That many forwards of single ports, each to the port of the same number."""
    return [f"{port}:{port}" for port in range(first, first + count)]


def guarded(count: int, first: int, source: str) -> list[str]:
    """Forwards that only one network may use."""
    line = "{published: %d, target: %d, allow_from: [%s]}"
    return [line % (port, port, source) for port in range(first, first + count)]


def others(guests: int = 100, forwards: int = 100) -> GuestsForwards:
    """A host's other guests, from number 1 on: a tenth of the forwards of each are
    guarded, and one is a range of ten ports."""
    found: GuestsForwards = {}
    first = 2 * FIRST_PORT
    for number in range(1, guests + 1):
        some = forwards // 10
        lines = plain(forwards - some - 1, first)
        lines += guarded(some, first + len(lines), f"198.51.{number}.0/24")
        at = first + forwards
        lines.append(f"{at}-{at + 9}:{at}-{at + 9}")
        found[Guest(number).name] = lines
        first = at + 10
    return found


def forwards_yaml(guests: GuestsForwards) -> str:
    """forwards.yaml with these guests."""
    lines = ["guests:"]
    for name, forwards in guests.items():
        lines += [f"  {name}:", *(f"    - {forward}" for forward in forwards)]
    return "\n".join(lines) + "\n" if guests else "guests: {}\n"
