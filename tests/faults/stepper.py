"""Runs a command and does something to it at one of its system calls, by ptrace.

Counted are the calls of Python once it has reached the product, and those of the tools
that it starts; sh in front of it, and the interpreter's own start, run as they are.
For x86-64, as the lab is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from standin import LIMIT

_TRACEME, _PEEKDATA, _CONT, _GETREGS, _SETREGS = 0, 2, 7, 12, 13
_SYSCALL, _SETOPTIONS, _GETEVENTMSG = 24, 0x4200, 0x4201
_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_POLL, _RESTART = 7, 219
_GOOD, _FORK, _VFORK, _CLONE, _EXEC, _EXITKILL = 1, 2, 4, 8, 16, 1 << 20
_EVENT_FORK, _EVENT_VFORK, _EVENT_CLONE, _EVENT_EXEC = 1, 2, 3, 4
_WALL = 0x40000000
_NOSYS = -38
_NAMES = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs "
    "eflags rsp ss fs_base gs_base ds es fs gs"
)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class _Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in _NAMES.split()]


class Point(NamedTuple):
    """One system call of the run: whose it is, and its number in the kernel's table."""

    process: str
    number: int


class Stepped(NamedTuple):
    """How the run ended: the command's own status and output, and every call."""

    status: int
    stdout: str
    points: list[Point]
    seconds: float


Act = Callable[["Tracee", int], None]


@contextlib.contextmanager
def within(seconds: float, where: Callable[[], object]) -> Iterator[None]:
    """An AssertionError, with where it was, for what does not end in time."""

    def ring(*_: object) -> None:
        raise AssertionError(f"not within {seconds} s; the last calls: {where()}")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Tracee:
    """A process of the run that has stopped before or behind a system call."""

    def __init__(self, pid: int, name: str) -> None:
        self.pid = pid
        self.name = name
        self.is_inside = False
        self.answer: int | None = None
        self.is_counted = False

    def registers(self) -> _Registers:
        """What the call is given, or what came of it."""
        found = _Registers()
        _ptrace(_GETREGS, self.pid, None, ctypes.addressof(found))
        return found

    def set(self, registers: _Registers) -> None:
        """Change that."""
        _ptrace(_SETREGS, self.pid, None, ctypes.addressof(registers))

    def fail(self, errno: int) -> None:
        """Have this call do nothing and fail with the error."""
        registers = self.registers()
        registers.orig_rax = (1 << 64) - 1
        self.set(registers)
        self.answer = -errno

    def kill(self) -> None:
        """End it here, at once."""
        os.kill(self.pid, signal.SIGKILL)

    def path(self, argument: str) -> str:
        """The text that one of the call's arguments points to."""
        address = getattr(self.registers(), argument)
        found = b""
        while b"\0" not in found and len(found) < 300:
            ctypes.set_errno(0)
            word = _libc.ptrace(_PEEKDATA, self.pid, address + len(found), None)
            if word == -1 and ctypes.get_errno():
                break
            found += (word & (1 << 64) - 1).to_bytes(8, "little")
        return found.partition(b"\0")[0].decode(errors="replace")


def _ptrace(what: int, pid: int, address: int | None, data: int | None) -> None:
    if _libc.ptrace(what, pid, address, data) == -1:
        raise OSError(ctypes.get_errno(), f"ptrace {what}")


