"""The host's own addresses and default routes: the kernel gives them by rtnetlink."""

from __future__ import annotations

import errno
import struct
from _socket import AF_INET, AF_INET6, if_indextoname
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ..values.published import Address, Subnet, parse_subnet, unpack_address
from .netlink import FAMILIES, Netlink, attribute, attributes, message, named, text_of

_RTM_GETLINK, _RTM_GETADDR, _RTM_GETROUTE = 18, 22, 26
_RTN_LOCAL = 2
# The kernel's errors for: no route; a rule or a route that forbids it; an unknown
# address or interface; a family that the kernel does not have.
_NO_WAY = (
    *(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.EXDEV),
    *(errno.ENODEV, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EOPNOTSUPP),
)
_IFLA_IFNAME = 3
_RTM_F_FIB_MATCH = 0x2000  # the answer is the matching route, not the lookup's result
_RTM_F_LOOKUP_TABLE = 0x1000  # the answer names the table
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_PREFSRC = 1, 2, 3, 4, 7
_RTA_TABLE, _RTA_MARK = 15, 16
# These addresses are reserved for tests: only a default route leads there.
_FAR_AWAY: dict[int, Address] = {
    AF_INET: IPv4Address("198.18.0.1"),
    AF_INET6: IPv6Address("2001:2::1"),
}
_LINK = struct.Struct("=BxHiII")
_OF_ADDRESS = struct.Struct("=BBBBI")
# On a point-to-point link: the peer's address, and ours.
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_LOOPBACK_IFINDEX = 1
_RT_SCOPE_UNIVERSE = 0  # the scope of an address that is valid beyond its link


def find_link(link: Netlink, index: int, name: str) -> tuple[int, dict[int, bytes]]:
    """The index and the attributes of an interface, found by its index or its name; 0
    and none if it has gone. Raises OSError if the kernel gives no answer."""
    asked = _LINK.pack(0, 0, index, 0, 0) + (named(_IFLA_IFNAME, name) if name else b"")
    try:
        answer = link.ask(message(_RTM_GETLINK, asked))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return 0, {}
    return _LINK.unpack_from(answer)[2], attributes(answer[_LINK.size :])


def covers_far_away(family: int, bits: int, prefix: bytes) -> bool:
    """Whether a route to this prefix may decide the lookups of this module."""
    if family not in _FAR_AWAY:
        return False
    far = _FAR_AWAY[family].packed
    rest = len(far) * 8 - bits
    mine, its = (int.from_bytes(one or bytes(1), "big") for one in (far, prefix))
    return mine >> rest == its >> rest


@dataclass(frozen=True)
class OwnAddress:
    """An address of the host: the interface index, the address, the subnet (`bits` of
    the address `of`), and whether the address is valid beyond its link."""

    interface: int
    address: Address
    bits: int
    of: Address
    is_global: bool

    @property
    def subnet(self) -> Subnet:
        return parse_subnet(f"{self.of}/{self.bits}")


def list_addresses(link: Netlink, family: int = 0) -> Iterator[OwnAddress]:
    """The host's own addresses, of one family (AF_INET, AF_INET6) or both (0)."""
    asked = message(_RTM_GETADDR, _OF_ADDRESS.pack(family, 0, 0, 0, 0))
    for _, answer in link.dump(asked):
        its, bits, _, scope, interface = _OF_ADDRESS.unpack_from(answer)
        if its in _FAR_AWAY:
            about = attributes(answer[_OF_ADDRESS.size :])
            peer = about.get(_IFA_ADDRESS, about.get(_IFA_LOCAL, b""))
            own, of = map(unpack_address, (about.get(_IFA_LOCAL, peer), peer))
            yield OwnAddress(interface, own, bits, of, scope == _RT_SCOPE_UNIVERSE)


def interface_addresses(link: Netlink, name: str) -> list[Address]:
    """The addresses of an interface that are valid beyond its link; none if there is no
    such interface. Raises OSError if the kernel gives no answer."""
    index = Routes(link).link(name=name)[0]
    found = [one for one in list_addresses(link) if index and one.interface == index]
    return [one.address for one in found if one.is_global]


