"""The last good configuration, kept for the time after a boot.

The state directory does not outlive a boot, and this does. A busy disk may take many
seconds to have something safe: nobody waits for that before the rules are in force, or
with the lock held.
"""

import posix
import syslog

from ..store import files
from ..store.lock import Lock
from ..store.state import State

_FIRST, _LAST = 3, 1 << 12


def keep(state: State) -> None:
    """Have on disk what is in force. Raises OSError where that cannot be written."""
    if _in_force(state) in (None, files.read(_path(state))):
        return
    try:
        posix.mkdir(state.kept, 0o700)
    except FileExistsError:
        pass
    lock = Lock(f"{state.kept}/lock")
    try:
        # Somebody may have put a newer one in force while we waited.
        data = _in_force(state)
        if data is not None:
            files.write(_path(state), data, f"{state.kept}/.new", durable=True)
    finally:
        lock.close()


def keep_behind(state: State) -> None:
    """The same in a process of its own, which nobody waits for, and which holds nothing
    of ours open: no lock, and no pipe whose end somebody awaits, be it our output."""
    try:
        if posix.fork():
            return
    except OSError as error:  # no room for a process
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
    """What an administrator is told when it cannot be kept."""
    return f"{state.kept}: {error.strerror}; not kept over a boot"


def take(state: State) -> None:
    """After a boot: what was in force before it."""
    try:
        data = files.read(_path(state))
    except OSError:
        return  # as good as none
    if data:
        state.put_compiled(data)


def drop(state: State) -> None:
    """Have the configuration compiled anew."""
    state.remove("compiled")
    _remove(_path(state))


def forget(state: State) -> None:
    """Keep nothing. The directory stays: to a service that runs confined another one
    of its name is a place where it may not write."""
    for name in files.names(state.kept):
        _remove(f"{state.kept}/{name}")


def _remove(path: str) -> None:
    try:
        files.remove(path)
    except IsADirectoryError:
        pass  # none of ours


def _path(state: State) -> str:
    return f"{state.kept}/compiled"


def _in_force(state: State) -> "bytes | None":
    return files.read(f"{state.path}/compiled")
