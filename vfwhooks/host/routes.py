"""The host's own addresses and its default routes, asked of the kernel by rtnetlink."""

import errno
import struct
from _socket import AF_INET, AF_INET6, if_indextoname, inet_ntop, inet_pton

from .netlink import Netlink, attribute, attributes, message, named

_GETLINK, _GETADDRESS, _GETROUTE = 18, 22, 26
_LOCAL = 2
# What the kernel says of no route, of rules and routes that forbid it, of an address or
# an interface that is not there, and of a family that it does not have.
_NO_WAY = (
    *(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.EXDEV),
    *(errno.ENODEV, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EOPNOTSUPP),
)
_NAME = 3
_ENTRY_ITSELF = 0x2000  # the route that matches, not what comes of it
_AND_ITS_TABLE = 0x1000
_SOURCE, _BY, _TO, _TABLE, _MARK = 2, 3, 4, 15, 16
# Addresses that are for tests and nobody's: a default route alone leads there.
_FAR_AWAY = {AF_INET: "198.18.0.1", AF_INET6: "2001:2::1"}


def covers_far_away(family: int, bits: int, prefix: bytes) -> bool:
    """Whether a route to this prefix may be the one that is asked for here."""
    if family not in _FAR_AWAY:
        return False
    far = inet_pton(family, _FAR_AWAY[family])
    rest = len(far) * 8 - bits
    mine, its = (int.from_bytes(one or bytes(1), "big") for one in (far, prefix))
    return mine >> rest == its >> rest


class Routes:
    """What the kernel says of them; who has which address is asked once."""

    def __init__(self, link: Netlink) -> None:
        self._link = link
        self._holders: dict[int, dict[bytes, list[int]]] = {}

    def is_local(self, address: str) -> bool:
        """Whether packets for the address are for this host, loopback left out."""
        if address.startswith("127.") or address == "::1":
            return False
        family = AF_INET6 if ":" in address else AF_INET
        packed = inet_pton(family, address)
        asked = bytes((family, len(packed) * 8)) + bytes(10) + attribute(1, packed)
        try:
            return self._link.ask(message(_GETROUTE, asked))[7] == _LOCAL
        except OSError:
            return False

    def is_default_source(self, address: str) -> bool:
        """Whether what leaves by a default route has this source address."""
        family = AF_INET6 if ":" in address else AF_INET
        own = inet_pton(family, address)
        far = attribute(1, inet_pton(family, _FAR_AWAY[family]))
        head = bytes((family, len(own) * 8)) + bytes(6)
        for index in (0, *self.holders(address)):
            by = attribute(4, struct.pack("=i", index)) if index else b""
            try:
                entry = struct.pack("=I", _ENTRY_ITSELF)
                found = self._link.ask(message(_GETROUTE, head + entry + far + by))
                if found[1] == 0:
                    found = self._link.ask(
                        message(_GETROUTE, head + bytes(4) + far + by)
                    )
                    if attributes(found[12:]).get(7) == own:
                        return True
            except OSError:
                continue  # no default route, or none by this interface
        return False

    def way_out(
        self, source: str, by: int = 0, mark: int = 0
    ) -> "tuple[int, int] | None":
        """The kernel's number of the interface by which what has this source address
        leaves for far away, and of the table that says so; it is the host's own, or has
        come in by the interface with the number `by`, and has this mark. None where it
        goes nowhere. Raises OSError where the kernel could not be asked."""
        family = AF_INET6 if ":" in source else AF_INET
        own = inet_pton(family, source)
        bits = len(own) * 8
        asked = (
            bytes((family, bits, bits)) + bytes(5) + struct.pack("=I", _AND_ITS_TABLE)
        )
        asked += attribute(1, inet_pton(family, _FAR_AWAY[family]))
        asked += attribute(_SOURCE, own)
        if by:
            asked += attribute(_BY, struct.pack("=i", by))
        if mark:
            asked += attribute(_MARK, struct.pack("=I", mark))
        try:
            about = attributes(self._link.ask(message(_GETROUTE, asked))[12:])
        except OSError as error:
            if error.errno not in _NO_WAY:
                raise
            return None
        to, table = (about.get(kind, bytes(4)) for kind in (_TO, _TABLE))
        found = struct.unpack("=I", to)[0], struct.unpack("=I", table)[0]
        return found if found[0] else None

    def holders(self, address: str) -> list[int]:
        """The kernel's numbers of the interfaces that have the address."""
        family = AF_INET6 if ":" in address else AF_INET
        if family not in self._holders:
            self._holders[family] = self._read_holders(family)
        return self._holders[family].get(inet_pton(family, address), [])

    def link(self, index: int = 0, name: str = "") -> tuple[int, str]:
        """The kernel's number of an interface and its name, by either of them; 0 and ''
        where it has gone. It is asked where the routes are from: a dry run is in
        another place. Raises OSError where the kernel could not be asked."""
        try:
            asked = struct.pack("=BxHiII", 0, 0, index, 0, 0)
            asked += named(_NAME, name) if name else b""
            answer = self._link.ask(message(_GETLINK, asked))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return 0, ""
        found = attributes(answer[16:]).get(_NAME, b"").rstrip(b"\0").decode()
        return struct.unpack_from("=i", answer, 4)[0], found

    def device_with(self, address: str) -> str:
        """The first interface that has the address, up or down; '' for none."""
        for index in self.holders(address):
            try:
                return if_indextoname(index)
            except OSError:
                continue  # it has just gone
        return ""

    def own_addresses(self, family: str) -> list[str]:
        """The host's addresses ("4", "6") that are valid beyond their link."""
        number = AF_INET6 if family == "6" else AF_INET
        found = []
        for _, answer in self._link.dump(
            message(_GETADDRESS, bytes((number,)) + bytes(7))
        ):
            about = attributes(answer[8:])
            if answer[3] == 0:  # the scope: universe
                found.append(inet_ntop(number, about.get(2, about.get(1, b""))))
        return found

    def _read_holders(self, family: int) -> dict[bytes, list[int]]:
        """The interfaces that have an address, by that."""
        found: dict[bytes, list[int]] = {}
        for _, answer in self._link.dump(
            message(_GETADDRESS, bytes((family,)) + bytes(7))
        ):
            about = attributes(answer[8:])
            address = about.get(2, about.get(1, b""))
            index = struct.unpack_from("=I", answer, 4)[0]
            found.setdefault(address, []).append(index)
        return found
