"""inotify through libc: Python's library has no inotify."""

import ctypes
import errno
import os
import struct

MODIFY, ATTRIB, CLOSE_WRITE = 0x002, 0x004, 0x008
MOVED_FROM, MOVED_TO = 0x040, 0x080
CREATE, DELETE = 0x100, 0x200
_IN_IGNORED, _IN_Q_OVERFLOW = 0x8000, 0x4000
_IN_MASK_ADD = 0x20000000  # keep the events that are watched already
_EVENT = struct.Struct("=iIII")


class Inotify:
    """Watches directories and reports the names that changed in them."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            about = f"{os.strerror(number)}; fs.inotify.max_user_instances may be small"
            raise OSError(number, about)
        self._directories: dict[int, str] = {}
        self.is_short = False

    def fileno(self) -> int:
        descriptor: int = self._fd
        return descriptor

    def add(self, directory: str, mask: int) -> bool:
        """Watch a directory, if it exists; True if it was not watched before. Sets
        `is_short` if the kernel has no room for another watch of this user."""
        name = directory.encode()
        number = self._libc.inotify_add_watch(self._fd, name, mask | _IN_MASK_ADD)
        if number < 0 and ctypes.get_errno() in (errno.ENOSPC, errno.ENOMEM):
            self.is_short = True
        if number < 0 or number in self._directories:
            return False
        self._directories[number] = directory
        return True

    def read(self) -> set[str]:
        """The paths that changed since the last read; a directory itself stands for
        names that were lost."""
        found: set[str] = set()
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return found
        at = 0
        while at + _EVENT.size <= len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            name = (
                data[at : at + length].rstrip(b"\0").decode("utf-8", "surrogateescape")
            )
            at += length
            if mask & _IN_Q_OVERFLOW:
                found.update(self._directories.values())
            elif number in self._directories:
                directory = self._directories[number]
                found.add(f"{directory}/{name}" if name else directory)
                if mask & _IN_IGNORED:
                    del self._directories[number]
        return found
