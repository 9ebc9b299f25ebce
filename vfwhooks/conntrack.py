"""Connections that still go where a forward used to lead: found and cut, exactly.

One dump of the kernel's table a guest address (of IPv6 one in all), filtered, and each
entry deleted by its own tuple. Never by a port alone: that would cut the
administrator's own session, and the guests' outgoing connections to that port number.
"""

import errno
import struct
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from .elements import PROTOCOLS
from .inventory import Inventory
from .netlink import Netlink, attribute, attributes, message, nested, netfilter
from .plan import network_entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_CONNTRACK = 1 << 8
_GET, _DELETE = 1, 2
_ORIGINAL, _REPLY, _ID, _FILTER = 1, 2, 12, 25
_ORIGINAL_FLAGS, _REPLY_FLAGS = 1, 2
_IP_SOURCE, _IP_DESTINATION, _PROTOCOL = 1, 2, 8
_TCP, _UDP = PROTOCOLS["tcp"], PROTOCOLS["udp"]


class Tuple:
    """One direction of a connection: addresses as text, ports as numbers."""

    __slots__ = ("destination", "port", "protocol", "source", "source_port")

    def __init__(self, data: bytes) -> None:
        parts = attributes(data)
        ip, protocol = attributes(parts.get(1, b"")), attributes(parts.get(2, b""))
        family, first = (AF_INET, 1) if 1 in ip else (AF_INET6, 3)
        self.source = inet_ntop(family, ip[first])
        self.destination = inet_ntop(family, ip[first + 1])
        self.protocol = protocol.get(1, b"\0")[0]
        self.source_port = int.from_bytes(protocol.get(2, b""), "big")
        self.port = int.from_bytes(protocol.get(3, b""), "big")


class Published:
    """What one dnat or reject entry is about, to compare connections with."""

    __slots__ = ("address", "first", "host", "last", "protocol", "target")

    def __init__(self, entry: str) -> None:
        words = entry.split(" ")
        self.host = words[2]
        self.protocol = PROTOCOLS.get(words[3], 0)  # 0 for all of them
        self.first, self.last = int(words[4]), int(words[5])
        self.address, target = [*words[6:], "", "0"][:2]
        self.target = int(target)

    def has(self, original: Tuple) -> bool:
        """Whether a connection to this destination is one to the published port."""
        return (
            self.protocol in (0, original.protocol)
            and self.first <= original.port <= self.last
            and self.host in ("*", original.destination)
        )

    def leads(self, original: Tuple, reply: Tuple) -> bool:
        """Whether the connection was forwarded by this entry."""
        target = self.target + original.port - self.first
        return (
            self.has(original)
            and original.destination != reply.source == self.address
            and reply.source_port == target
        )


Connection = tuple[bytes, Tuple, Tuple]


def may_cut(removed: list[str], added: list[str]) -> bool:
    """Whether connections may have to be cut for these entries."""
    verbs = "dnat ", "reject ", "snat "
    return any(entry.startswith(("dnat ", "snat ")) for entry in removed) or any(
        entry.startswith(verbs) and " tcp " not in entry and " sctp " not in entry
        for entry in added
    )


def beside(removed: list[str], held: "Collection[str]") -> list[str]:
    """Those of the entries that are held now which lead to a guest that removed ones
    lead to: what they forward in the same way stays forwarded. An entry that is among
    both has come to another guest."""
    dnats = [entry for entry in removed if entry.startswith("dnat ")]
    guests = {entry.split(" ")[6] for entry in dnats}
    gone = set(dnats) if guests else set()
    return [
        entry
        for entry in (held if guests else ())
        if entry.startswith("dnat ")
        and entry.split(" ", 7)[6] in guests
        and entry not in gone
    ]


def cut(
    link: Netlink,
    inventory: Inventory,
    removed: list[str],
    added: list[str],
    stay: "Collection[str]" = (),
) -> int:
    """Cut what the removed entries still lead somewhere, unless one of those that
    `stay` leads it there as well; and the flows of UDP (for a whole address, of all but
    TCP) that end at the host itself or leave from another address, though an added
    entry now says otherwise; how many."""
    gone: dict[str, list[Published]] = {}
    for entry in removed:
        if entry.startswith("dnat "):
            published = Published(entry)
            where = "::" if ":" in published.address else published.address
            gone.setdefault(where, []).append(published)
    others = [Published(entry) for entry in stay]
    count = 0
    for address, entries in gone.items():
        for data, original, reply in _connections(link, _REPLY, address):
            if any(one.leads(original, reply) for one in entries) and not _leads_now(
                others, original, reply
            ):
                count += _delete(link, address, data)
    for family in "46":
        verbs = f"dnat {family} ", f"reject {family} "
        some = [Published(entry) for entry in added if entry.startswith(verbs)]
        udp = [one for one in some if one.protocol == _UDP]
        if udp:
            everywhere = "0.0.0.0" if family == "4" else "::"
            found = _connections(link, _ORIGINAL, everywhere)
            left = [entry for entry in added if entry.startswith(f"left {family} ")]
            found = [one for one in found if _left(one[1]) not in left]
            count += _cut_at_host(link, inventory, udp, found)
        for one in some:
            if not one.protocol:
                found = _connections(link, _ORIGINAL, one.host, _IP_DESTINATION)
                count += _cut_at_host(link, inventory, [one], found)
    for is_new, changed in ((False, removed), (True, added)):
        ways_out = [entry for entry in changed if entry.startswith("snat ")]
        count += sum(_cut_from_guest(link, entry, is_new) for entry in ways_out)
    return count