def step(
    argv: Sequence[str],
    environment: Mapping[str, str],
    stdin: str,
    before: Act | None = None,
    behind: Act | None = None,
    marker: str = "/../vfwhooks",
) -> Stepped:
    """Run a command; `before` and `behind` are called at every call that counts, with
    its number from 0. `marker` is in the path whose opening starts the count.
    """
    given, said = os.memfd_create("stdin"), os.memfd_create("stdout")
    os.write(given, os.fsencode(stdin))
    os.lseek(given, 0, 0)
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(given, 0)
        os.dup2(said, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _libc.ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execve(argv[0], list(argv), dict(environment))
    os.close(given)
    os.waitpid(child, 0)
    options = _GOOD | _FORK | _VFORK | _CLONE | _EXEC | _EXITKILL
    _ptrace(_SETOPTIONS, child, None, options)
    run = _Run(child, before, behind, marker)
    with within(LIMIT, lambda: run.points[-3:]):
        status = run.follow()
    stdout = os.pread(said, 1 << 16, 0).decode(errors="replace")
    os.close(said)
    return Stepped(status, stdout, run.points, time.monotonic() - begun)


def step_other(
    pid: int,
    argv: Sequence[str],
    environment: Mapping[str, str],
    stdin: str,
    before: Callable[[Tracee, int], bool] | None = None,
) -> Stepped:
    """Run a command beside a child of ours that waits for news by poll, and step that
    one until the command has ended and it waits again. `before` is called at each of
    its calls, and says whether it has killed or stopped it: then it is left so.
    """
    other = _Other(pid, before)
    given, said = os.memfd_create("stdin"), os.memfd_create("stdout")
    os.write(given, os.fsencode(stdin))
    os.lseek(given, 0, 0)
    begun = time.monotonic()
    with Path(os.devnull).open("wb") as nowhere:
        command = subprocess.Popen(
            argv, env=environment, stdin=given, stdout=said, stderr=nowhere
        )
    os.close(given)
    with within(LIMIT, lambda: other.points[-3:]):
        status, seconds = other.follow(command.pid, begun)
    command.returncode = status
    stdout = os.pread(said, 1 << 16, 0).decode(errors="replace")
    os.close(said)
    return Stepped(status, stdout, other.points, seconds)


class _Other:
    """A process that is stepped while a command runs beside it."""

    def __init__(
        self, pid: int, before: Callable[[Tracee, int], bool] | None = None
    ) -> None:
        self.tracee = Tracee(pid, "service")
        self.before = before
        self.points: list[Point] = []
        self.is_traced = True
        self._status: int | None = None
        _ptrace(_SEIZE, pid, None, _GOOD | _EXITKILL)
        _ptrace(_INTERRUPT, pid, None, None)
        os.waitpid(pid, _WALL)
        _ptrace(_SYSCALL, pid, None, 0)

    def follow(self, command: int, begun: float) -> tuple[int, float]:
        """Until the command has ended; its status, and after how long."""
        seconds = 0.0
        while self._status is None or self.is_traced:
            pid, stopped = os.waitpid(-1, _WALL)
            if pid == command:
                self._status = os.waitstatus_to_exitcode(stopped)
                seconds = time.monotonic() - begun
                if self.is_traced and self._is_at_rest():
                    self._interrupt()
            elif pid == self.tracee.pid and self.is_traced:
                with contextlib.suppress(ProcessLookupError):  # as in _Run
                    self._stopped(stopped)
        return self._status, seconds

    def _is_at_rest(self) -> bool:
        last = self.points[-1].number if self.points else _POLL
        return self.tracee.is_inside and last in (_POLL, _RESTART)

    def _interrupt(self) -> None:
        """It may wait for ever, which is what it is to do."""
        with contextlib.suppress(ProcessLookupError):
            _ptrace(_INTERRUPT, self.tracee.pid, None, None)

    def _stopped(self, how: int) -> None:
        if os.WIFEXITED(how) or os.WIFSIGNALED(how):
            self.is_traced = False
            return
        what, is_event = os.WSTOPSIG(how), how >> 16 != 0
        is_call = what == signal.SIGTRAP | 0x80
        if is_call:
            self.tracee.is_inside = not self.tracee.is_inside
        if is_call and self.tracee.is_inside:
            number = self.tracee.registers().orig_rax
            if self._status is not None and number in (_POLL, _RESTART):
                self._let_go()
                return
            self.points.append(Point("service", number))
            if self.before and self.before(self.tracee, len(self.points) - 1):
                self._let_go()
                return
        elif is_event and self._status is not None:
            self._let_go()  # it was interrupted while it waited
            return
        with_signal = 0 if is_call or is_event else what
        with contextlib.suppress(ProcessLookupError):
            _ptrace(_SYSCALL, self.tracee.pid, None, with_signal)

    def _let_go(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            _ptrace(_DETACH, self.tracee.pid, None, 0)
        self.is_traced = False


class _Run:
    """One run, from the first stop to the end of the last process."""

    def __init__(
        self, root: int, before: Act | None, behind: Act | None, marker: str
    ) -> None:
        self.root = root
        self.tracees = {root: Tracee(root, "sh")}
        self.before = before
        self.behind = behind
        self.marker = marker
        self.is_reached = False
        self.points: list[Point] = []
        self._go(self.tracees[root])

    def follow(self) -> int:
        """Until the command has ended, and all that it has started."""
        status = 0
        while self.tracees:
            try:
                pid, stopped = os.waitpid(-1, _WALL)
            except ChildProcessError:
                break
            if os.WIFEXITED(stopped) or os.WIFSIGNALED(stopped):
                if self.tracees.pop(pid, None) and pid == self.root:
                    status = os.waitstatus_to_exitcode(stopped)
                continue
            tracee = self.tracees.setdefault(pid, Tracee(pid, "new"))
            # One that another process kills while it is stopped is heard of once more.
            with contextlib.suppress(ProcessLookupError):
                self._stopped(tracee, os.WSTOPSIG(stopped), stopped >> 16)
        return status

    def _stopped(self, tracee: Tracee, what: int, event: int) -> None:
        if what == signal.SIGTRAP | 0x80:
            self._called(tracee)
            self._go(tracee)
        elif event == _EVENT_EXEC:
            tracee.name = _name(tracee.pid)
            tracee.is_inside = True  # execve itself has still to return
            self._go(tracee)
        elif event in (_EVENT_FORK, _EVENT_VFORK, _EVENT_CLONE):
            number = ctypes.c_ulong()
            _ptrace(_GETEVENTMSG, tracee.pid, None, ctypes.addressof(number))
            new = self.tracees.setdefault(number.value, Tracee(number.value, "new"))
            is_thread = event == _EVENT_CLONE
            new.name = "thread" if is_thread else tracee.name
            self._go(tracee)
        else:
            is_first = what == signal.SIGSTOP
            self._go(tracee, 0 if is_first or what == signal.SIGTRAP else what)

    def _called(self, tracee: Tracee) -> None:
        tracee.is_inside = not tracee.is_inside
        if tracee.is_inside:
            if not self.is_reached:
                if tracee.registers().orig_rax == 257:  # openat
                    self.is_reached = self.marker in tracee.path("rsi")
                return
            if tracee.name in ("sh", "dash", "logger"):
                return
            tracee.is_counted = True
            self.points.append(Point(tracee.name, tracee.registers().orig_rax))
            if self.before:
                self.before(tracee, len(self.points) - 1)
            return
        if tracee.answer is not None:
            registers = tracee.registers()
            registers.rax = tracee.answer & (1 << 64) - 1
            tracee.set(registers)
            tracee.answer = None
        if tracee.is_counted and self.behind:
            tracee.is_counted = False
            self.behind(tracee, len(self.points) - 1)

    def _go(self, tracee: Tracee, with_signal: int = 0) -> None:
        is_quick = tracee.name in ("sh", "dash", "logger", "thread")
        try:
            how = _CONT if is_quick else _SYSCALL
            _ptrace(how, tracee.pid, None, with_signal)
        except ProcessLookupError:
            pass  # it was killed meanwhile


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/exe").readlink().name
