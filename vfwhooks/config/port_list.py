"""What stands in a guest's list of ports in forwards.yaml: nodes in, forwards out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..values.protocols import ALL_PROTOCOLS
from .forwards import Forward, GuestForwards
from .keys import PORT
from .port_spellings import (
    parse_entry,
    parse_protocols,
    parse_published,
    parse_target,
)
from .value_reader import Values, find_slip_of, kind_of
from .value_syntax import (
    Address,
    PortRange,
    Short,
    Subnet,
    parse_host_ip,
    parse_protocol,
    parse_subnet,
    parse_switch,
)
from .yaml_tree import Items, Node, Pairs, Place, Text

_SIDES = ("published", parse_published), ("target", parse_target)
_SWITCHES = "over_listener", "return_path", "masquerade"


@dataclass(frozen=True)
class Defaults:
    """What holds for a port or a guest that does not say otherwise; `hairpin` is where
    it says so."""

    host_ips: tuple[Address, ...] = ()
    allow_from: tuple[Subnet, ...] = ()
    is_claimed: bool = False
    hairpin: Place | None = None
    return_path: bool = False
    masquerade: bool = False


class PortList:
    """Reads one guest's ports, for which `defaults` hold; `is_over` says whether they
    take their ports from listeners of the host. Problems go to `read`."""

    def __init__(self, read: Values, defaults: Defaults, is_over: bool) -> None:
        self._read = read
        self._defaults = defaults
        self._is_over = is_over

    def one_to_one(self, guest: GuestForwards) -> list[Forward]:
        """Everything that comes to its public addresses, as one forward for each."""
        everything, allow = PortRange(0, 65535), self._defaults.allow_from
        return [
            forward
            for address in guest.public_ips
            for forward in self._forwards(
                (address,),
                (ALL_PROTOCOLS,),
                everything,
                everything,
                allow,
                guest.public_place,
            )
        ]

    def listed(self, node: Node | None, guest: Node) -> list[Forward]:
        """The ports that are listed, or the one that stands in place of a list."""
        if node is None:
            self._read.wrong(
                guest.place, "no ports: for this guest; ports: [] says none"
            )
        elif isinstance(node, Items):
            return [forward for item in node.nodes for forward in self._port(item)]
        elif isinstance(node, Text) and node.value:
            slip = find_slip_of(node) if node.value.startswith("-") else None
            if not slip:
                return self._port(node)
            self._read.wrong(*slip)
        else:
            self._read.wrong(
                node.place, f"ports are {kind_of(node)}; write [8080:80, 443]"
            )
        return []

    def _port(self, node: Node) -> list[Forward]:
        if isinstance(node, Text):
            short = self._read.scalar(node, parse_entry)
            return self._short(short, node.place) if short else []
        if isinstance(node, Pairs):
            return self._long(node)
        self._read.wrong(node.place, "a list in a list of ports")
        return []

    def _short(self, short: Short, place: Place) -> list[Forward]:
        host_ips, protocols = self._defaults.host_ips, ("tcp",)
        if short.host_ip:
            host_ips = (parse_host_ip(short.host_ip),)
        if short.protocol:
            protocols = (parse_protocol(short.protocol),)
        allow = self._defaults.allow_from
        return self._forwards(
            host_ips, protocols, short.published, short.target, allow, place
        )

    def _long(self, node: Pairs) -> list[Forward]:
        parts = self._read.mapping(node, "a port", PORT)
        if parts is None:
            return []
        before = len(self._read.problems)
        given = {
            key: self._read.scalar(parts[key], parse)
            for key, parse in _SIDES
            if key in parts
        }
        published = given.get("published") or given.get("target")
        target = given.get("target") or published
        protocols: tuple[str, ...] = ("tcp",)
        host_ips = self._defaults.host_ips
        allow = self._defaults.allow_from
        if "protocol" in parts:
            protocols = self._read.several(parts["protocol"], parse_protocols)
        if "host_ip" in parts:
            host_ips = self._read.several(parts["host_ip"], parse_host_ip)
        if "allow_from" in parts:
            allow = self._read.several(parts["allow_from"], parse_subnet)
        switched = {
            key: self._read.scalar(parts[key], parse_switch)
            for key in _SWITCHES
            if key in parts
        }
        if not published or not target:
            if not given:
                self._read.wrong(node.place, "a port needs published: or target:")
            return []
        if len(self._read.problems) > before:
            return []
        found = self._forwards(
            host_ips, protocols, published, target, allow, node.place
        )
        return [self._switched(forward, switched) for forward in found]

    def _switched(self, forward: Forward, switches: dict[str, bool | None]) -> Forward:
        """The forward as its own switches have it."""
        host = forward.host_ip
        for key in ("return_path", "masquerade"):
            if switches.get(key) and host and host.is_loopback:
                only = f"only this host itself connects to {host}"
                self._read.wrong(forward.place, f"{key} has no meaning here: {only}")
        over, back, masquerade = (
            bool(getattr(forward, key) if switches.get(key) is None else switches[key])
            for key in _SWITCHES
        )
        return replace(
            forward, over_listener=over, return_path=back, masquerade=masquerade
        )

    def _forwards(
        self,
        host_ips: tuple[Address, ...],
        protocols: tuple[str, ...],
        published: PortRange,
        target: PortRange,
        allow: tuple[Subnet, ...],
        place: Place,
    ) -> list[Forward]:
        lengths = published.last - published.first, target.last - target.first
        if lengths[1] and lengths[0] != lengths[1]:
            count = f"{lengths[0] + 1} to {lengths[1] + 1} ports"
            self._read.wrong(
                place, f"{published} to {target} is {count}; make them as many"
            )
            return []
        found = []
        for host_ip in host_ips or (None,):
            sources = self._sources(host_ip, allow, place) if host_ip else allow
            if sources is None:
                continue
            for protocol in protocols:
                is_remote = not (host_ip and host_ip.is_loopback)
                one = Forward(
                    *(host_ip, protocol, published, target, sources, place),
                    over_listener=self._is_over,
                    return_path=is_remote and self._defaults.return_path,
                    masquerade=is_remote and self._defaults.masquerade,
                )
                found.append(one)
        return found

    def _sources(
        self, host_ip: Address, allow: tuple[Subnet, ...], place: Place
    ) -> tuple[Subnet, ...] | None:
        """Who may connect there; None, and a problem, where nobody could."""
        if host_ip.is_loopback and allow:
            if allow is self._defaults.allow_from:
                return ()
            only = f"only this host itself connects to {host_ip}"
            self._read.wrong(place, f"allow_from has no meaning here: {only}")
            return None
        if allow and host_ip.version not in {subnet.version for subnet in allow}:
            what = f"no IPv{host_ip.version} network for host_ip {host_ip}"
            self._read.wrong(place, f"allow_from has {what}: nobody could connect")
            return None
        return allow