def _leads_now(published: list[Published], original: Tuple, reply: Tuple) -> bool:
    """Whether what is published leads the connection where it goes: first what is on
    one address, then the whole of it, then what is on every address."""
    found = [one for one in published if one.has(original)]
    found.sort(key=lambda one: (one.host == "*", not one.protocol))
    return bool(found) and found[0].leads(original, reply)


def _cut_from_guest(link: Netlink, entry: str, is_new: bool) -> int:
    """Cut what a guest has open towards outside: by the address that it is not to leave
    from any more, or, but for TCP, by any that is not its `is_new` one."""
    _, _, guest, public = entry.split(" ")
    count = 0
    for data, original, reply in _connections(link, _ORIGINAL, guest, _IP_SOURCE):
        is_out = original.source == guest != reply.destination
        is_by_it = reply.destination == public
        is_stale = is_by_it != is_new and not (is_new and original.protocol == _TCP)
        if is_out and is_stale and original.destination == reply.source:
            count += _delete(link, guest, data)
    return count


def _cut_at_host(
    link: Netlink,
    inventory: Inventory,
    published: list[Published],
    found: "list[Connection]",
) -> int:
    count = 0
    for data, original, reply in found:
        if (
            original.protocol != _TCP
            and original.destination == reply.source
            and original.port == reply.source_port
            and any(one.has(original) for one in published)
            and inventory.is_local(original.destination)
            and not _is_left(inventory, original)
        ):
            count += _delete(link, original.destination, data)
    return count


def _is_left(inventory: Inventory, original: Tuple) -> bool:
    """Whether the flow ends at a port that is left to libvirt on its bridge: the DNS
    and DHCP of a network."""
    for name in inventory.names():
        network = inventory.network(name)
        for address, subnet in network.subnets if network else ():
            if address == original.destination:
                return _left(original) in network_entries([(address, subnet)])
    return False


def _left(original: Tuple) -> str:
    """The entry that would leave the flow's destination to the host."""
    family = "6" if ":" in original.destination else "4"
    port = f"{original.port} {original.port}"
    return f"left {family} {original.destination} udp {port}"


def _connections(
    link: Netlink, direction: int, address: str, by: int = 0
) -> "list[Connection]":
    """The connections whose reply comes from `address`; whose original direction has it
    (`by` says as what); or else, for the original direction, the family's UDP ones.

    Kernels before 5.8 ignore the filter and list everything; callers compare again.
    Every kernel so far lists all but the IPv6 address it is asked for: `::` is all.
    """
    number = AF_INET6 if ":" in address else AF_INET
    wanted = flags = b""
    if by and number == AF_INET:
        where = attribute(by, inet_pton(number, address))
        wanted = nested(_ORIGINAL, nested(1, where))
        flags = attribute(_ORIGINAL_FLAGS, struct.pack("=I", by))
    elif direction == _ORIGINAL and not by:
        wanted = nested(_ORIGINAL, nested(2, attribute(1, bytes((_UDP,)))))
        flags = attribute(_ORIGINAL_FLAGS, struct.pack("=I", _PROTOCOL))
    elif number == AF_INET and not by:
        source = attribute(1, inet_pton(number, address))
        wanted = nested(_REPLY, nested(1, source))
        flags = attribute(_REPLY_FLAGS, struct.pack("=I", _IP_SOURCE))
    asked = netfilter(number, wanted + nested(_FILTER, flags) if flags else b"")
    found = []
    try:
        answers = link.dump(message(_CONNTRACK | _GET, asked))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT):
            answers = link.dump(message(_CONNTRACK | _GET, netfilter(number)))
        else:
            raise
    for _, answer in answers:
        parts = attributes(answer[4:])
        if _ORIGINAL in parts and _REPLY in parts:
            data = nested(_ORIGINAL, parts[_ORIGINAL])
            data += attribute(_ID, parts[_ID]) if _ID in parts else b""
            found.append((data, Tuple(parts[_ORIGINAL]), Tuple(parts[_REPLY])))
    return found


def _delete(link: Netlink, address: str, data: bytes) -> int:
    number = AF_INET6 if ":" in address else AF_INET
    try:
        link.request(message(_CONNTRACK | _DELETE, netfilter(number, data)))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return 0
    return 1
