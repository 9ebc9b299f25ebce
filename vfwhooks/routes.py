"""The host's own addresses and its default routes, asked of the kernel by rtnetlink."""

import struct
from _socket import AF_INET, AF_INET6, if_indextoname, inet_pton

from .netlink import Netlink, attribute, attributes, message

_GETADDRESS, _GETROUTE = 22, 26
_LOCAL = 2
_ENTRY_ITSELF = 0x2000  # the route that matches, not what comes of it
# Addresses that are for tests and nobody's: a default route alone leads there.
_FAR_AWAY = {AF_INET: "198.18.0.1", AF_INET6: "2001:2::1"}


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
        for index in (0, *self._having(family, own)):
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

    def device_with(self, address: str) -> str:
        """The first interface that has the address, up or down; '' for none."""
        family = AF_INET6 if ":" in address else AF_INET
        for index in self._having(family, inet_pton(family, address)):
            try:
                return if_indextoname(index)
            except OSError:
                continue  # it has just gone
        return ""

    def _having(self, family: int, own: bytes) -> list[int]:
        """The interfaces that have the address."""
        if family not in self._holders:
            self._holders[family] = self._read_holders(family)
        return self._holders[family].get(own, [])

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
