"""Base chains of iptables' nft variant that our jumps made, and that go with our jumps.

The nft variant makes a base chain at its first use, and its save shows every base
chain.
"""

from __future__ import annotations

from ..host.netlink import Netlink
from ..host.run import Run
from ..values.entries import Entry, LoopbackBridge
from ..values.errors import VfwError
from .iptables_nft import delete_table, list_chain_names
from .iptables_rules import is_marking
from .iptables_script import FILTER, MANGLE, NAT, RAW
from .iptables_tools import COMMANDS

_BASES = {
    FILTER: ("FORWARD", "INPUT"),
    NAT: ("PREROUTING", "OUTPUT", "POSTROUTING"),
    RAW: ("PREROUTING",),
    MANGLE: ("PREROUTING",),
}


def note_missing(
    link: Netlink, base: dict[str, str], family: str, owners: dict[str, list[Entry]]
) -> None:
    """Note which base chains our jumps will make. The first forward on loopback brings
    the table raw into use, the first return_path the table mangle."""
    used: dict[str, tuple[str, ...]] = {f"made{family}": (FILTER, NAT)}
    if any(isinstance(e, LoopbackBridge) for some in owners.values() for e in some):
        used[f"raw{family}"] = (RAW,)
    if any(is_marking(e, family) for some in owners.values() for e in some):
        used[f"mangle{family}"] = (MANGLE,)
    for key, tables in used.items():
        if key in base:
            continue
        missing = []
        for table in tables if base["variant"] == "nft" else ():
            there = list_chain_names(link, family, table)
            missing += [f"{table}/{n}" for n in _BASES[table] if n not in there]
        base[key] = " ".join(missing)


def unmake(
    link: Netlink, run: Run, base: dict[str, str], family: str, variant: str
) -> None:
    """Delete the base chains that our jumps made, unless somebody else uses them."""
    made = [base.pop(f"{key}{family}", "") for key in ("made", RAW, MANGLE)]
    for name in " ".join(made).split():
        table, _, chain = name.partition("/")
        try:
            run([f"{COMMANDS[family]}-{variant}", "-t", table, "-X", chain])
        except VfwError:
            continue  # somebody else uses it
        if table in (RAW, MANGLE) and not list_chain_names(link, family, table):
            delete_table(link, family, table)
