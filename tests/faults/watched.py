"""`vfwhooks watch` on a stand-in host."""

from __future__ import annotations

import ctypes
import fcntl
import os
import posix
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from standin import CHECKOUT, CONFIG, ENVIRONMENT, LIMIT, STATE, wait_for

from vfwhooks.config.last_good import is_in_force
from vfwhooks.service import daemon
from vfwhooks.service.background_jobs import BackgroundJobs
from vfwhooks.store.state import State

_PR_SET_PDEATHSIG = 1

_WATCH = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from vfwhooks.service.daemon import main; main(*sys.argv[2:])"
)


@contextmanager
def watching() -> Iterator[int]:
    """It runs as the service runs it, and has looked at everything; its process id."""
    argv = ["/usr/bin/python3", "-IX", "utf8", "-c", _WATCH, str(CHECKOUT)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind("\0watch-is-ready")
        ready.settimeout(LIMIT)
        process = subprocess.Popen(
            [*argv, str(STATE), str(CONFIG)],
            env={**ENVIRONMENT, "NOTIFY_SOCKET": "@watch-is-ready"},
        )
        try:
            assert ready.recv(4096) == b"READY=1"
            while not ready.recv(4096).startswith(b"STATUS="):
                pass
            wait_for(lambda: is_in_force(State(str(STATE)), str(CONFIG)))
            rest(process.pid, 40)
            yield process.pid
        finally:
            status = process.poll()
            process.terminate()
            process.wait()
            assert status is None, f"watch ended: {status}"


class Service:
    """The service as a fork of this process: thousands are started in a test, and none
    of them imports anything. There is no libvirtd that it could ask."""

    def __init__(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(f"\0watch-{time.monotonic_ns()}")
            ready.settimeout(LIMIT)
            name = ready.getsockname().decode().replace("\0", "@")
            self.pid = os.fork()
            if self.pid == 0:
                _serve(name)
            try:
                assert ready.recv(4096) == b"READY=1"
            except BaseException:
                self.kill()
                raise

    def rest(self) -> None:
        """Return when it has done what it does at its start, and waits for news."""
        rest(self.pid)

    def kill(self) -> None:
        """As systemd does when it hangs; it may be gone already."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def rest(pid: int, looks: int = 10) -> None:
    """Return when the service waits for news, at so many looks in a row: it sleeps, and
    neither for a tool, since nobody has the lock, nor for a child."""
    calm, before = 0, list[str]()
    deadline = time.monotonic() + LIMIT
    while calm < looks:
        assert time.monotonic() < deadline
        time.sleep(0.03)
        # Other lines are of the whole machine: how many signals wait for all of root's.
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        now = [
            line for line in lines if line.startswith("State") or "_switches" in line
        ]
        files = Path(f"/proc/{pid}/task").glob("*/children")
        has_child = any(one.read_text() for one in files)
        is_calm = now == before and now[0].startswith("State:\tS") and not has_child
        calm, before = calm + 1 if is_calm and not is_locked() else 0, now


def is_locked() -> bool:
    """Whether somebody has the lock for all that we change."""
    with (STATE / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _serve(ready: str) -> None:
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        posix.environ[b"NOTIFY_SOCKET"] = ready.encode()  # as Python found it
        sys.executable = "/usr/bin/python3"
        with patch.object(BackgroundJobs, "ask_libvirtd"):
            daemon.main(str(STATE), str(CONFIG))
    finally:
        os._exit(1)


@contextmanager
def serving() -> Iterator[Service]:
    """One that has gone when the block ends."""
    service = Service()
    try:
        yield service
    finally:
        service.kill()
