"""Hooks as libvirt calls them, one event after the other, and what each costs."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from .bed import CONFIG, LIB, OWN, STATUS
from .guests import Guest, with_reservations

LIFE = (
    ("qemu", "prepare"),
    ("network", "port-created"),
    ("qemu", "start"),
    ("qemu", "started"),
    ("qemu", "stopped"),
    ("network", "port-deleted"),
    ("qemu", "release"),
)
Event = tuple[str, str]


@dataclass(frozen=True)
class Hook:
    """A hook executable, or a directory of them by driver ("qemu", "network")."""

    name: str
    path: Path
    forwards: int = 1

    def file(self, driver: str) -> "Path | None":
        """What libvirt would call for this driver."""
        if self.path.is_dir():
            return self.path / driver
        return self.path if driver == "qemu" else None


_MEASURE_PEAK = (
    "import posix, sys\n"
    "child = posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ)\n"
    "print(posix.wait4(child, 0)[2].ru_maxrss)"
)
_OUTPUT = OWN / "output"
_LOCK, _BELL = Path("/run/vfwhooks/lock"), "/run/vfwhooks/doorbell"
_NOTHING = b"spool/nothing"
OURS = Hook("vfwhooks", LIB / "hooks")


def life(
    hook: Hook,
    guest: Guest,
    daemon: str,
    events: tuple[Event, ...],
    to_the_end: bool = False,
) -> list[float]:
    """The seconds that each of the events takes (see `spawn`)."""
    return [call(hook, guest, daemon, one, to_the_end=to_the_end) for one in events]


def call(
    hook: Hook,
    guest: Guest,
    daemon: str,
    event: Event,
    before: tuple[str, ...] = (),
    to_the_end: bool = False,
) -> float:
    """Call the hook for one event, as libvirt does; the seconds it takes.

    `before` are words of a program that runs it.
    """
    driver, operation = event
    file = hook.file(driver)
    if file is None:
        return 0.0
    name = guest.name if driver == "qemu" else "default"
    argv = [*before, str(file), name, operation, "begin", "-"]
    return spawn(argv, told(guest, daemon, event), hook.forwards, to_the_end)


def told(guest: Guest, daemon: str, event: Event) -> str:
    """What libvirt gives the hook for the event."""
    driver, operation = event
    said = "started" if operation == "reconnect" else operation
    return with_reservations(guest.xml(f"{driver}-{said}", daemon), STATUS)


def peak(hook: Hook, guest: Guest, daemon: str, event: Event) -> int:
    """The most memory that a process of the hook has, in KiB.

    A process counts the memory of whoever has spawned it as its own, so a small one
    does that, which is what is told of processes smaller than itself.
    """
    call(hook, guest, daemon, event, ("/usr/bin/python3", "-ISc", _MEASURE_PEAK))
    return int(_OUTPUT.read_text())


def spawn(
    argv: list[str], text: str = "", forwards: int = 0, to_the_end: bool = False
) -> float:
    """Run a program with `text` as its standard input; it must succeed. Seconds, `to
    the end` of all that it has left running behind its caller's back, or to a service.
    """
    stdin = open_input(text)
    out = os.open(_OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    alive, its_end = os.pipe()
    files = enumerate((stdin, out, out, its_end))
    actions = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in files]
    env = environment(forwards)
    start = time.perf_counter()
    child = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    os.close(its_end)
    _, status = os.waitpid(child, 0)
    if to_the_end:
        os.read(alive, 1)
        await_end()
    took = time.perf_counter() - start
    for fd in (stdin, out, alive):
        os.close(fd)
    if status:
        said = _OUTPUT.read_text()
        raise RuntimeError(f"{' '.join(argv)}: status {status}: {said}")
    return took


def await_end() -> None:
    """Wait until nobody is at work: the lock is free, and the service, where there is
    one, answers who rings for an event that nobody has written down."""
    if not _LOCK.exists():
        return
    with _LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as bell:
        try:
            bell.connect(_BELL)
        except OSError:
            return
        bell.send(_NOTHING)
        bell.recv(1)


def open_input(text: str) -> int:
    """The end of a pipe that holds the text, as libvirt gives it to hooks."""
    stdin, its = os.pipe()
    fcntl.fcntl(its, fcntl.F_SETPIPE_SZ, 1 << 20)
    os.write(its, text.encode())
    os.close(its)
    return stdin


def environment(forwards: int = 0) -> dict[str, str]:
    """What libvirt gives its hooks, and where our file is; for peers how many forwards
    there are."""
    return {
        "PATH": "/run/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/",
        "LC_ALL": "C",
        "VFWHOOKS_CONFIG": str(CONFIG),
        "FORWARDS": str(forwards),
    }
