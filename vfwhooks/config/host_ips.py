"""host_ip: the host's addresses for published ports, written as such, by a name of
`addresses:`, or by an interface that has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ..host.netlink import NETLINK_ROUTE, Netlink
from ..host.routes import interface_addresses
from ..store.files import quote, unquote
from ..values.errors import show
from .forwards_keys import HOST_IP
from .value_reader import Values, kind_of
from .value_syntax import Address, parse_host_ip, parse_interface
from .yaml_nodes import Node, Pairs, Place, Problem, Text, listed

_FORMS = "an address, {interface: eth0} or {name: public}"
_PARSERS: dict[str, Callable[[str], str]] = {"interface": parse_interface, "name": str}
_MARK = "@"  # of an interface's line among the stamps of files


@dataclass(frozen=True)
class HostIp:
    """One address for published ports. `source`: the interface or the name that stands
    for it, '' if the address itself is written. `address` None: an interface itself,
    beside its addresses, of which it has none now if it `is_absent`."""

    address: Address | None
    source: str = ""
    is_by_interface: bool = False
    is_absent: bool = False


class Interfaces:
    """The addresses that interfaces of this host have now, each asked for once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Address, ...]] = {}

    def __call__(self, name: str) -> tuple[Address, ...]:
        """The addresses of an interface that are valid beyond its link. Raises OSError
        if the kernel gives no answer: an interface must not seem to have none."""
        if name not in self._known:
            with Netlink(NETLINK_ROUTE) as link:
                self._known[name] = tuple(interface_addresses(link, name))
        return self._known[name]

    def stamps(self) -> list[str]:
        """A line for each interface that was asked for, with its addresses."""
        return [format_stamp(name, found) for name, found in self._known.items()]


def format_stamp(interface: str, addresses: Sequence[Address]) -> str:
    """The line about an interface among the stamps of a compiled configuration."""
    return " ".join((_MARK + quote(interface), *map(str, addresses)))


def parse_stamps(taken: str) -> dict[str, str]:
    """Each interface of a compiled configuration, with its line among the stamps."""
    lines = [line for line in taken.split("\n") if line.startswith(_MARK)]
    return {unquote(line[1:].partition(" ")[0]): line for line in lines}


class HostIps:
    """Reads host_ip. `interfaces` gives the addresses of an interface. With
    `is_any_known`, a name that no file has is taken like an interface without one."""

    def __init__(
        self,
        interfaces: Callable[[str], tuple[Address, ...]],
        is_any_known: bool = False,
    ) -> None:
        self._interfaces = interfaces
        self._is_any_known = is_any_known
        self._named: dict[str, tuple[Address, ...]] = {}
        self._places: dict[str, Place] = {}

    @property
    def names(self) -> dict[str, tuple[Address, ...]]:
        """The names of addresses, and what they stand for."""
        return self._named

    def read_names(self, read: Values, node: Node) -> None:
        """Read one file's `addresses:`. The names hold for all files."""
        if not isinstance(node, Pairs):
            what = f"addresses: is {kind_of(node)}; write {{public: 203.0.113.5}}"
            read.wrong(node.place, what)
            return
        for key, value in node.nodes:
            if key.value in self._places:
                at = self._places[key.value]
                read.wrong(key.place, f"{show(key.value)} stands in {at} already")
                continue
            self._places[key.value] = key.place
            self._named[key.value] = read.one_a_family(value, parse_host_ip)

    def read(
        self, read: Values, parts: dict[str, Node], above: tuple[HostIp, ...]
    ) -> tuple[HostIp, ...]:
        """The value of host_ip in `parts`; without the key, `above`."""
        node = parts.get("host_ip")
        if node is None:
            return above
        nodes = listed(node)
        if not nodes:
            read.wrong(node.place, "an empty list; leave the key out")
        found = [one for each in nodes for one in self._one(read, each)]
        unique: dict[object, HostIp] = {}
        for one in sorted(found, key=lambda one: one.is_by_interface):
            unique.setdefault(one.address or one.source, one)
        return tuple(unique.values())

    def _one(self, read: Values, node: Node) -> list[HostIp]:
        if isinstance(node, Pairs):
            return self._indirect(read, node)
        if isinstance(node, Text) and node.value in self._named:
            read.wrong(node.place, f"write {{name: {show(node.value)}}}")
            return []
        address = read.scalar(node, parse_host_ip)
        return [] if address is None else [HostIp(address)]

    def _indirect(self, read: Values, node: Pairs) -> list[HostIp]:
        """The addresses by a name or by an interface."""
        before = len(read.problems)
        parts = read.mapping(node, "host_ip", HOST_IP) or {}
        given = {key: read.scalar(one, _PARSERS[key]) for key, one in parts.items()}
        if len(read.problems) > before:
            return []
        if len(given) != 1:
            read.wrong(node.place, f"host_ip is {_FORMS}")
            return []
        ((key, word),) = given.items()
        name = word or ""
        if key == "interface":
            found = self._addresses(read, name, parts[key].place)
            itself = HostIp(None, name, True, is_absent=not found)
            return [*(HostIp(one, name, True) for one in found), itself]
        if name in self._named:
            return [HostIp(one, name) for one in self._named[name]]
        if self._is_any_known:
            return [HostIp(None, name, True, is_absent=True)]
        near = get_close_matches(name, self._named, 1)
        cure = f"did you mean {show(near[0])}" if near else "it stands below addresses:"
        read.wrong(parts["name"].place, f"no address is called {show(name)}; {cure}")
        return []

    def _addresses(self, read: Values, interface: str, at: Place) -> Sequence[Address]:
        """The interface's addresses; a kernel that does not say is a problem which may
        pass."""
        try:
            return self._interfaces(interface)
        except OSError as error:
            why = error.strerror or error
            what = f"the kernel does not say the addresses of {show(interface)}: {why}"
            read.problems.append(Problem(at, what, is_passing=True))
            return ()
