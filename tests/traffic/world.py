"""A host of the lab with everybody of `places` around it, and our hooks called."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any
from xml.etree import ElementTree as ET

import yaml
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import mac_for
from product import call_hook, configure, put_in

from .asking import Flow
from .places import BEYOND, CABLES, GUESTS, HOST, LANS, LabGuest
from .servers import Servers
from .table import Row

_BRIDGE_NF = "net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"
# An address that the host itself never chooses to speak from, and usable at once.
_NEVER_OWN = "nodad preferred_lft 0"
# The kernel would answer only some of so many questions with a refusal.
_EVERY_REFUSAL = (
    "net.ipv4.icmp_ratelimit=0",
    "net.ipv4.icmp_msgs_per_sec=100000",
    "net.ipv4.icmp_msgs_burst=100000",
    "net.ipv6.icmp.ratelimit=0",
)


class World:
    """One host with its networks, guests and neighbours, for a `with` block."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.nets: dict[str, Net] = {"host": host.net}
        self.servers = Servers()

    def __enter__(self) -> World:
        self.host.__enter__()
        self.servers.__enter__()
        try:
            self._build()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.servers.__exit__(kind, error, trace)
        self.host.__exit__(kind, error, trace)

    def _build(self) -> None:
        host = self.host
        put_in(host, is_patient=True)
        host.start_libvirtd()
        for lan in LANS.values():
            host.start_network(lan.network)
        for name in CABLES:
            four, six = BEYOND[name]
            self.nets[name] = host.outside(f"{four}/24", f"{six}/64", name=name)
        for name in HOST:
            if name != "later":
                self._address("add", name)
        for guest in GUESTS.values():
            self.nets[guest.key] = self._stand_in(guest)
        host.run(["sysctl", "-qw", *_EVERY_REFUSAL])
        self.bridge_nf(False)
        self.meet()

    def _stand_in(self, guest: LabGuest) -> Net:
        if guest.at:
            return self.nets[guest.at]
        lan = LANS[guest.lan]
        four, six = guest.addresses
        bridge = lan.network.bridge
        net = self.host.standin(
            guest.key, f"{four}/24", f"{six}/64", mac=guest.mac, bridge=bridge
        )
        net.ip(*(f"route add default via {gateway}" for gateway in lan.bridge_address))
        return net

    def meet(self) -> None:
        """Have every guest in the neighbour tables, where its IPv6 address is found:
        the kernel forgets who has been silent for a minute."""

        def knock(guest: LabGuest) -> str:
            return Flow(self.host.net, "tcp", guest.addresses[1], 1).ask(5)

        deaf = list(GUESTS)

        def have_all_answered() -> bool:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(knock, [GUESTS[name] for name in deaf]))
            deaf[:] = [n for n, answer in zip(deaf, answers) if answer != "refused"]
            return not deaf

        wait_until(have_all_answered, lambda: f"stand-ins answer: {', '.join(deaf)}")

    def bridge_nf(self, is_on: bool) -> None:
        """Whether packets that cross a bridge go through iptables, as br_netfilter has
        it; the guests' ports have hairpin mode with it."""
        settings = [f"{name}={int(is_on)}" for name in _BRIDGE_NF]
        self.host.run(["sysctl", "-qw", *settings])
        how = "on" if is_on else "off"
        for guest in GUESTS.values():
            if not guest.at:
                port = ["bridge", "link", "set", "dev", guest.key, "hairpin", how]
                self.host.run(port)

    def default_routes(self, is_there: bool) -> None:
        """Two default routes for the host, by two cables, or none."""
        verb = "add" if is_there else "del"
        self.host.net.ip(
            *(
                f"route {verb} default via {address} dev {name} metric {metric}"
                for name, metric in (("outside", 100), ("elsewhere", 200))
                for address in BEYOND[name]
            )
        )

    def late_addresses(self, are_there: bool) -> None:
        """The host's addresses that come when all else is in force."""
        self._address("add" if are_there else "del", "later")

    def _address(self, verb: str, name: str) -> None:
        four, six = HOST[name]
        how = _NEVER_OWN if verb == "add" else ""
        self.host.net.ip(f"addr {verb} {four}/24 dev outside")
        self.host.net.ip(f"addr {verb} {six}/64 dev outside {how}")

    def started(self, key: str) -> None:
        """Tell our hook that the guest has started."""
        self._hook(GUESTS[key], "started", "begin")

    def stopped(self, key: str) -> None:
        """Tell our hook that the guest has stopped."""
        self._hook(GUESTS[key], "stopped", "end")

    def _hook(self, guest: LabGuest, *operation: str) -> None:
        xml = domain_xml(guest)
        call_hook(self.host, "qemu", guest.title, *operation, "-", xml=xml)
        # Connections are cut behind libvirt's back, while the lock is still held.
        self.host.run(["flock", "/run/vfwhooks/lock", "true"])

    def put_in_force(self, rows: Iterable[Row], *, is_before: bool = False) -> None:
        """Have the forwards of these rows in force, by the next hook that comes."""
        texts = [(row.before or "") if is_before else row.forwards for row in rows]
        configure(self.host, together(texts))
        self.started("web1")

    def macs(self) -> dict[str, str]:
        """The MACs of the host's interfaces."""
        links = json.loads(self.host.run(["ip", "-j", "link", "show"]))
        return {link["ifname"]: link["address"] for link in links}


def domain_xml(guest: LabGuest) -> str:
    """What libvirt tells a hook of a guest that has started."""
    domain = ET.Element("domain", type="qemu")
    ET.SubElement(domain, "name").text = guest.title
    ET.SubElement(domain, "uuid").text = guest.uuid
    devices = ET.SubElement(domain, "devices")
    cards = [(guest.lan, guest.mac)]
    if guest.more:
        cards.insert(0, (guest.more, mac_for(guest.number + 1)))
    for number, (lan, mac) in enumerate(cards):
        card = ET.SubElement(devices, "interface", type="network")
        ET.SubElement(card, "mac", address=mac)
        bridge = LANS[lan].network.bridge
        name = LANS[lan].network.name
        ET.SubElement(card, "source", network=name, bridge=bridge)
        ET.SubElement(card, "target", dev=f"vnet{guest.number}{number}")
    return ET.tostring(domain, encoding="unicode")


def alone(forwards: str) -> str:
    """forwards.yaml with the forwards of one row."""
    if not forwards:
        return "guests: {}\n"
    return "guests:\n" + textwrap.indent(forwards, "  ") + "\n"


def together(texts: Iterable[str]) -> str:
    """forwards.yaml with the forwards of several rows."""
    guests: dict[str, dict[str, Any]] = {}
    for text in texts:
        for name, given in (yaml.load(text, yaml.BaseLoader) or {}).items():
            settings = given if isinstance(given, dict) else {"ports": given}
            before = guests.get(name, {})
            guests[name] = {**before, **settings}
            if "ports" in before:
                more = [p for p in settings["ports"] if p not in before["ports"]]
                guests[name]["ports"] = before["ports"] + more
    return yaml.safe_dump({"guests": guests}, allow_unicode=True, default_style='"')
