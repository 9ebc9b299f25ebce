"""Networks, leases and neighbours, as files of libvirt and the kernel's tables have
them.

libvirtd is never asked: libvirtd holds a guest while the guest's hook runs. So the hook
path reads libvirt's files: the status files of networks and the leases of dnsmasq.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

from ..host.listeners import Listener, Range, list_listeners
from ..host.neighbours import (
    Neighbour,
    is_silent,
    list_neighbours,
    neighbour_at,
    probe,
)
from ..host.netlink import NETLINK_ROUTE, NETLINK_SOCK_DIAG, Netlink
from ..store import files
from ..values.guests import Network, hosts_own, own_bridge
from ..values.published import Address
from .status_directories import NETWORKS, OLD_NETWORKS
from .valid_leases import Leases, by_mac, find_valid
from .xml import parse_networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..host.routes import Routes
    from ..store.foreign_ports import ForeignPorts

LEASES = "/var/lib/libvirt/dnsmasq"
# dnsmasq's built-in lease directories, upstream's and Fedora's: of a dnsmasq that the
# host runs itself. libvirt before 0.8.8 or so did not set another one.
DNSMASQS = ("/var/lib/misc", "/var/lib/dnsmasq")
_FEW = 16


class Inventory:
    """Networks, leases and neighbours of this host. Data that many guests need is read
    once, until `look_anew`.

    `noted` is the directory where network hooks leave the XML from libvirt: libvirt
    writes its own status file only after the hook has ended.
    """

    _named: Sequence[str] = ()
    _silent: Collection[Address] = ()

    def __init__(self, noted: str, root: str = "") -> None:
        self._noted = noted
        self._taken_path = noted.rpartition("/")[0] + "/taken"
        self._directories = [root + NETWORKS, root + OLD_NETWORKS]
        self._leases = root + LEASES
        self._dnsmasqs = [f"{root}{directory}/dnsmasq.leases" for directory in DNSMASQS]
        self._route: Netlink | None = None
        self._diag: Netlink | None = None
        self.look_anew()

    def look_anew(self) -> None:
        """Forget all data, since something may have changed; later calls read again."""
        self._names: list[str] | None = None
        self._networks: dict[str, Network | None] = {}
        self._status: dict[str, tuple[bytes, bytes]] = {}
        self._leased: dict[str, Leases] = {}
        self._neighbours: dict[tuple[int, str], list[Neighbour]] | None = None
        self._bridges: dict[int, list[Address]] | None = None
        self._own: set[Address] | None = None
        self._routes: Routes | None = None
        self._taken: ForeignPorts | None = None
        self._is_taken_known = False

    def network(self, name: str) -> Network | None:
        """The active network of this name; None if it is not active."""
        if name not in self._networks:
            self._networks[name] = self._read_network(name)
        return self._networks[name]

    def network_of(self, bridge: str) -> Network | None:
        """libvirt's active network with this bridge."""
        for one in map(self.network, self.names()):
            if one and one.bridge == bridge and not one.is_hosts_own:
                return one
        return None

    def know_bridges(self, named: Sequence[str]) -> None:
        """Set the host's own bridges that forwards.yaml names. Guests on these bridges
        get forwards like guests on libvirt's networks."""
        self._named, self._names = named, None

    def names(self) -> list[str]:
        """The names of all networks that are or were active, and of the bridges in
        forwards.yaml that belong to no network of libvirt."""
        if self._names is None:
            found = self._read_names()
            known = map(self.network, found if self._named else ())
            made = {network.bridge for network in known if network and network.is_ours}
            own = [hosts_own(one) for one in self._named if one not in made]
            self._names = found + own
        return self._names

    def _read_names(self) -> list[str]:
        found = set()
        for name in files.names(self._noted):
            try:
                found.add(files.unquote(name))
            except ValueError:
                continue  # no release of ours has named it
        for directory in self._directories:
            found.update(n[:-4] for n in files.names(directory) if n.endswith(".xml"))
        return sorted(found)

    def has_networks(self) -> bool:
        """Whether any network of libvirt is active."""
        known = map(self.network, self.names())
        return any(network and not network.is_hosts_own for network in known)

    def leases(self, bridge: str, mac: str) -> list[tuple[int, Address]]:
        """Expiry (seconds since 1970) and address of the MAC's unexpired leases."""
        return find_valid(self._status_leases(bridge, mac)) or find_valid(
            self._old_leases(bridge, mac)
        )

    def _status_leases(self, bridge: str, mac: str) -> list[tuple[int, str]]:
        """The MAC's leases in the file of libvirt's own helper."""
        path = f"{self._leases}/{bridge}.status"
        if path not in self._status:
            data = files.read(path, files.FOLLOW) or b""
            self._status[path] = data, data.lower()
        data, lower = self._status[path]
        if mac.encode() not in lower:
            return []
        if path not in self._leased:
            from .dnsmasq_leases import parse_status  # most guests have a reservation

            self._leased[path] = by_mac(parse_status(path, data))
        return self._leased[path].get(mac, [])

    def _old_leases(self, bridge: str, mac: str) -> list[tuple[int, str]]:
        """The MAC's leases in dnsmasq's own file, which a bridge of the host's own has
        alone. libvirt has a file of its own since 1.2.6, but at first it did not learn
        of renewals."""
        network = self.network_of(bridge)
        if network is None and bridge not in self._named:
            return []
        from .dnsmasq_leases import parse_leases  # few hosts need it

        its = [f"{self._leases}/{network.name}.leases"] if network else []
        found: list[tuple[int, str]] = []
        for path in (*its, *self._dnsmasqs):
            if path not in self._leased:
                data = files.read(path, files.FOLLOW) or b""
                self._leased[path] = by_mac(parse_leases(data))
            found += self._leased[path].get(mac, [])
        return found

    def neighbours(self, bridge: str, mac: str) -> list[Address]:
        """The MAC's addresses in the neighbour table of the bridge; recently confirmed
        addresses come first."""
        index = self.index(bridge)
        if index and self._neighbours is None:
            self._neighbours = {}
            for one in list_neighbours(self.route):
                if one.is_usable:
                    key = one.interface, one.mac
                    self._neighbours.setdefault(key, []).append(one)
        its = (self._neighbours or {}).get((index, mac), [])
        its.sort(key=lambda one: (not one.is_confirmed, str(one.address)))
        return [one.address for one in its]

    def neighbour_at(self, bridge: str, address: Address) -> str:
        """The MAC that the neighbour table of the bridge has for the address; '' for
        none."""
        index = self.index(bridge)
        return neighbour_at(self.route, index, address) if index else ""

    def is_silent(self, bridge: str, address: Address) -> bool:
        """Whether the kernel has asked for the address on the bridge in vain."""
        index = self.index(bridge)
        if address in self._silent:
            return not self.neighbour_at(bridge, address)
        return bool(index) and is_silent(self.route, index, address)

    def know_silent(self, addresses: Collection[Address]) -> None:
        """Set the addresses of which the kernel has said that nobody answers: as long
        as packets go there, it asks anew at once, and a look finds nothing."""
        self._silent = addresses

    def probe(self, bridge: str, address: Address, mac: str = "") -> None:
        """Make the kernel ask whether the neighbour is still there."""
        probe(self.route, self.index(bridge), address, mac)

    def index(self, interface: str) -> int:
        """The kernel's number of the interface; 0 if there is none."""
        try:
            return self.routes.link(name=interface)[0]
        except OSError:
            return 0

    def is_local(self, address: Address) -> bool:
        """Whether packets for the address are for this host (loopback does not
        count)."""
        return self.routes.is_local(address)

    def device_with(self, address: Address) -> str:
        """The interface with the address, also if the interface is down; '' for
        none."""
        return self.routes.device_with(address)

    def is_default_source(self, address: Address) -> bool:
        """Whether the address is the source address of a default route."""
        return self.routes.is_default_source(address)

    def is_own(self, address: Address, known: bool | None = None) -> bool:
        """Whether the world knows the host by this address. While there is no default
        route, not even in a table for this address, it is as `known`. If nothing is
        known, the first address of an interface is the host's own."""
        if self.is_default_source(address):
            return True
        if address.is_loopback or self._has_way(address):
            return False
        return self.routes.is_first(address) if known is None else known

    def _has_way(self, address: Address) -> bool:
        """Whether a route leads far away, or a rule leads this address to one."""
        if self.routes.leads_far_away(address.version):
            return True
        try:
            return self.routes.route_from(address) is not None
        except OSError:
            return False

    @property
    def routes(self) -> Routes:
        """The host's own addresses and routes."""
        if self._routes is None:
            from ..host.routes import Routes  # a guest with a reservation needs none

            self._routes = Routes(self.route)
        return self._routes

    def listeners(self, protocol: str, ranges: list[Range]) -> list[Listener]:
        """The listeners on these ports of the host. An error of the kernel gives an
        empty list: it must not keep a guest from its forwards."""
        try:
            return list_listeners(self.diag, protocol, ranges)
        except OSError:
            return []

    @property
    def taken(self) -> ForeignPorts | None:
        """The ports that DNAT rules of others take, from the file `taken`. This module
        does not read the rules themselves."""
        if not self._is_taken_known:
            self._is_taken_known = True
            if files.exists(self._taken_path):
                from ..store.foreign_ports import load  # few hosts have any

                self._taken = load(self._taken_path)
        return self._taken

    def know_taken(self, taken: ForeignPorts | None) -> None:
        """Use these ports instead of the file `taken`, until `look_anew`."""
        self._taken, self._is_taken_known = taken, True

    def bridges(self) -> dict[int, list[Address]]:
        """The host's own addresses on the bridges of guests, by the kernel's number of
        the bridge; 0 stands for missing bridges."""
        if self._bridges is None:
            self._bridges = {}
            for network in map(self.network, self.names()):
                if network and network.is_inside(self.is_default_source):
                    own = self._bridges.setdefault(self.index(network.bridge), [])
                    own += [address for address, _ in network.subnets]
        return self._bridges

    def bridge_addresses(self) -> set[Address]:
        """The host's own addresses on all these bridges."""
        if self._own is None:
            self._own = {one for some in self.bridges().values() for one in some}
        return self._own

    def outer_addresses(self, family: str) -> list[Address]:
        """The host's own addresses of a family ("4", "6") that are on none of these."""
        inside = self.bridge_addresses()
        return [one for one in self.routes.own_addresses(family) if one not in inside]

    @property
    def diag(self) -> Netlink:
        """A socket to the kernel's list of sockets."""
        if self._diag is None:
            self._diag = Netlink(NETLINK_SOCK_DIAG)
        return self._diag

    @property
    def route(self) -> Netlink:
        """A socket to the kernel's addresses, links and routes."""
        if self._route is None:
            self._route = Netlink(NETLINK_ROUTE)
        return self._route

    def _read_network(self, name: str) -> Network | None:
        bridge = own_bridge(name)
        if bridge:
            from .host_bridges import read_bridge  # few hosts have any

            return read_bridge(bridge, self.index(bridge), self.route)
        paths = [f"{d}/{name}.xml" for d in self._directories]
        paths.append(f"{self._noted}/{files.file_name(name)}")
        newest = max(paths, key=files.changed_at)
        data = files.read(newest)
        return _parse(data) if data else None


@lru_cache(maxsize=_FEW)  # the service reads the same again and again
def _parse(data: bytes) -> "Network | None":
    found = parse_networks(data)
    return found[0] if found else None
