"""libvirt's daemons on this host: which are at work, whose hooks each one calls, and
whether it has noticed ours.

A daemon looks for hooks when it starts and when it is told to reload, and never in
between. Our `daemon` hook leaves a mark with the number of the process that called it.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..host.run import Run
from ..store.state import State
from ..values.errors import VfwError

# The drivers whose hooks a daemon calls.
SERVES = {
    "libvirtd": ("qemu", "lxc", "libxl", "network"),
    "virtqemud": ("qemu",),
    "virtnetworkd": ("network",),
    "virtlxcd": ("lxc",),
    "virtxend": ("libxl",),
}
# What a connection is made to, and with which of its drivers.
_SOCKETS = {
    "libvirtd": ("libvirt-sock", "qemu"),
    "virtqemud": ("virtqemud-sock", "qemu"),
    "virtnetworkd": ("virtnetworkd-sock", "network"),
    "virtlxcd": ("virtlxcd-sock", "lxc"),
    "virtxend": ("virtxend-sock", "xen"),
}
_PROGRAMS = "/usr/sbin", "/usr/bin", "/sbin", "/bin"
_CONNECT = "import libvirt, sys; libvirt.openReadOnly(sys.argv[1]).close()"
_CONNECT_SECONDS = 10
# How long a daemon has to call our hook each time that it is told.
_RELOAD_SECONDS = 1, 2, 3
_TICKS = os.sysconf("SC_CLK_TCK")
COARSE = 2  # the kernel tells its own start in whole seconds


@dataclass(frozen=True)
class Daemon:
    """One that runs, and when it began (seconds since 1970)."""

    name: str
    pid: int
    began: float


def find_daemons(root: str = "") -> list[Daemon]:
    """Those that run, by their files of process numbers: in a container of this host
    there may be others."""
    found = []
    for name in SERVES:
        pid = _text(Path(f"{root}/run/{name}.pid")).strip()
        if pid.isdecimal() and _text(Path(f"{root}/proc/{pid}/comm")).strip() == name:
            found.append(Daemon(name, int(pid), process_began(int(pid), root)))
    return found


def find_concerned(root: str = "") -> list[str]:
    """The daemons that call hooks here: those that run, or would be started by who
    connects to them; where there is none of either, those that are installed."""
    running = {daemon.name for daemon in find_daemons(root)}
    found = [name for name in SERVES if name in running or _is_awaited(name, root)]
    return found or [name for name in SERVES if _is_installed(name, root)]


def _is_awaited(name: str, root: str) -> bool:
    """Whether systemd, or it itself, listens for it. What listens in libvirtd's place
    may be the proxy of the modular ones."""
    directory = Path(f"{root}/run/libvirt")
    if name == "libvirtd" and (directory / "virtproxyd-sock").exists():
        return False
    return (directory / _SOCKETS[name][0]).exists()


def _is_installed(name: str, root: str) -> bool:
    return any(Path(f"{root}{place}/{name}").exists() for place in _PROGRAMS)


def process_began(pid: int, root: str = "") -> float:
    """When a process began (seconds since 1970); 0 where that is not known."""
    boot = re.search(r"^btime (\d+)", _text(Path(f"{root}/proc/stat")), re.MULTILINE)
    words = _text(Path(f"{root}/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(boot[1]) + int(words[19]) / _TICKS if boot and len(words) > 19 else 0


def noticed_at(daemon: Daemon, state: str) -> float:
    """When it last looked for hooks, as far as is known (seconds since 1970)."""
    try:
        mark = Path(f"{state}/daemons/{daemon.pid}").stat().st_mtime
    except OSError:
        mark = 0
    return max(mark, daemon.began)


def wake(name: str) -> None:
    """Have a daemon started that systemd starts for who connects, by one connection;
    whether it came is for find_daemons to say."""
    socket, driver = _SOCKETS[name]
    uri = f"{driver}:///system?socket=/run/libvirt/{socket}-ro"
    try:
        Run(seconds=_CONNECT_SECONDS)([sys.executable, "-Ic", _CONNECT, uri])
    except VfwError:
        pass  # it may refuse the driver and be there all the same


def reload(daemons: Iterable[Daemon], state: State) -> set[str]:
    """Have daemons look for hooks anew; the names of those that have called our daemon
    hook then. One that has not is told again: while it reloads it ignores the signal.
    """
    waiting = {str(daemon.pid): daemon for daemon in daemons}
    names = {daemon.name for daemon in waiting.values()}
    for pid in waiting:
        state.remove(f"daemons/{pid}")
    for seconds in _RELOAD_SECONDS:
        for daemon in waiting.values():
            try:
                os.kill(daemon.pid, signal.SIGHUP)
            except OSError:
                continue  # it has just ended
        until = time.monotonic() + seconds
        while waiting and time.monotonic() < until:
            time.sleep(0.02)
            called = set(state.names("daemons"))
            waiting = {pid: one for pid, one in waiting.items() if pid not in called}
    return names - {daemon.name for daemon in waiting.values()}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
