"""Processes on terminals: real ones, of 80 columns."""

from __future__ import annotations

import os
import pty
import select
import signal
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from termios import TIOCSCTTY, TIOCSWINSZ

from unit.builders import CHECKOUT


@contextmanager
def child(
    argv: Sequence[str],
    environment: Mapping[str, str],
    lines: int = 24,
    pass_fds: Sequence[int] = (),
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process on a terminal of 80 columns, and our end of the terminal."""
    ours, its = pty.openpty()
    ioctl(its, TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))

    def take_terminal() -> None:
        # A run in the background may have been told to ignore them.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        ioctl(0, TIOCSCTTY, 0)

    with subprocess.Popen(
        argv,
        stdin=its,
        stdout=its,
        stderr=its,
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(CHECKOUT), **environment},
        pass_fds=pass_fds,
        preexec_fn=take_terminal,
    ) as process:
        os.close(its)
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)


def read_until(ours: int, end: str) -> str:
    """What was written on the terminal until something stands there; or all of it."""
    said = b""
    try:
        while not end or end.encode() not in said:
            if not select.select([ours], [], [], 30)[0]:
                break
            said += os.read(ours, 1 << 16)
    except OSError:  # nobody has the other end any more
        pass
    return said.decode().replace("\r\n", "\n")