class Routes:
    """Lookups in the kernel's routes; the list of local addresses is read once."""

    def __init__(self, link: Netlink) -> None:
        self._link = link
        self._holders: dict[int, dict[Address, list[int]]] = {}
        self._first: dict[int, set[Address]] = {}

    def is_local(self, address: Address) -> bool:
        """Whether packets for the address are for this host, loopback left out."""
        if address.is_loopback:
            return False
        family = FAMILIES[address.version]
        asked = bytes((family, address.max_prefixlen)) + bytes(10)
        asked += attribute(_RTA_DST, address.packed)
        try:
            return self._link.ask(message(_RTM_GETROUTE, asked))[7] == _RTN_LOCAL
        except OSError:
            return False

    def is_default_source(self, address: Address) -> bool:
        """Whether packets that leave by a default route have this source address."""
        family = FAMILIES[address.version]
        far = attribute(_RTA_DST, _FAR_AWAY[family].packed)
        head = bytes((family, address.max_prefixlen)) + bytes(6)
        for index in (0, *self.holders(address)):
            by = attribute(_RTA_OIF, struct.pack("=i", index)) if index else b""
            try:
                entry = struct.pack("=I", _RTM_F_FIB_MATCH)
                found = self._link.ask(message(_RTM_GETROUTE, head + entry + far + by))
                if found[1] == 0:
                    found = self._link.ask(
                        message(_RTM_GETROUTE, head + bytes(4) + far + by)
                    )
                    if attributes(found[12:]).get(_RTA_PREFSRC) == address.packed:
                        return True
            except OSError:
                continue  # no default route, or none by this interface
        return False

    def leads_far_away(self, version: int) -> bool:
        """Whether a route of IPv4 or IPv6 leads far away, as a default route does."""
        far = _FAR_AWAY[FAMILIES[version]]
        head = bytes((FAMILIES[version], far.max_prefixlen)) + bytes(10)
        try:
            to = attribute(_RTA_DST, far.packed)
            self._link.ask(message(_RTM_GETROUTE, head + to))
        except OSError:
            return False
        return True

    def is_first(self, address: Address) -> bool:
        """Whether the address is the first of an interface, loopback left out: a
        default route by this interface would have it as its source."""
        family = FAMILIES[address.version]
        if family not in self._first:
            found: dict[int, Address] = {}
            for one in list_addresses(self._link, family):
                is_newer = family == AF_INET and one.interface in found
                if one.is_global and not is_newer:  # IPv6 lists the newest first
                    found[one.interface] = one.address
            found.pop(_LOOPBACK_IFINDEX, None)
            self._first[family] = set(found.values())
        return address in self._first[family]

    def route_from(
        self, source: Address, by: int = 0, mark: int = 0
    ) -> tuple[int, int] | None:
        """The indexes of the interface by which packets with this source address leave
        for far away, and of the table that decides so. The packets have this mark, and
        come from the host itself, or from the interface with index `by`. None if no
        route matches. Raises OSError if the kernel gives no answer."""
        family, bits = FAMILIES[source.version], source.max_prefixlen
        asked = bytes((family, bits, bits)) + bytes(5)
        asked += struct.pack("=I", _RTM_F_LOOKUP_TABLE)
        asked += attribute(_RTA_DST, _FAR_AWAY[family].packed)
        asked += attribute(_RTA_SRC, source.packed)
        if by:
            asked += attribute(_RTA_IIF, struct.pack("=i", by))
        if mark:
            asked += attribute(_RTA_MARK, struct.pack("=I", mark))
        try:
            about = attributes(self._link.ask(message(_RTM_GETROUTE, asked))[12:])
        except OSError as error:
            if error.errno not in _NO_WAY:
                raise
            return None
        to, table = (about.get(kind, bytes(4)) for kind in (_RTA_OIF, _RTA_TABLE))
        found = struct.unpack("=I", to)[0], struct.unpack("=I", table)[0]
        return found if found[0] else None

    def holders(self, address: Address) -> list[int]:
        """The indexes of the interfaces that have the address."""
        family = FAMILIES[address.version]
        if family not in self._holders:
            holders: dict[Address, list[int]] = {}
            for one in list_addresses(self._link, family):
                holders.setdefault(one.address, []).append(one.interface)
            self._holders[family] = holders
        return self._holders[family].get(address, [])

    def link(self, index: int = 0, name: str = "") -> tuple[int, str]:
        """The index and the name of an interface, found by either of them; 0 and '' if
        it has gone. The routes' own socket asks: a dry run is in another namespace.
        Raises OSError if the kernel gives no answer."""
        number, about = find_link(self._link, index, name)
        return number, text_of(about.get(_IFLA_IFNAME, b""))

    def device_with(self, address: Address) -> str:
        """The name of the first interface that has the address, up or down; '' for
        none."""
        for index in self.holders(address):
            try:
                return if_indextoname(index)
            except OSError:
                continue  # the interface has just gone
        return ""

    def own_addresses(self, family: str) -> list[Address]:
        """The host's addresses of a family ("4", "6") that are valid beyond a link."""
        found = list_addresses(self._link, FAMILIES[int(family)])
        return [one.address for one in found if one.is_global]
