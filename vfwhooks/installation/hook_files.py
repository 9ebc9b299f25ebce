"""Our hooks as files: where they are installed, and what is wrong with them."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..libvirt.daemons import (
    COARSE,
    SERVES,
    find_concerned,
    find_daemons,
    noticed_at,
    process_began,
)
from ..store.records import Record
from ..values.findings import NOTE, OK, WRONG, Cure, Finding, by_hand, render, run

DIRECTORY = "/etc/libvirt/hooks"
NO_EXEC = f"{DIRECTORY} is on a file system without exec"
DRIVERS = ("qemu", "lxc", "libxl", "network")
_DAEMON = "daemon"
_USUAL = ("qemu", "network")
_PACKAGE = "/usr/share/vfwhooks/install.sh"  # of a package; it lays hooks, too
# The SELinux module, in the package or in one of its own.
_MODULES = (
    "/usr/share/vfwhooks/templates/vfwhooks.cil",
    "/usr/share/selinux/packages/vfwhooks.cil",
)
_MARK = "# vfwhooks: "  # begins the second line of every hook of ours, of any release
_PATIENCE = 5  # seconds until a hook that was not called is reported


def find_ours(driver: str, root: str = "") -> Path | None:
    """Our hook for a driver: libvirt's first hook file, or a file in the directory
    NAME.d."""
    directory = Path(f"{root}{DIRECTORY}")
    places = directory / driver, directory / f"{driver}.d" / "vfwhooks"
    return next((path for path in places if _is_ours(path)), None)


def find_laid(root: str = "") -> dict[str, Path]:
    """Our installed hooks by driver, with the `daemon` hook."""
    found = {driver: find_ours(driver, root) for driver in (*DRIVERS, _DAEMON)}
    return {driver: path for driver, path in found.items() if path}


def needed_drivers(root: str = "") -> list[str]:
    """The drivers that libvirt uses here; the usual ones if it uses none."""
    served = {driver for name in find_concerned(root) for driver in SERVES[name]}
    return [driver for driver in DRIVERS if driver in served] or list(_USUAL)


def is_on_noexec(path: Path) -> bool:
    """Whether the path is on a file system mounted noexec. libvirt looks only at the
    mode of a hook there, calls it, and fails."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def installer(root: str = "", has_module: bool = False) -> tuple[str, ...]:
    """The command that lays hooks, of a package or of a checkout; `has_module`: with
    the SELinux module."""
    if not Path(root + _PACKAGE).exists():
        return ("install.sh", "--selinux-module") if has_module else ("install.sh",)
    if not has_module:
        return _PACKAGE, "--configure"
    if not any(Path(root + module).exists() for module in _MODULES):
        return "dnf", "install", "vfwhooks-selinux"
    return _PACKAGE, "--configure-selinux"


def check_hooks(
    state: str, refused: dict[str, str], is_followed: bool, root: str = ""
) -> Iterator[Finding]:
    """Whether libvirt's daemons call our hooks.

    `refused` maps drivers whose daemons may not run hooks to the reason. If the service
    follows libvirt (`is_followed`), a hook that is not called loses nothing; a hook
    that fails keeps guests from starting.
    """
    laid = find_laid(root)
    lost = NOTE if is_followed else WRONG
    if not laid and is_on_noexec(Path(root + DIRECTORY)):
        what = f"no hook is laid, since {NO_EXEC}; libvirt is followed"
        again = render(installer(root))
        cure = _remount(f"to have hooks: {{}}, then run {again} again")
        yield Finding(lost, "no-hooks-noexec", DIRECTORY, what, cure, NO_EXEC)
        yield from _unseen(laid, state, root)
        return
    faults = [
        *_refused(laid, refused, lost, root),
        *_missing(laid, refused, lost, root),
    ]
    if laid and is_on_noexec(next(iter(laid.values())).parent):
        what = f"{NO_EXEC}, and hooks there keep guests and networks from starting"
        cure = _remount("run: {}")
        faults.append(Finding(WRONG, "hooks-noexec", DIRECTORY, what, cure, NO_EXEC))
    for path in laid.values():
        faults += _faults(path, str(path)[len(root) :], lost, root)
    good = Finding(OK, "hooks-good", DIRECTORY, f"hooks in {DIRECTORY}")
    yield from faults or [good]
    yield from _unseen(laid, state, root)


