"""What libvirt and the kernel say of networks and addresses, without asking libvirtd.

libvirt holds a guest while its hook runs, so the hook path reads what libvirt leaves
on disk: the status files of networks and the leases of their dnsmasq.
"""

import posix
import struct
import time
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from . import files
from .errors import VfwError
from .libvirtxml import canonical, parse_networks
from .listeners import Listener, Range, list_listeners
from .model import Network
from .netlink import ROUTE, SOCK_DIAG, Netlink, attribute, attributes, message, named

STATUS_DIRECTORIES = ("/run/libvirt/network", "/var/lib/libvirt/network")
LEASES = "/var/lib/libvirt/dnsmasq"
# Where dnsmasq is built to keep its leases, which libvirt left at that before 0.8.8 or
# so: as its authors have it, and in Fedora.
DNSMASQS = ("/var/lib/misc", "/var/lib/dnsmasq")
_GETLINK, _GETADDRESS, _GETROUTE, _NEWNEIGH, _GETNEIGH = 18, 22, 26, 28, 30
_REPLACE, _PROBE = 0x100, 0x10
_LINK = bytes(16)
_LOCAL = 2
_ENTRY_ITSELF = 0x2000  # the route that matches, not what comes of it
# Addresses that are for tests and nobody's: a default route alone leads there.
_FAR_AWAY = {AF_INET: "198.18.0.1", AF_INET6: "2001:2::1"}
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_CONFIRMED = 0x02 | 0x80
_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent


