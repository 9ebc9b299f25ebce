"""libvirt's daemons on this host: which of them run, which hooks each daemon calls, and
whether a daemon has noticed our hooks.

A daemon looks for hooks at its start and at a reload only. Our `daemon` hook leaves a
mark with the process number of its caller.
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
# The socket of each daemon, and one of its drivers for the URI of a connection.
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
# Seconds that a daemon has, at each try, to call our hook after a reload.
_RELOAD_SECONDS = 1, 2, 3
_TICKS = os.sysconf("SC_CLK_TCK")
COARSE = 2  # the kernel tells its own start in whole seconds


@dataclass(frozen=True)
class Daemon:
    """A running daemon; `began` is its start (seconds since 1970)."""

    name: str
    pid: int
    began: float


def find_daemons(root: str = "") -> list[Daemon]:
    """The running daemons, found by their pid files: containers on this host may have
    other daemons with the same names."""
    found = []
    for name in SERVES:
        pid = _text(Path(f"{root}/run/{name}.pid")).strip()
        if pid.isdecimal() and _text(Path(f"{root}/proc/{pid}/comm")).strip() == name:
            found.append(Daemon(name, int(pid), process_began(int(pid), root)))
    return found


def find_concerned(root: str = "") -> list[str]:
    """The daemons that call hooks here: running daemons, and daemons that systemd
    starts on a connection. If there is neither, the installed daemons."""
    running = {daemon.name for daemon in find_daemons(root)}
    found = [name for name in SERVES if name in running or _is_awaited(name, root)]
    return found or [name for name in SERVES if _is_installed(name, root)]


def _is_awaited(name: str, root: str) -> bool:
    """Whether systemd, or the daemon, listens on the daemon's socket. The proxy of the
    modular daemons may listen in libvirtd's place."""
    directory = Path(f"{root}/run/libvirt")
    if name == "libvirtd" and (directory / "virtproxyd-sock").exists():
        return False
    return (directory / _SOCKETS[name][0]).exists()


def _is_installed(name: str, root: str) -> bool:
    return any(Path(f"{root}{place}/{name}").exists() for place in _PROGRAMS)


def process_began(pid: int, root: str = "") -> float:
    """The start of a process (seconds since 1970); 0 if it is unknown."""
    boot = re.search(r"^btime (\d+)", _text(Path(f"{root}/proc/stat")), re.MULTILINE)
    words = _text(Path(f"{root}/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(boot[1]) + int(words[19]) / _TICKS if boot and len(words) > 19 else 0


def noticed_at(daemon: Daemon, state: str) -> float:
    """The last known time (seconds since 1970) at which the daemon looked for hooks."""
    try:
        mark = Path(f"{state}/daemons/{daemon.pid}").stat().st_mtime
    except OSError:
        mark = 0
    return max(mark, daemon.began)


def wake(name: str) -> None:
    """Start a socket-activated daemon by one connection. `find_daemons` tells whether
    the daemon runs now."""
    socket, driver = _SOCKETS[name]
    uri = f"{driver}:///system?socket=/run/libvirt/{socket}-ro"
    try:
        Run(seconds=_CONNECT_SECONDS)([sys.executable, "-Ic", _CONNECT, uri])
    except VfwError:
        pass  # it may refuse the driver and be there all the same


def reload(daemons: Iterable[Daemon], state: State) -> set[str]:
    """Make daemons look for hooks again. Returns the names of the daemons that have
    called our daemon hook. A silent daemon gets the signal again: during a reload it
    ignores it.
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
