"""A box: a private machine made of namespaces, with its own root and network.

One process holds it. It ends when its standard input, a pipe from us, ends: by
close(), or by the kernel when this process dies in whatever way. With it go all
processes, mounts and interfaces in there.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .cache import CACHE, LAB, LabError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and its output."""

    command: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def check(self) -> str:
        """The standard output, or LabError where the command failed."""
        if self.status != 0:
            what = " ".join(self.command)
            raise LabError(f"{what}: exit {self.status}\n{self.stderr}{self.stdout}")
        return self.stdout


def wait_until(
    probe: Callable[[], T], what: str | Callable[[], str], timeout: float = 60
) -> T:
    """The first true value of the probe; LabError naming `what` at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            missed = what if isinstance(what, str) else what()
            raise LabError(f"not within {timeout:g} s: {missed}")
        time.sleep(0.02)


class Box:
    """A private machine; see the module. `root` is what its overlay lies on."""

    def __init__(
        self, root: Path, name: str, binds: Mapping[str, Path] | None = None
    ) -> None:
        self.name = name
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        # All boxes use this one, each with its own mount on it that only it sees.
        base = CACHE / "box"
        base.mkdir(parents=True, exist_ok=True)
        shared = [f"{source}={target}" for target, source in (binds or {}).items()]
        namespaces = ["--mount", "--net", "--uts", "--ipc", "--pid"]
        self._holder = subprocess.Popen(
            [
                *("unshare", *namespaces, "--propagation", "private"),
                *("--fork", "--kill-child", "--"),
                *("sh", str(LAB / "box.sh"), str(root), str(base), name, *shared),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        )
        try:
            self.pid = int(self._read_line())
            ready = self._read_line()
        except ValueError:
            ready = ""
        if ready != "ready":
            self._holder.kill()
            _, errors = self._holder.communicate()
            self.close()
            raise LabError(f"box {name}: {errors.strip() or 'not ready'}")

    def _read_line(self, timeout: float = 60) -> str:
        out = self._holder.stdout
        assert out is not None
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([out], [], [], timeout)[0]:
                return ""
            byte = os.read(out.fileno(), 1)
            if not byte:
                return ""
            line += byte
        return line.decode().strip()

    def close(self) -> None:
        """Ends everything in the box; returns when it is gone."""
        # A socket of ours would keep its network namespace.
        for sock in list(self.sockets):
            sock.close()
        for stream in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            if stream is not None:
                stream.close()
        try:
            self._holder.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()

    @property
    def netns(self) -> Path:
        """The box's own network namespace, as a path for setns."""
        return Path(f"/proc/{self.pid}/ns/net")

    def path(self, inside: str) -> Path:
        """A path of the box as this process can open it.

        Absolute links in there would lead out of the box: name their targets.
        """
        return Path(f"/proc/{self.pid}/root{inside}")

    def call(
        self,
        command: Sequence[str],
        *,
        input: str = "",
        timeout: float = 60,
        netns: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """Runs a command in the box, or in another network namespace of it.

        Output goes through files: a daemon that the command leaves behind may
        keep a pipe open for ever. The time limit is kept inside, where all the
        command's children can be reached.
        """
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--ipc"]
        enter += ["--pid", f"--net={netns or self.netns}", "--"]
        variables = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **(env or {})}
        begun = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run(
                [*enter, "timeout", "--kill-after=2", f"{timeout:g}", *command],
                input=input.encode(),
                stdout=out,
                stderr=err,
                env=variables,
                timeout=timeout + 30,
                check=False,
            )
            out.seek(0)
            err.seek(0)
            stdout, stderr = (f.read().decode(errors="replace") for f in (out, err))
        if done.returncode in (124, 137) and time.monotonic() - begun >= timeout:
            raise LabError(f"{' '.join(command)}: not done in {timeout:g} s\n{stderr}")
        return Done(tuple(command), done.returncode, stdout, stderr)
