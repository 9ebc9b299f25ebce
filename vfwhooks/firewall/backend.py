"""The choice of the backend: nftables or iptables, whichever libvirt uses on this
host."""

from ..host.netlink import Netlink
from ..host.run import Run, find
from ..libvirt.inventory import Inventory
from ..values.errors import VfwError
from .nft_netlink import has_table
from .nftables import Nftables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from .iptables import Iptables

    Backend = Union[Nftables, Iptables]

NFTABLES, IPTABLES = "nftables", "iptables"
_MADE = (
    "made",
    "raw",
    "mangle",
)  # prefixes of the keys for base chains of iptables that our jumps made
_UNCLEARED = "uncleared"  # a key: the other backend may still hold rules of ours


def choose(inventory: Inventory, link: Netlink, now: str) -> str:
    """The backend's name: the one that libvirt has noted, else the one found in the
    kernel, else `now`, the backend in use.

    A host with open networks only has neither; it uses nf_tables if nft is installed.
    If libvirt has noted nothing and has no table, a host with other networks uses
    iptables, also if its tools are missing for a moment.
    """
    networks = [inventory.network(name) for name in inventory.names()]
    noted = {network.backend for network in networks if network and network.backend}
    if len(noted) == 1:
        return noted.pop()
    if has_table(link, "4") or has_table(link, "6"):
        return NFTABLES
    if now:
        return now
    if any(n and n.is_ours and n.mode != "open" for n in networks):
        if find("iptables-restore"):
            return IPTABLES
        raise VfwError("iptables-restore is not installed", "install iptables")
    if find("nft"):
        return NFTABLES
    if find("iptables-restore"):
        return IPTABLES
    raise VfwError("neither nft nor iptables-restore is installed", "install nftables")


def open_backend(
    base: dict[str, str], link: Netlink, run: Run, inventory: Inventory
) -> "Backend":
    """The backend that `base` names; the backend keeps its notes in `base`."""
    if base["backend"] == NFTABLES:
        return Nftables(link, run, base, inventory)
    from .iptables import Iptables  # 1 ms that nf_tables hosts need not spend

    networks = [inventory.network(name) for name in inventory.names()]
    return Iptables(link, run, base, [network for network in networks if network])


def move(name: str, base: dict[str, str]) -> dict[str, str]:
    """The new `base` when `name` comes into use: the other backend must be cleared, and
    the keys of the base chains that were made there stay."""
    made = {key: rest for key, rest in base.items() if key.startswith(_MADE)}
    return {"backend": name, _UNCLEARED: "", **made}


def clear_others(
    base: dict[str, str], link: Netlink, run: Run, inventory: Inventory
) -> list[str]:
    """Remove our rules from the backend that is not in use, unless that is done.
    Returns lines about the result. The next full sync tries again what failed."""
    if _UNCLEARED not in base:
        return []
    name = base["backend"]
    other = IPTABLES if name == NFTABLES else NFTABLES
    held = {**base, "backend": other}
    try:
        was = open_backend(held, link, run, inventory).clear()
    except VfwError as error:
        return [f"{other}: {error}"]
    for key in list(base):
        if key == _UNCLEARED or (key.startswith(_MADE) and key not in held):
            del base[key]
    return [f"moved from {other} to {name}"] if was else []


def clear_all(
    base: dict[str, str], link: Netlink, run: Run, inventory: Inventory
) -> list[str]:
    """Remove our rules from both backends. Returns the names of those that had any."""
    cleared = []
    for name, tool in ((NFTABLES, "nft"), (IPTABLES, "iptables-restore")):
        backend = open_backend({**base, "backend": name}, link, run, inventory)
        if find(tool) and backend.clear():
            cleared.append(name)
    return cleared
