"""What is wrong with the host as a whole, for `status`: the files, the firewall, guests
that are gone."""

from __future__ import annotations

from pathlib import Path

from ..config import compiled_file, source_stamps
from ..config.compiler import find_gone
from ..config.last_good import known_broken
from ..firewall.backend import IPTABLES, NFTABLES
from ..firewall.nft_fib import CURE, NO_FIB, lacks_fib
from ..host.run import Run
from ..libvirt.status_directories import GUESTS
from ..reconcile.desired_state import DesiredState
from ..store.records import Record
from ..store.state import State
from ..values.entries import Dnat, Entry


def find_stale_files(
    config: compiled_file.Compiled | None, state: State, main: str
) -> list[str]:
    """The difference between the files and the configuration in force, and why."""
    if gone := find_gone(Path(main), state.path):
        return [*map(str, gone)]
    taken, broken = known_broken(state)
    if broken and (not taken or source_stamps.is_current(taken, main)):
        return broken.split("\n")
    if config is None or not source_stamps.is_current(config.stamps, main):
        return [f"{main} has changed and is not in force yet; run vfwhooks apply"]
    return []


def find_missing_fib(
    base: dict[str, str], held: dict[Entry, int], desired: list[DesiredState]
) -> list[str]:
    """The reason why our table is missing, if the kernel has no `fib`."""
    wanted = [entry for one in desired for entry in one.entries]
    is_lost = any(isinstance(entry, Dnat) for entry in wanted)
    is_lost &= not any(isinstance(entry, Dnat) for entry in held)
    if base.get("backend") == NFTABLES and is_lost and lacks_fib(Run()):
        return [f"nftables: {NO_FIB} {CURE}"]
    return []


def find_missing_tables(base: dict[str, str]) -> dict[str, str]:
    """The families whose libvirt table is missing; with iptables there are no
    tables."""
    if base.get("backend") == IPTABLES:
        return {}
    names = {"4": "table ip libvirt_network", "6": "table ip6 libvirt_network"}
    why = "is missing: restart libvirtd"
    return {f: f"{name} {why}" for f, name in names.items() if f not in base}


def find_vanished(records: list[Record], root: str = "") -> list[str]:
    """Guests that are recorded as running, but have no pid file of libvirt."""
    (qemus,) = (path for path, driver in GUESTS.items() if driver == "qemu")
    directory = Path(f"{root}{qemus}")
    cure = "does not run any more, and no hook was called; run vfwhooks apply"
    return [
        f"{record.guest.name} {cure}"
        for record in records
        if record.guest.driver == "qemu"
        and directory.is_dir()
        and not (directory / f"{record.guest.name}.pid").exists()
    ]
