"""Children of the service, of whose end it hears by poll: it never waits for one."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..host.run import PATH

SECONDS = 60.0
_SIGKILL = 9
_ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit status, below 0 the signal's number; what it said."""

    status: int
    said: str


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    until: float
    on_end: Callable[[Ended], None]
    said: bytes = b""


class Children:
    """Those that run, one for each errand's name, by the pipe that is their output;
    they have nothing in their environment but what tools need, and `more`."""

    def __init__(self, poll: select.poll, **more: str) -> None:
        self._poll = poll
        self._environment = {**_ENVIRONMENT, **more}
        self._children: dict[int, _Child] = {}
        self._names: dict[str, int] = {}

    def is_at(self, name: str) -> bool:
        """Whether a child is at this errand."""
        return name in self._names

    def start(
        self,
        name: str,
        argv: list[str],
        on_end: Callable[[Ended], None],
        seconds: float = SECONDS,
    ) -> None:
        """Have a child run `argv`, for so many seconds at most. Raises OSError."""
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
        )
        assert process.stdout
        fd = process.stdout.fileno()
        os.set_blocking(fd, False)
        self._children[fd] = _Child(process, time.monotonic() + seconds, on_end)
        self._names[name] = fd
        self._poll.register(fd, select.POLLIN)

    def knows(self, fd: int) -> bool:
        """Whether the descriptor is a child's."""
        return fd in self._children

    def hear(self, fd: int) -> None:
        """What a child says, or its end."""
        child = self._children[fd]
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        child.said += data
        if not data:
            self._end(fd)

    def next(self) -> float:
        """When the first of them has had its time; infinite where there is none."""
        return min((c.until for c in self._children.values()), default=float("inf"))

    def end_late_ones(self) -> None:
        """End those that have had their time."""
        now = time.monotonic()
        for fd, child in list(self._children.items()):
            if child.until <= now:
                child.process.kill()
                self._end(fd)

    def _end(self, fd: int) -> None:
        child = self._children.pop(fd)
        self._names = {name: at for name, at in self._names.items() if at != fd}
        self._poll.unregister(fd)
        assert child.process.stdout
        child.process.stdout.close()
        # Its output is over, and so is it, or about to be.
        status = _status(child.process)
        if status is None:
            child.process.kill()
            status = _status(child.process)
        # One that the kernel does not let end (a disk that hangs) is not waited for: it
        # is reaped when another is started.
        status = -_SIGKILL if status is None else status
        child.on_end(Ended(status, child.said.decode(errors="replace")))


def _status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return None
