"""A bridge that the host made itself, in the place of a network of libvirt's.

The guest is let through by whoever made the bridge; what is asked here is where the
host's own addresses on it are, which say which subnet is behind it.
"""

import struct
from _socket import AF_INET, AF_INET6, inet_ntop

from ..values.guests import Network, hosts_own
from .netlink import Netlink, attributes, message

_GETADDRESS = 22
_HEAD = struct.Struct("=BBBBI")
_ITS, _OWN = 1, 2  # of a point-to-point link the peer's, and ours
_EVERYWHERE = 0  # the scope of what is valid beyond the link


def read_bridge(name: str, index: int, link: Netlink) -> "Network | None":
    """The bridge with the kernel's number of it; None where there is none."""
    if not index:
        return None
    subnets = _subnets(index, link)
    return Network(hosts_own(name), name, "open", subnets, {})


def _subnets(index: int, link: Netlink) -> list[tuple[str, str]]:
    """The host's own addresses there, each with its subnet."""
    found: dict[tuple[str, str], None] = {}
    for _, answer in link.dump(message(_GETADDRESS, bytes(_HEAD.size))):
        family, length, _, scope, where = _HEAD.unpack_from(answer)
        if where == index and scope == _EVERYWHERE and family in (AF_INET, AF_INET6):
            about = attributes(answer[_HEAD.size :])
            its = about.get(_ITS, about.get(_OWN, b""))
            own = inet_ntop(family, about.get(_OWN, its))
            rest = len(its) * 8 - length
            base = (int.from_bytes(its, "big") >> rest << rest).to_bytes(
                len(its), "big"
            )
            found[own, f"{inet_ntop(family, base)}/{length}"] = None
    return list(found)
