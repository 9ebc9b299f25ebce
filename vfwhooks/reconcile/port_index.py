"""An index of published ports: a host may have thousands. Pure.

The owner of a port is found by it: by conntrack_cleanup and `status` for connections,
by port_conflicts for listeners, and by foreign_conflicts for foreign rules.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..values.entries import Dnat, Entry, Reject
from ..values.protocols import PROTOCOL_NUMBERS, Protocol
from ..values.published import Family, Published

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..host.conntrack import Tuple

_IPV6_SIZE = 16  # bytes


class Destination:
    """Published ports and the target of an entry, in the form in which the kernel gives
    addresses and protocols."""

    __slots__ = ("address", "family", "first", "host", "last", "protocol", "target")

    def __init__(self, published: Published, dnat: Dnat | None = None) -> None:
        self.family = published.family
        self.host = published.host.packed if published.host else b""
        self.protocol = PROTOCOL_NUMBERS.get(published.protocol, 0)  # 0: every protocol
        self.first, self.last = published.first, published.last
        self.address = dnat.address.packed if dnat else b""
        self.target = dnat.port if dnat else 0

    def has(self, family: Family, host: bytes, protocol: int, port: int) -> bool:
        """Whether the port of the address is one of these."""
        return (
            self.protocol in (0, protocol)
            and self.first <= port <= self.last
            and self.host in (b"", host)
            and self.family == family
        )


class PortIndex:
    """All published ports."""

    def __init__(self, published: Iterable[Destination]) -> None:
        self._ports: dict[int, list[Destination]] = {}
        self._hosts: dict[bytes, list[Destination]] = {}
        self._ranges: list[Destination] = []
        for one in published:
            if one.first == one.last:
                self._ports.setdefault(one.first, []).append(one)
            elif one.host:
                self._hosts.setdefault(one.host, []).append(one)
            else:
                self._ranges.append(one)

    def find(
        self, family: Family, host: bytes, protocol: int, port: int
    ) -> list[Destination]:
        """The destinations of a port: first those on one address, then its whole
        address, then those on every address. For `host` b"" only the last."""
        some = self._ports.get(port, ())
        whole = self._hosts.get(host, ())
        found = [
            one
            for one in (*some, *whole, *self._ranges)
            if one.has(family, host, protocol, port)
        ]
        found.sort(key=lambda one: (not one.host, not one.protocol))
        return found

    def covers(self, wanted: Published, protocol: str, port: int) -> bool:
        """Whether an entry publishes the port of this protocol where it is wanted."""
        host = wanted.host.packed if wanted.host else b""
        return bool(
            self.find(wanted.family, host, PROTOCOL_NUMBERS.get(protocol, 0), port)
        )


def index(published: Iterable[Published]) -> PortIndex:
    """The index of these ports, without targets."""
    return PortIndex(map(Destination, published))


def led(entries: Iterable[Entry]) -> list[Destination]:
    """The destinations of the DNAT entries."""
    dnats = (entry for entry in entries if isinstance(entry, Dnat))
    return [Destination(dnat.published, dnat) for dnat in dnats]


def find_publishing(ports: PortIndex, original: Tuple) -> list[Destination]:
    """The destinations that publish the connection's port; the first is in force."""
    host = original.destination
    family = Family.IPV6 if len(host) == _IPV6_SIZE else Family.IPV4
    return ports.find(family, host, original.protocol, original.port)


def has_led(one: Destination, original: Tuple, reply: Tuple) -> bool:
    """Whether this entry has forwarded the connection, which is one to its published
    port."""
    target = one.target + original.port - one.first
    return (
        original.destination != reply.source == one.address
        and reply.source_port == target
    )


def overruling(added: Iterable[Entry]) -> list[Dnat | Reject]:
    """The added entries on one address whose UDP (of a whole address: all but TCP) an
    entry on every address may have forwarded so far."""
    return [
        entry
        for entry in added
        if isinstance(entry, (Dnat, Reject))
        and entry.published.host is not None
        and entry.published.protocol in (Protocol.UDP, Protocol.ALL)
    ]
