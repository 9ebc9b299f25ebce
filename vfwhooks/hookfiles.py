"""Whether libvirt calls our hooks: the files, their rights, and the daemons' view."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from .findings import NOTE, OK, WRONG, Finding

_HOOKS = "/etc/libvirt/hooks"
_NEEDED = ("qemu", "network", "daemon")
_DAEMONS = ("libvirtd", "virtqemud", "virtnetworkd", "virtlxcd", "virtxend")
_TICKS = os.sysconf("SC_CLK_TCK")
_COARSE = 2  # the kernel tells its own start in whole seconds


def check_hooks(root: str = "") -> Iterator[Finding]:
    """The hooks that libvirt has to call, and those of other drivers that are ours."""
    directory = Path(f"{root}{_HOOKS}")
    found, faults = [], []
    for driver in (*_NEEDED, "lxc", "libxl"):
        places = directory / driver, directory / f"{driver}.d" / "vfwhooks"
        ours = next((path for path in places if _is_ours(path)), None)
        if ours is None:
            if driver in _NEEDED:
                what = f"no {driver} hook of vfwhooks in {_HOOKS}"
                faults.append(Finding(WRONG, what, "install.sh puts it there"))
            continue
        found.append(ours)
        faults += _faults(ours, str(ours)[len(root) :], root)
    yield from faults or [Finding(OK, f"hooks in {_HOOKS}")]
    yield from _unseen(found, root)


def _is_ours(path: Path) -> bool:
    try:
        return "vfwhooks" in path.read_text(errors="replace").split("\n")[1]
    except (OSError, IndexError):
        return False


def _faults(path: Path, shown: str, root: str) -> Iterator[Finding]:
    about = path.stat()
    if path.is_symlink():
        what = f"{shown} is a link, which libvirt's confinement may not follow"
        yield Finding(WRONG, what, "install.sh puts a file there")
    if not os.access(path, os.X_OK):
        yield Finding(WRONG, f"{shown} is not executable", f"run: chmod 755 {shown}")
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = f"{shown} can be written by others"
        yield Finding(WRONG, what, f"run: chmod go-w {shown}")
    lib = re.search(r"^lib=(/\S+)", path.read_text(errors="replace"), re.MULTILINE)
    if lib and not Path(f"{root}{lib[1]}/vfwhooks/hook.py").exists():
        what = f"{shown} calls {lib[1]}, where there is no vfwhooks"
        yield Finding(WRONG, what, "run install.sh again")


def _unseen(hooks: list[Path], root: str) -> Iterator[Finding]:
    """Hooks that are newer than a daemon, which looks for them at its start and at
    SIGHUP only; whether it had one since, nobody can tell."""
    newest = max((path.stat().st_ctime for path in hooks), default=0)
    daemons = list(_running(root))
    if not daemons:
        yield Finding(NOTE, "no libvirt daemon is running")
    for name, began in daemons:
        if began + _COARSE < newest:
            what = f"{name} runs since before the hooks were installed"
            yield Finding(
                NOTE, what, f"unless it was reloaded since: pkill -HUP {name}"
            )


def _running(root: str) -> Iterator[tuple[str, float]]:
    """libvirt's daemons, and when each began (seconds since 1970)."""
    boot = re.search(r"^btime (\d+)", _text(Path(f"{root}/proc/stat")), re.MULTILINE)
    for process in Path(f"{root}/proc").glob("[0-9]*"):
        name = _text(process / "comm").strip()
        if name in _DAEMONS and boot:
            ticks = _text(process / "stat").rpartition(")")[2].split()[19]
            yield name, int(boot[1]) + int(ticks) / _TICKS


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
