"""The lock for all that we change: one process holds it at a time."""

import _signal  # type: ignore[import-not-found]  # signal takes 7 ms for its enums
import fcntl
import posix
import time

from ..values.errors import OutOfTime

_NEVER_ELSEWHERE = posix.O_CLOEXEC | posix.O_NOFOLLOW
_ANOTHER = 0.05  # seconds until the alarm repeats


class Lock:
    """The lock, held until `close`, and longer while a tool that inherited it runs.

    The constructor waits until the time `until` (monotonic), with an alarm unless that
    is infinite. Raises OutOfTime. How long that is, service/hook.py and
    service/daemon.py say.
    """

    def __init__(self, path: str, until: float = float("inf")) -> None:
        fd = _locked(path, until)
        while not _is_at(path, fd):
            # The state directory was made anew: other processes lock the new file.
            posix.close(fd)
            fd = _locked(path, until)
        self.fd = fd

    def close(self) -> None:
        """Release the lock."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        posix.close(self.fd)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _locked(path: str, until: float) -> int:
    fd = _open(path)
    try:
        _wait(fd, until)
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _open(path: str) -> int:
    flags = posix.O_RDWR | posix.O_CREAT | _NEVER_ELSEWHERE
    try:
        return posix.open(path, flags, 0o600)
    except IsADirectoryError:
        # A directory can be locked as well. To put a file in its place might give two
        # processes the lock.
        return posix.open(path, posix.O_RDONLY | _NEVER_ELSEWHERE)


def _is_at(path: str, fd: int) -> bool:
    try:
        there, ours = posix.stat(path), posix.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _wait(fd: int, until: float) -> None:
    if until == float("inf"):
        fcntl.flock(fd, fcntl.LOCK_EX)
        return
    before = _signal.signal(_signal.SIGALRM, _give_up)
    try:
        seconds = max(until - time.monotonic(), 0.001)
        # The alarm repeats: the first one may come before flock has begun to wait.
        _signal.setitimer(_signal.ITIMER_REAL, seconds, _ANOTHER)
        fcntl.flock(fd, fcntl.LOCK_EX)
    finally:
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        _signal.signal(_signal.SIGALRM, before)


def _give_up(*_: object) -> None:
    raise OutOfTime("somebody else has the lock")
