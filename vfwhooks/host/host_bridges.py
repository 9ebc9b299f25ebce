"""A bridge that the host made itself, in the place of a network of libvirt's.

The guest is let through by whoever made the bridge; what is asked here is where the
host's own addresses on it are, which say which subnet is behind it.
"""

from __future__ import annotations

from ..values.guests import Network, hosts_own
from .netlink import Netlink
from .routes import list_addresses


def read_bridge(name: str, index: int, link: Netlink) -> Network | None:
    """The bridge with the kernel's number of it; None where there is none."""
    if not index:
        return None
    found = dict.fromkeys(
        (one.address, one.subnet)
        for one in list_addresses(link)
        if one.interface == index and one.is_global
    )
    return Network(hosts_own(name), name, "open", list(found), {})
