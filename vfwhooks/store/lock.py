"""The lock under which everything of ours is changed: one holder at a time."""

import _signal  # type: ignore[import-not-found]  # signal takes 7 ms for its enums
import fcntl
import posix
import time

from ..values.errors import OutOfTime

_NEVER_ELSEWHERE = posix.O_CLOEXEC | posix.O_NOFOLLOW


class Lock:
    """The lock, held until `close`, and on while a tool that inherited it runs.

    It is waited for `until` then (monotonic), by an alarm where that is not for ever.
    Raises OutOfTime.
    """

    def __init__(self, path: str, until: float = float("inf")) -> None:
        flags = posix.O_RDWR | posix.O_CREAT | _NEVER_ELSEWHERE
        try:
            self.fd = posix.open(path, flags, 0o600)
        except IsADirectoryError:
            # It serves as well. Who would put a file there might take another's lock.
            self.fd = posix.open(path, posix.O_RDONLY | _NEVER_ELSEWHERE)
        try:
            if until == float("inf"):
                fcntl.flock(self.fd, fcntl.LOCK_EX)
            else:
                self._wait(until)
        except BaseException:
            posix.close(self.fd)
            raise

    def _wait(self, until: float) -> None:
        before = _signal.signal(_signal.SIGALRM, _give_up)
        try:
            seconds = max(until - time.monotonic(), 0.001)
            _signal.setitimer(_signal.ITIMER_REAL, seconds)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        finally:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _signal.signal(_signal.SIGALRM, before)

    def close(self) -> None:
        """Let the next one have it."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        posix.close(self.fd)


def _give_up(*_: object) -> None:
    raise OutOfTime("somebody else has the lock")
