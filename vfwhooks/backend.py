"""Which of the kernel's two firewalls libvirt uses on this host: that one is ours too.
"""

from .errors import VfwError
from .inventory import Inventory
from .netlink import Netlink
from .nfnetlink import has_table
from .nftables import Nftables
from .process import Run, find

NFTABLES, IPTABLES = "nftables", "iptables"


def choose(inventory: Inventory, link: Netlink, run: Run) -> str:
    """The backend's name: what libvirt noted, else what is found in the kernel.

    A host whose networks are all open has neither; there nf_tables serves, if its tool
    is installed.
    """
    networks = [inventory.network(name) for name in inventory.names()]
    noted = {network.backend for network in networks if network and network.backend}
    if len(noted) == 1:
        return noted.pop()
    if has_table(link, "4") or has_table(link, "6"):
        return NFTABLES
    if find("iptables-restore") and any(n and n.mode != "open" for n in networks):
        return IPTABLES
    if find("nft"):
        return NFTABLES
    if find("iptables-restore"):
        return IPTABLES
    raise VfwError("neither nft nor iptables-restore is installed", "install nftables")


def open_backend(base: dict[str, str], link: Netlink, run: Run) -> Nftables:
    """The backend that `base` names; it keeps its marks there."""
    return Nftables(link, run, base)


def clear_others(name: str, link: Netlink, run: Run) -> list[str]:
    """Take what is ours out of the backend that is not in use; what was done."""
    return []
