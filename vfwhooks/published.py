"""What entries publish, found by port: a host may have thousands. Pure.

The one index for whoever asks whose a port is: for connections (see conntrack), and for
listeners and rules of others (see rivals and takers).
"""

from _socket import AF_INET, AF_INET6, inet_pton

from .elements import PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Published:
    """What one dnat or reject entry is about."""

    __slots__ = ("address", "family", "first", "host", "last", "protocol", "target")

    def __init__(self, entry: str) -> None:
        _, self.family, host, protocol, *words = entry.split(" ")
        self.host = packed(host)
        self.protocol = PROTOCOLS.get(protocol, 0)  # 0 for all of them
        self.first, self.last = int(words[0]), int(words[1])
        self.address = packed(words[2]) if words[2:] else b""
        self.target = int(words[3]) if words[2:] else 0

    def has(self, family: str, host: bytes, protocol: int, port: int) -> bool:
        """Whether it is about this port of the address."""
        return (
            self.protocol in (0, protocol)
            and self.first <= port <= self.last
            and self.host in (b"", host)
            and self.family == family
        )


class PublishedPorts:
    """All that is published."""

    def __init__(self, published: "Iterable[Published]") -> None:
        self._ports: dict[int, list[Published]] = {}
        self._hosts: dict[bytes, list[Published]] = {}
        self._ranges: list[Published] = []
        for one in published:
            if one.first == one.last:
                self._ports.setdefault(one.first, []).append(one)
            elif one.host:
                self._hosts.setdefault(one.host, []).append(one)
            else:
                self._ranges.append(one)

    def find(
        self, family: str, host: bytes, protocol: int, port: int
    ) -> list[Published]:
        """What publishes the port: first what is on one address, then the whole of it,
        then what is on every address. On every one (no bytes) only that is."""
        some = self._ports.get(port, ())
        whole = self._hosts.get(host, ())
        found = [
            one
            for one in (*some, *whole, *self._ranges)
            if one.has(family, host, protocol, port)
        ]
        found.sort(key=lambda one: (not one.host, not one.protocol))
        return found

    def covers(self, family: str, host: str, protocol: str, port: int) -> bool:
        """Whether anything publishes the port; the words are those of entries."""
        number = PROTOCOLS.get(protocol, 0)
        return bool(self.find(family, packed(host), number, port))


def packed(host: str) -> bytes:
    """An address as the kernel has it; nothing for every one."""
    if host == "*":
        return b""
    return inet_pton(AF_INET6 if ":" in host else AF_INET, host)
