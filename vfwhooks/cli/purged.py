"""`vfwhooks purge`: all our rules and all state go; forwards.yaml stays."""

from __future__ import annotations

import shutil

from ..config import kept_over_boot
from ..firewall.backend import clear_all
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.inventory import Inventory
from ..reconcile.hairpin_mode import Hairpins
from ..reconcile.kept_settings import LOCALNET, KeptSetting
from ..reconcile.return_path import ReturnRoutes
from ..store.state import State
from .output import complain


def purge_all(state: State) -> None:
    """Remove our rules, restore what was set for them, delete the state directory and
    the configuration kept over a boot, and print which rules went."""
    lock = state.lock()
    inventory = Inventory(f"{state.path}/networks")
    link = Netlink()
    hairpins = Hairpins()
    for record in state.records():
        for port in record.hairpins:
            hairpins.give_back(port)
    hairpins.close()
    problems = KeptSetting(LOCALNET, state).restore_others(set())
    problems += ReturnRoutes(state).sync(set())
    for problem in problems + hairpins.problems:
        complain(problem)
    base = state.base()
    found = "there were none"
    try:
        cleared = clear_all(base, link, Run(keep=(lock.fd,)), inventory)
    except PermissionError:  # as where an image is built
        if base:
            raise
        cleared, found = [], "none is noted; the kernel tells only with CAP_NET_ADMIN"
    kept_over_boot.forget(state)
    shutil.rmtree(state.path)
    lock.close()
    link.close()
    print("removed all rules: " + (", ".join(cleared) or found))