def _refused(
    laid: dict[str, Path], refused: dict[str, str], lost: str, root: str
) -> Iterator[Finding]:
    for driver, reason in refused.items():
        if driver in laid:
            shown = str(laid[driver])[len(root) :]
            what = f"{shown} keeps guests or networks from starting: {reason}"
            again = render(installer(root))
            said = f"run {again} again, or: {{run}}, then reload libvirt"
            cure = by_hand(said, "rm", shown)
            yield Finding(WRONG, "hook-refused", shown, what, cure, reason)
        else:
            what = f"no {driver} hook is laid, since {reason}; libvirt is followed"
            argv = installer(root, has_module=True)
            cure = by_hand("to have hooks: {run}", *argv)
            yield Finding(lost, "hook-not-laid", driver, what, cure, reason)


def _missing(
    laid: dict[str, Path], refused: dict[str, str], lost: str, root: str
) -> Iterator[Finding]:
    needed = [driver for driver in needed_drivers(root) if driver not in refused]
    for driver in [*needed, _DAEMON] if laid or not refused else ():
        if driver not in laid:
            what = f"no {driver} hook of vfwhooks in {DIRECTORY}"
            cure = by_hand("{run} lays those that libvirt may run", *installer(root))
            seen = f"no file of ours at {driver} or {driver}.d/vfwhooks there"
            yield Finding(lost, "hook-missing", driver, what, cure, seen)


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(errors="replace").split("\n")[1].startswith(_MARK)
    except (OSError, IndexError):
        return False


def _faults(path: Path, shown: str, lost: str, root: str) -> Iterator[Finding]:
    about = path.stat()
    mode = f"mode {stat.S_IMODE(about.st_mode):o}"
    if path.is_symlink():
        what = f"{shown} is a link, which libvirt's confinement may not follow"
        cure = by_hand("{run} puts a file there", *installer(root))
        seen = f"a symbolic link to {path.readlink()}"
        yield Finding(WRONG, "hook-is-link", shown, what, cure, seen)
    if not about.st_mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        what = f"{shown} is not executable: libvirt does not call it"
        cure = run("chmod", "755", shown)
        yield Finding(lost, "hook-not-executable", shown, what, cure, mode)
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        what = f"{shown} can be written by others"
        cure = run("chmod", "go-w", shown)
        yield Finding(WRONG, "hook-writable", shown, what, cure, mode)
    lib = re.search(r"^lib=(/\S+)", path.read_text(errors="replace"), re.MULTILINE)
    if lib and not Path(f"{root}{lib[1]}/vfwhooks/service/hook.py").exists():
        what = f"{shown} calls {lib[1]}, where there is no vfwhooks"
        cure = by_hand("run {run} again", *installer(root))
        yield Finding(WRONG, "hook-without-package", shown, what, cure, lib[0])


def _remount(said: str) -> Cure:
    mount = Path(DIRECTORY)
    while not mount.is_mount():
        mount = mount.parent
    said = said.format("{run}, and take noexec out of /etc/fstab")
    return by_hand(said, "mount", "-o", "remount,exec", str(mount))


def _unseen(laid: dict[str, Path], state: str, root: str) -> Iterator[Finding]:
    """Daemons that have not looked for hooks since our hooks were installed."""
    newest = max((path.stat().st_ctime for path in laid.values()), default=0)
    daemons = find_daemons(root)
    if not daemons:
        what = "no libvirt daemon is running"
        seen = "no pid file of a daemon in /run names a process"
        yield Finding(NOTE, "libvirtd-not-running", "libvirtd", what, None, seen)
    for daemon in daemons:
        if noticed_at(daemon, state) + COARSE < newest:
            what = f"{daemon.name} has not looked for hooks since they were laid"
            cure = run("kill", "-HUP", f"{daemon.pid}")
            late = newest - noticed_at(daemon, state)
            seen = f"it looked {late:.0f} s before the newest of them was laid"
            yield Finding(WRONG, "daemon-not-reloaded", daemon.name, what, cure, seen)


def find_uncalled(
    records: Iterable[Record],
    state: str,
    root: str = "",
    now: Callable[[], float] = time.time,
) -> list[Record]:
    """The guests whose hook was not called, although the hook is installed and the
    daemon had noticed it before the guest started, some seconds ago."""
    laid = find_laid(root)
    since: dict[str, float] = {}  # from this time on, a driver's hook is called
    for daemon in find_daemons(root):
        for driver in SERVES[daemon.name]:
            there = laid[driver].stat().st_ctime if driver in laid else 0
            noticed = noticed_at(daemon, state)
            if there and noticed + COARSE >= there:
                since[driver] = max(noticed, there)
    found = []
    for record in records:
        driver, name = record.key
        if record.is_followed and driver in since:
            pid = _pid(Path(f"{root}/run/libvirt/{driver}/{name}.pid"))
            began = process_began(pid, root)
            age = now() - began
            if began > since[driver] + COARSE and age > _PATIENCE + COARSE:
                found.append(record)
    return found


def _pid(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
