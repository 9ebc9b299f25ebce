"""The events that hooks have written down, until somebody has carried them out.

One file an event in the state directory's spool/, whole or not there at all:

    STAMP-PID.1    driver, name, operation, each with a zero byte behind it, and then
                   what libvirt gave on standard input

The number behind the dot is the format's. A file of another format is left alone: it
is another release's, which was here a moment ago, or is about to be. A hook writes
them itself (service/hook.py).
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
    """What libvirt told a hook: the driver (the hook's own name), the guest or network,
    the operation, and the XML, as they came; `stamp` is when (monotonic ns)."""

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
    """All that wait, the oldest first, each with its file below the state directory;
    None for one that is none. Raises OSError where the host cannot read for a moment.
    """
    found: list[tuple[str, HookEvent | None]] = []
    for name in sorted(files.names(f"{state}/{_DIRECTORY}")):
        if name.endswith(FORMAT):
            file = f"{_DIRECTORY}/{name}"
            try:
                data = files.read(f"{state}/{file}")
            except OSError as error:
                if error.errno not in _NO_FILE:
                    raise  # no descriptor, no memory: it is good, and stays
                found.append((file, None))
                continue
            if data is not None:
                found.append((file, _parse(name, data)))
    return found


def has_any(state: str) -> bool:
    """Whether any event waits."""
    names = files.names(f"{state}/{_DIRECTORY}")
    return any(name.endswith(FORMAT) for name in names)


def _parse(name: str, data: bytes) -> "HookEvent | None":
    try:
        *words, xml = data.split(b"\0", 3)
        driver, guest, operation = (w.decode("utf-8", "surrogateescape") for w in words)
        return HookEvent(driver, guest, operation, xml, int(name.partition("-")[0]))
    except ValueError:
        return None


def make(state: str) -> None:
    """Make what a hook needs to write its event down. Raises OSError."""
    for name in _NEEDED:
        try:
            posix.mkdir(f"{state}/{name}", 0o700)
        except FileExistsError:
            pass
    if not stat.S_ISDIR(posix.lstat(state).st_mode):
        raise NotADirectoryError(f"{state} is no directory")
