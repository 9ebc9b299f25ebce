"""Children of the service: poll reports their end, and the service waits for none."""

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
    """The end of a child: its exit status (negative: the number of a signal), its
    output."""

    status: int
    said: str


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    until: float
    on_end: Callable[[Ended], None]
    said: bytes = b""


class Children:
    """The running children, one for each job's name, by the descriptor of their output.
    Their environment has only what tools need, and `more`."""

    def __init__(self, poll: select.poll, **more: str) -> None:
        self._poll = poll
        self._environment = {**_ENVIRONMENT, **more}
        self._children: dict[int, _Child] = {}
        self._names: dict[str, int] = {}

    def is_at(self, name: str) -> bool:
        """Whether a child runs for this job."""
        return name in self._names

    def start(
        self,
        name: str,
        argv: list[str],
        on_end: Callable[[Ended], None],
        seconds: float = SECONDS,
    ) -> None:
        """Have a child run `argv`, for `seconds` at most. Raises OSError."""
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
        """Read a child's output, or notice its end."""
        child = self._children[fd]
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        child.said += data
        if not data:
            self._end(fd)

    def next(self) -> float:
        """When the first child's time is over (monotonic); infinite if none runs."""
        return min((c.until for c in self._children.values()), default=float("inf"))

    def end_late_ones(self) -> None:
        """Kill the children whose time is over."""
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
        # The child has closed its output: it has ended, or is about to.
        status = _status(child.process)
        if status is None:
            child.process.kill()
            status = _status(child.process)
        # A child that the kernel does not let end (a disk that hangs) is not waited
        # for: Python reaps it when another child starts.
        status = -_SIGKILL if status is None else status
        child.on_end(Ended(status, child.said.decode(errors="replace")))


def _status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return None
