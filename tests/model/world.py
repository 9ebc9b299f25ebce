"""A host of which everything is known, and what its kernel must hold; the model's side.

Nothing here is taken from vfwhooks: addresses, order and networks are kept by hand, and
the ports come from the oracle.
"""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from oracle import Published, expected, iptables_published, nft_published
from standin import Guest, nft_json, put, run

SUBNETS = {"default": 122, "second": 123}
BRIDGES = {"default": "virbr0", "second": "virbr1"}
LEASES = Path("/var/lib/libvirt/dnsmasq")
STATUS = Path("/run/libvirt/network")


@dataclass
class Running:
    """A guest that runs: its interfaces by network, and where it was last let in."""

    guest: Guest
    nics: list[str]
    last: str = ""


@dataclass
class World:
    """Who runs, since when (in order), on which networks, and what the files say."""

    backend: str
    forwards: str = "guests: {}\n"
    running: dict[str, Running] = field(default_factory=dict)
    active: set[str] = field(default_factory=lambda: set(SUBNETS))
    reserved: dict[str, dict[str, int]] = field(
        default_factory=lambda: {name: {} for name in SUBNETS}
    )
    leased: dict[str, dict[str, int]] = field(
        default_factory=lambda: {name: {} for name in SUBNETS}
    )
    has_libvirts_rules: bool = True

    def settle(self) -> dict[str, str]:
        """Where each running guest with forwards is, in the order of their starts; a
        guest that is known nowhere stays where it was."""
        taken: dict[str, str] = {}
        for name, one in self.running.items():
            found = ""
            if self._entries(name):
                found = self._find(one) or self._stays(one)
            one.last = found if found and found not in taken.values() else ""
            if one.last:
                taken[name] = found
        return taken

    def _find(self, one: Running) -> str:
        for network in one.nics:
            mac = mac_on(one.guest, network)
            if network in self.active:
                number = self.reserved[network].get(mac) or self.leased[network].get(
                    mac
                )
                if number:
                    return f"192.168.{SUBNETS[network]}.{number}"
        return ""

    def _stays(self, one: Running) -> str:
        inside = [f"192.168.{SUBNETS[n]}." for n in one.nics if n in self.active]
        return one.last if one.last.startswith(tuple(inside) or ("-",)) else ""

    def _entries(self, name: str) -> Any:
        """What the file says of a guest: its own entry, or the first pattern's."""
        tree = yaml.load(self.forwards, Loader=yaml.BaseLoader)
        patterns = tree.get("patterns", {})
        found = [patterns[one] for one in patterns if fnmatch.fnmatchcase(name, one)]
        return tree["guests"].get(name, found[0] if found else [])

    def expected(self) -> tuple[set[Published], set[str]]:
        """The ports that are published, and the addresses that are let in. Of two
        guests that want one port, the guest that runs longer has it."""
        where = self.settle()
        published: dict[tuple[str, str, int], Published] = {}
        for name, at in where.items():
            text = json.dumps({"guests": {name: self._entries(name)}})
            for one in expected(text, {name: [at]}):
                published.setdefault((one.host, one.protocol, one.port), one)
        let_in = set(where.values()) if self.has_libvirts_rules else set()
        return set(published.values()), let_in

    def held(self) -> tuple[set[Published], set[str]]:
        """The same as the kernel has it."""
        if self.backend == "nftables":
            listing = nft_json()
            return nft_published(listing), _accepted(listing)
        save = run("iptables-save")
        found = re.findall(r"-A VFW-FORWARD -d (\S+)/32 .*--ctdir ORIGINAL", save)
        return iptables_published(save + run("ip6tables-save")), set(found)

    def write_network(self, name: str) -> str:
        """libvirt's status file of a network, or none; what a hook is told of it."""
        path = STATUS / f"{name}.xml"
        number = SUBNETS[name]
        hosts = "".join(
            f"<host mac='{mac}' ip='192.168.{number}.{host}'/>"
            for mac, host in self.reserved[name].items()
        )
        xml = (
            f"<network><name>{name}</name><forward mode='nat'/>"
            f"<bridge name='{BRIDGES[name]}'/>"
            f"<ip address='192.168.{number}.1' netmask='255.255.255.0'>"
            f"<dhcp>{hosts}</dhcp></ip></network>"
        )
        noted = f"<firewall name='fwRemoval' backend='{self.backend}'/>"
        if self.backend != "nftables":
            noted = ""
        if name in self.active:
            put(path, f"<networkstatus>{xml}{noted}</networkstatus>")
        else:
            path.unlink(missing_ok=True)
        return f"<hookData>{xml}</hookData>"

    def write_leases(self, name: str) -> None:
        """dnsmasq's leases of a network."""
        leases = [
            {
                "ip-address": f"192.168.{SUBNETS[name]}.{host}",
                "mac-address": mac,
                "expiry-time": 4_000_000_000,
            }
            for mac, host in self.leased[name].items()
        ]
        put(LEASES / f"{BRIDGES[name]}.status", json.dumps(leases))


def _accepted(listing: str) -> set[str]:
    found = set()
    for item in json.loads(listing)["nftables"]:
        about = item.get("set", {})
        if (about.get("table"), about.get("name")) == ("libvirt_network", "vfwhooks"):
            for one in about.get("elem", []):
                found.add(one["elem"]["val"] if isinstance(one, dict) else one)
    return found


def mac_on(guest: Guest, network: str) -> str:
    """The MAC of a guest's interface on a network."""
    return guest.mac if network == "default" else guest.mac.replace("00:00", "00:01")


def domain(guest: Guest, nics: list[str]) -> str:
    """A running guest's XML with these interfaces."""
    interfaces = "".join(
        f"<interface type='network'><mac address='{mac_on(guest, network)}'/>"
        f"<source network='{network}' bridge='{BRIDGES[network]}'/>"
        f"<target dev='vnet{guest.number}'/></interface>"
        for network in nics
    )
    return (
        f"<domain type='qemu'><name>{guest.name}</name><uuid>{guest.uuid}</uuid>"
        f"<devices>{interfaces}</devices></domain>"
    )


def port(guest: Guest, network: str) -> str:
    """A port event's XML, as libvirt lays it out."""
    return (
        f"<hookData>\n  <network>\n    <name>{network}</name>\n  </network>\n"
        f"  <networkport>\n    <owner>\n      <name>{guest.name}</name>\n"
        f"      <uuid>{guest.uuid}</uuid>\n    </owner>\n"
        f"    <mac address='{mac_on(guest, network)}'/>\n"
        f"    <plug type='network' bridge='{BRIDGES[network]}'/>\n"
        "  </networkport>\n</hookData>\n"
    )
