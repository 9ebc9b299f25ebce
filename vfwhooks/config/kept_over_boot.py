"""The last good configuration, kept over a boot.

The state directory does not survive a boot, this copy does. A busy disk may need many
seconds for a safe write (fsync): nobody waits for it before the rules are in force, or
with the lock held.
"""

import posix
import syslog

from ..store import files
from ..store.lock import Lock
from ..store.state import State

_FIRST, _LAST = 3, 1 << 12


def keep(state: State) -> None:
    """Write the configuration in force to disk. Raises OSError if that fails."""
    if _in_force(state) in (None, files.read(_path(state))):
        return
    try:
        posix.mkdir(state.kept, 0o700)
    except FileExistsError:
        pass
    with Lock(f"{state.kept}/lock"):
        # Somebody may have put a newer one in force while this process waited.
        data = _in_force(state)
        if data is not None:
            files.write(_path(state), data, f"{state.kept}/.new", durable=True)


def keep_behind(state: State) -> None:
    """`keep` in a process of its own, for which nobody waits. The process has none of
    our descriptors open: no lock, and no pipe whose end somebody waits for, like our
    output."""
    try:
        if posix.fork():
            return
    except OSError as error:  # no memory for a process
        _complain(state, error)
        return
    try:
        posix.setsid()
        nowhere = posix.open("/dev/null", posix.O_RDWR)
        for fd in range(_FIRST):
            posix.dup2(nowhere, fd)
        posix.closerange(_FIRST, _LAST)
        keep(state)
    except OSError as error:
        _complain(state, error)
    finally:
        posix._exit(0)


def _complain(state: State, error: OSError) -> None:
    syslog.openlog("vfwhooks", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_WARNING, complaint(state, error))


def complaint(state: State, error: OSError) -> str:
    """The message for an administrator if the copy cannot be written."""
    return f"{state.kept}: {error.strerror}; not kept over a boot"


def take(state: State) -> None:
    """After a boot: restore the configuration that was in force before."""
    try:
        data = files.read(_path(state))
    except OSError:
        return  # the same as no copy
    if data:
        state.put_compiled(data)


def drop(state: State) -> None:
    """Remove the compiled configuration, so that it is compiled again."""
    state.remove("compiled")
    _remove(_path(state))


def forget(state: State) -> None:
    """Remove the copy. The directory stays: a confined service may not write to a new
    directory of the same name."""
    for name in files.names(state.kept):
        _remove(f"{state.kept}/{name}")


def _remove(path: str) -> None:
    try:
        files.remove(path)
    except IsADirectoryError:
        pass  # no file of ours


def _path(state: State) -> str:
    return f"{state.kept}/compiled"


def _in_force(state: State) -> "bytes | None":
    return files.read(f"{state.path}/compiled")
