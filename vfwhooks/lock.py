"""The lock under which everything of ours is changed: one holder at a time."""

import fcntl
import posix


class Lock:
    """The lock, held until `close`, and on while a tool that inherited it runs.

    The caller's deadline bounds the wait.
    """

    def __init__(self, path: str) -> None:
        flags = posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW
        self.fd = posix.open(path, flags, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def close(self) -> None:
        """Let the next one have it."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        posix.close(self.fd)
