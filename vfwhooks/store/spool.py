"""The spool: events that hooks have written and no process has carried out yet.

Each event is one file in the state directory's spool/, whole or not there at all:

    STAMP-PID.1    driver, name, operation, each with a zero byte behind it, and then
                   what libvirt gave on standard input

The number behind the dot is the format. A file of another format is left alone: it
belongs to another release, which was installed a moment ago, or is about to be. A hook
writes the files itself (service/hook.py).
"""

import errno
import posix
import stat
import time

from . import files

FORMAT = ".1"
_DIRECTORY = "spool"
_NEEDED = "", "spool", "tmp"
_NO_FILE = errno.EFBIG, errno.EISDIR, errno.ELOOP


class HookEvent:
    """An event as libvirt told it to a hook: the driver (the hook's own name), the
    guest or network, the operation and the XML, unchanged; `stamp` is the time
    (monotonic ns)."""

    __slots__ = ("data", "driver", "name", "operation", "stamp")

    def __init__(
        self, driver: str, name: str, operation: str, data: bytes, stamp: int = 0
    ) -> None:
        self.driver = driver
        self.name = name
        self.operation = operation
        self.data = data
        self.stamp = stamp or time.monotonic_ns()


def waiting(state: str) -> "list[tuple[str, HookEvent | None]]":
    """All events in the spool, the oldest first, each with its file's path below the
    state directory; None for a file that is no event. Raises OSError if a file cannot
    be read for the moment."""
    found: list[tuple[str, HookEvent | None]] = []
    for name in sorted(files.names(f"{state}/{_DIRECTORY}")):
        if name.endswith(FORMAT):
            file = f"{_DIRECTORY}/{name}"
            try:
                data = files.read(f"{state}/{file}")
            except OSError as error:
                if error.errno not in _NO_FILE:
                    raise  # no descriptor or no memory: the file is good, and stays
                found.append((file, None))
                continue
            if data is not None:
                found.append((file, _parse(name, data)))
    return found


def has_any(state: str) -> bool:
    """Whether the spool contains an event."""
    names = files.names(f"{state}/{_DIRECTORY}")
    return any(name.endswith(FORMAT) for name in names)


def _parse(name: str, data: bytes) -> "HookEvent | None":
    try:
        *words, xml = data.split(b"\0", 3)
        driver, guest, operation = (w.decode("utf-8", "surrogateescape") for w in words)
        if not driver.isalpha():
            return None  # no hook of ours has this name, and files get it
        return HookEvent(driver, guest, operation, xml, int(name.partition("-")[0]))
    except ValueError:
        return None


def make(state: str) -> None:
    """Make the directories that a hook needs to write its event. Raises OSError."""
    for name in _NEEDED:
        try:
            posix.mkdir(f"{state}/{name}", 0o700)
        except FileExistsError:
            pass
    if not stat.S_ISDIR(posix.lstat(state).st_mode):
        raise NotADirectoryError(f"{state} is no directory")
