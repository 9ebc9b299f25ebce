"""Run a tool: without a shell, with a time limit, and with its output for the error.

subprocess with a time limit polls for the end of the tool in steps, which makes 1.6 ms
of 0.4 ms, and its import costs a hook 3 ms: so this module spawns tools itself. A tool
inherits the lock's descriptor: if our process is killed, the lock stays held until the
tool has ended, so no late transaction of a dead hook follows a newer one.
"""

import os
import select
import time

from ..values.errors import Refused, VfwError

SECONDS = 3.0  # a tool may take, unless its caller says otherwise
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}
_SIGKILL, _SIGPIPE = 9, 13


class Run:
    """Runs tools that inherit the descriptors `keep`. Each tool may take `seconds`, and
    no tool may run longer than `until` (monotonic): a tool that outlives us holds the
    lock. `pids` are the process ids of the tools that ran."""

    def __init__(
        self,
        keep: tuple[int, ...] = (),
        seconds: "float | None" = None,
        until: float = float("inf"),
    ) -> None:
        self.keep = keep
        self.seconds = SECONDS if seconds is None else seconds
        self.until = until
        self.pids: list[int] = []

    def __call__(self, argv: list[str], text: str = "") -> str:
        """Run `argv` with `text` as its standard input; returns its standard output.

        Raises Refused with the tool's own words if its exit status is not 0, and
        VfwError if the tool is not installed or does not end in time.
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
                refused = Refused(f"{argv[0]}: {_said(files, status)}")
                refused.status = status
                raise refused
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
        """The exit status; the pipe closes when the child and all its children have
        ended."""
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
    """The tool's path in the directories that libvirt's confinement allows to hooks."""
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
    """The tool's first line of output, and the second line if the first ends with a
    colon; without output, the exit status."""
    printed = _read(files[2]) + "\n" + _read(files[1])
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    count = 2 if lines and lines[0].endswith(":") else 1
    return " ".join(lines[:count]) or f"exit status {status}"
