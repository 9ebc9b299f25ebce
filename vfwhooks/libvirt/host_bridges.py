"""A bridge that the host has made itself, in the place of a libvirt network.

The maker of the bridge lets the guest's packets through. This module asks for the
host's own addresses on the bridge, which tell the subnet behind it.
"""

from __future__ import annotations

from ..host.netlink import Netlink
from ..host.routes import list_addresses
from ..values.guests import Network, hosts_own


def read_bridge(name: str, index: int, link: Netlink) -> Network | None:
    """The bridge with this interface index; None for index 0."""
    if not index:
        return None
    found = dict.fromkeys(
        (one.address, one.subnet)
        for one in list_addresses(link)
        if one.interface == index and one.is_global
    )
    return Network(hosts_own(name), name, "open", list(found), {})