class Inventory:
    """Networks, leases and neighbours of this host; a network is read once, until
    `look_anew`.

    `noted` is the directory where network hooks leave what libvirt told them: libvirt
    writes its own status file only after its hook has ended.
    """

    def __init__(self, noted: str, root: str = "") -> None:
        self._noted = noted
        self._directories = [root + directory for directory in STATUS_DIRECTORIES]
        self._leases = root + LEASES
        self._dnsmasqs = [f"{root}{directory}/dnsmasq.leases" for directory in DNSMASQS]
        self._networks: dict[str, Network | None] = {}
        self._route: Netlink | None = None
        self._diag: Netlink | None = None

    def look_anew(self) -> None:
        """Something may have changed: read networks again."""
        self._networks.clear()

    def network(self, name: str) -> "Network | None":
        """The network of this name, if it is active."""
        if name not in self._networks:
            self._networks[name] = self._read_network(name)
        return self._networks[name]

    def network_of(self, bridge: str) -> "Network | None":
        """The active network whose bridge this is."""
        for name in self.names():
            network = self.network(name)
            if network and network.bridge == bridge:
                return network
        return None

    def names(self) -> list[str]:
        """The names of all networks that are or were active."""
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
        """Whether any network is active."""
        return any(self.network(name) for name in self.names())

    def leases(self, bridge: str, mac: str) -> list[tuple[int, str]]:
        """Expiry (seconds since 1970) and address of the MAC's unexpired leases."""
        return _valid(self._status_leases(bridge, mac)) or _valid(
            self._old_leases(bridge, mac)
        )

    def _status_leases(self, bridge: str, mac: str) -> list[tuple[int, str]]:
        """The MAC's leases in the file of libvirt's own helper."""
        data = files.read(f"{self._leases}/{bridge}.status", files.FOLLOW)
        if not data or mac.encode() not in data.lower():
            return []
        import json  # 5 ms, and most guests have a reservation

        try:
            leases = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise VfwError(f"{self._leases}/{bridge}.status: {error}") from error
        found = []
        for lease in leases if isinstance(leases, list) else []:
            if isinstance(lease, dict):
                expiry, address = lease.get("expiry-time"), lease.get("ip-address")
                whose = str(lease.get("mac-address", "")).lower()
                if whose == mac and isinstance(expiry, int):
                    found.append((expiry, str(address)))
        return found

    def _old_leases(self, bridge: str, mac: str) -> list[tuple[int, str]]:
        """The MAC's leases in dnsmasq's own file: libvirt has one since 1.2.6, and at
        first it did not hear of renewals."""
        network = self.network_of(bridge)
        if network is None:
            return []
        from .dnsmasq import parse_leases  # hosts from before 1.2.6 alone need it

        found = []
        for path in (f"{self._leases}/{network.name}.leases", *self._dnsmasqs):
            leases = parse_leases(files.read(path, files.FOLLOW) or b"")
            found += [(e, address) for e, whose, address in leases if whose == mac]
        return found

    def neighbours(self, bridge: str, mac: str) -> list[str]:
        """The addresses that the neighbour table of the bridge has for the MAC, those
        confirmed of late first."""
        index = self._index(bridge)
        found = []
        asked = message(_GETNEIGH, _NEIGHBOUR.pack(0, 0, 0, 0, 0))
        for _, answer in self.route.dump(asked) if index else ():
            family, where, state, _, _ = _NEIGHBOUR.unpack_from(answer)
            if where == index and state & _USABLE and family in (AF_INET, AF_INET6):
                about = attributes(answer[_NEIGHBOUR.size :])
                if about.get(2, b"").hex(":") == mac and 1 in about:
                    is_old = not state & _CONFIRMED
                    found.append((is_old, inet_ntop(family, about[1])))
        return [address for _, address in sorted(found)]

    def neighbour_at(self, bridge: str, address: str) -> str:
        """The MAC that the neighbour table of the bridge has for the address."""
        index = self._index(bridge)
        family = AF_INET6 if ":" in address else AF_INET
        asked = _NEIGHBOUR.pack(family, index, 0, 0, 0)
        asked += attribute(1, inet_pton(family, address))
        try:
            answer = self.route.ask(message(_GETNEIGH, asked)) if index else b""
        except OSError:
            return ""
        if not answer or not _NEIGHBOUR.unpack_from(answer)[2] & _USABLE:
            return ""
        return attributes(answer[_NEIGHBOUR.size :]).get(2, b"").hex(":")

    def probe(self, bridge: str, address: str) -> None:
        """Have the kernel ask whether the neighbour is still at the address; if it is
        not, that is news a few seconds later."""
        family = AF_INET6 if ":" in address else AF_INET
        head = _NEIGHBOUR.pack(family, self._index(bridge), _PROBE, 0, 0)
        asked = head + attribute(1, inet_pton(family, address))
        try:
            self.route.request(message(_NEWNEIGH, asked, _REPLACE))
        except OSError:
            pass  # it is not in the table, so there is nothing to ask

    def _index(self, interface: str) -> int:
        """The kernel's number of the interface; 0 where there is none."""
        try:
            answer = self.route.ask(message(_GETLINK, _LINK + named(3, interface)))
        except OSError:
            return 0
        index: int = struct.unpack_from("=i", answer, 4)[0]
        return index

    def is_local(self, address: str) -> bool:
        """Whether packets for the address are for this host, loopback left out."""
        if address.startswith("127.") or address == "::1":
            return False
        family = AF_INET6 if ":" in address else AF_INET
        packed = inet_pton(family, address)
        asked = bytes((family, len(packed) * 8)) + bytes(10) + attribute(1, packed)
        try:
            return self.route.ask(message(_GETROUTE, asked))[7] == _LOCAL
        except OSError:
            return False

    def is_default_source(self, address: str) -> bool:
        """Whether what leaves by a default route has this source address."""
        family = AF_INET6 if ":" in address else AF_INET
        own = inet_pton(family, address)
        far = attribute(1, inet_pton(family, _FAR_AWAY[family]))
        head = bytes((family, len(own) * 8)) + bytes(6)
        for index in (0, *self._holders(family, own)):
            by = attribute(4, struct.pack("=i", index)) if index else b""
            try:
                entry = struct.pack("=I", _ENTRY_ITSELF)
                found = self.route.ask(message(_GETROUTE, head + entry + far + by))
                if found[1] == 0:
                    found = self.route.ask(
                        message(_GETROUTE, head + bytes(4) + far + by)
                    )
                    if attributes(found[12:]).get(7) == own:
                        return True
            except OSError:
                continue  # no default route, or none by this interface
        return False

    def _holders(self, family: int, address: bytes) -> list[int]:
        """The interfaces that have the address."""
        found = []
        for _, answer in self.route.dump(
            message(_GETADDRESS, bytes((family,)) + bytes(7))
        ):
            about = attributes(answer[8:])
            if about.get(2, about.get(1)) == address:
                found.append(struct.unpack_from("=I", answer, 4)[0])
        return found

    def listeners(self, protocol: str, ranges: list[Range]) -> list[Listener]:
        """Who listens on these ports of the host; nobody, where the kernel does not
        say: that must keep no guest from its forwards."""
        try:
            return list_listeners(self.diag, protocol, ranges)
        except OSError:
            return []

    def bridges(self) -> list[int]:
        """The kernel's numbers of the bridges that libvirt has made."""
        return [self._index(network.bridge) for network in self._own()]

    def bridge_addresses(self, device: int = 0) -> list[str]:
        """The host's own addresses on them, or on the one of this number."""
        return [
            address
            for network in self._own()
            if not device or self._index(network.bridge) == device
            for address, _ in network.subnets
        ]

    def _own(self) -> list[Network]:
        networks = [self.network(name) for name in self.names()]
        return [network for network in networks if network and network.is_ours]

    @property
    def diag(self) -> Netlink:
        """A socket to the kernel's list of sockets."""
        if self._diag is None:
            self._diag = Netlink(SOCK_DIAG)
        return self._diag

    @property
    def route(self) -> Netlink:
        """A socket to the kernel's addresses, links and routes."""
        if self._route is None:
            self._route = Netlink(ROUTE)
        return self._route

    def _read_network(self, name: str) -> "Network | None":
        paths = [f"{d}/{name}.xml" for d in self._directories]
        paths.append(f"{self._noted}/{files.file_name(name)}")
        newest = max(paths, key=_changed)
        data = files.read(newest)
        found = parse_networks(data) if data else []
        return found[0] if found else None


def _valid(leases: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those that have not expired, the latest first; 0 is never."""
    now = time.time()
    found = [(e or 1 << 62, canonical(a)) for e, a in leases if e == 0 or e > now]
    return sorted([lease for lease in found if lease[1]], reverse=True)


def _changed(path: str) -> int:
    try:
        return posix.stat(path).st_mtime_ns
    except OSError:
        return 0
