"""Run a tool: no shell, bounded in time, its own words kept for the error message.

subprocess, given a time limit, looks for the tool's end in steps, which makes 1.6 ms of
0.4, and costs a hook 3 ms to import: so this spawns by hand. The lock's descriptor goes
along: if we are killed, the lock stays held until the tool has ended too, so that no
late transaction of a dead hook overtakes its successor's.
"""

import os
import select
import time

from ..values.errors import Refused, VfwError

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}
_SIGKILL, _SIGPIPE = 9, 13


class Run:
    """Runs tools that inherit the descriptors `keep` and may take `seconds` each, and
    no longer than `until` (monotonic): a tool that outlives us holds the lock. `pids`
    are the tools that ran.
    """

    def __init__(
        self,
        keep: tuple[int, ...] = (),
        seconds: float = 3.0,
        until: float = float("inf"),
    ) -> None:
        self.keep = keep
        self.seconds = seconds
        self.until = until
        self.pids: list[int] = []

    def __call__(self, argv: list[str], text: str = "") -> str:
        """Run `argv` with `text` as its standard input; what it printed.

        Raises Refused with the tool's own words when it exits non-zero, and VfwError
        when it is not installed or does not end.
        """
        path = find(argv[0])
        if path is None:
            raise VfwError(f"{argv[0]} is not installed", f"looked in {PATH}")
        files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        alive, its_end = os.pipe()
        try:
            _write(files[0], text.encode("utf-8", "surrogateescape"))
            os.lseek(files[0], 0, 0)
            try:
                child = self._spawn(path, argv, files, its_end)
                self.pids.append(child)
            finally:
                os.close(its_end)
            status = self._wait(argv[0], child, alive)
            if status != 0:
                raise Refused(f"{argv[0]}: {_said(files, status)}")
            return _read(files[1])
        finally:
            for fd in (*files, alive):
                os.close(fd)

    def _spawn(self, path: str, argv: list[str], files: list[int], end: int) -> int:
        for fd in (*self.keep, end):
            os.set_inheritable(fd, True)
        actions = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(files)]
        return os.posix_spawn(
            path, argv, _ENVIRONMENT, file_actions=actions, setsigdef=[_SIGPIPE]
        )

    def _wait(self, tool: str, child: int, alive: int) -> int:
        """The exit status; the pipe ends with the child and all that it started."""
        poll = select.poll()
        poll.register(alive, select.POLLIN)
        seconds = max(0.0, min(self.seconds, self.until - time.monotonic()))
        ended = poll.poll(seconds * 1000)
        if not ended:
            os.kill(child, _SIGKILL)
        _, status = os.waitpid(child, 0)
        if not ended:
            raise VfwError(f"{tool} did not end within {seconds:.3g} s and was killed")
        return os.waitstatus_to_exitcode(status)


def find(tool: str) -> "str | None":
    """The tool's path in the directories that libvirt's confinement lets hooks use."""
    if "/" in tool:
        return tool
    for directory in PATH.split(":"):
        path = f"{directory}/{tool}"
        if os.access(path, os.X_OK):
            return path
    return None


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _read(fd: int) -> str:
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0).decode("utf-8", "surrogateescape")


def _said(files: list[int], status: int) -> str:
    """The first line that the tool has to say, with the next where it has only begun
    there; or how it ended."""
    printed = _read(files[2]) + "\n" + _read(files[1])
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    count = 2 if lines and lines[0].endswith(":") else 1
    return " ".join(lines[:count]) or f"exit status {status}"
