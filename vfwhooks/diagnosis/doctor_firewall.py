"""The findings of doctor about the backend: its tool, our rules, and libvirt's own."""

from __future__ import annotations

from collections.abc import Iterator

from ..firewall.backend import IPTABLES, NFTABLES, open_backend
from ..firewall.iptables_libvirt_rules import is_libvirts
from ..firewall.iptables_script import FILTER
from ..firewall.iptables_tools import Tools
from ..firewall.nft_fib import MODPROBE, NO_FIB, lacks_fib
from ..firewall.nft_names import PARTS
from ..firewall.nft_netlink import has_table
from ..host.netlink import Netlink
from ..host.run import PATH, Run, find
from ..libvirt.daemons import find_daemons
from ..libvirt.inventory import Inventory
from ..values.findings import APPLY, NOTE, OK, WRONG, Cure, Finding, by_hand

_OURS = "inet vfwhooks"
# The tool of each backend, and the package that has it in every distribution.
_TOOLS = {NFTABLES: ("nft", "nftables"), IPTABLES: ("iptables-restore", "iptables")}


def check_firewall(
    base: dict[str, str], inventory: Inventory, root: str
) -> Iterator[Finding]:
    """The backend, and whether our rules and libvirt's own are there."""
    if "backend" not in base:
        what = "no guest with forwards has started since the last boot"
        seen = "our state directory names no backend"
        yield Finding(NOTE, "no-guest-yet", "firewall", what, None, seen)
        return
    missing_tool = find_missing_tool(base)
    if missing_tool:
        yield missing_tool
        return
    name, link = base["backend"], Netlink()
    networks = [inventory.network(one) for one in inventory.names()]
    known = [n for n in networks if n and n.is_ours and n.mode != "open"]
    if name == IPTABLES:
        forward = FILTER, "FORWARD"
        texts = Tools(link, Run(), base).forward("4", base.get("variant", "nft"))
        is_there = any(is_libvirts(forward, text, known) for text in texts)
        missing = [] if is_there else ["FORWARD"]
    else:
        missing = [" ".join(PARTS[f][1:]) for f in "46" if not has_table(link, f)]
        yield from _changed(base, inventory, link)
        if not has_table(link, "own"):
            yield _lost_table()
            return
    if missing and known:
        some = ", ".join(missing)
        what = f"libvirt's rules are missing ({some})"
        said = "restart libvirtd (virtnetworkd, where it runs)"
        cure, seen = restart_libvirt(root, said), f"nothing of libvirt's in {some}"
        yield Finding(WRONG, "libvirt-rules-missing", "libvirt", what, cure, seen)
    else:
        beside = "" if missing else ", beside libvirt's rules"
        yield Finding(OK, "backend-good", name, f"backend {name}{beside}")


def find_missing_tool(base: dict[str, str]) -> Finding | None:
    """The finding if the tool that changes our rules is not installed."""
    tool, package = _TOOLS.get(base.get("backend", ""), ("", ""))
    if not tool or find(tool):
        return None
    what = f"{tool} is not installed: our rules can be neither read nor changed"
    cure = by_hand(f"install the package {package}")
    return Finding(WRONG, "tool-missing", tool, what, cure, f"looked in {PATH}")


def restart_libvirt(root: str = "", said: str = "run: {run}") -> Cure:
    """Whoever has networks makes its rules anew when it starts."""
    daemons = {daemon.name for daemon in find_daemons(root)}
    unit = "virtnetworkd" if "virtnetworkd" in daemons else "libvirtd"
    return Cure(("systemctl", "restart", unit), said)


def _changed(
    base: dict[str, str], inventory: Inventory, link: Netlink
) -> Iterator[Finding]:
    if not open_backend(base, link, Run(), inventory).is_intact():
        what = "our rules have been changed by somebody"
        seen = "the kernel has other handles of chains and rules than we have noted"
        yield Finding(WRONG, "rules-changed", _OURS, what, APPLY, seen)


def _lost_table() -> Finding:
    what, seen = f"our table {_OURS} is missing", f"the kernel has no table {_OURS}"
    if not lacks_fib(Run()):
        return Finding(WRONG, "table-missing", _OURS, what, APPLY, seen)
    cure = by_hand("reboot, or: {run}", *MODPROBE)
    seen = "the kernel refuses a rule with fib"
    what = f"{what}: {NO_FIB}"
    return Finding(WRONG, "kernel-without-fib", "kernel", what, cure, seen)
