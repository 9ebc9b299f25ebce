"""A libvirt hook's Python part: one event in, nothing out, whatever happens.

Started by the sh gates in hooks/, with -IS and only for events that are ours. It writes
the event down and has the service carry it out: what that needs is imported first, and
no more, since each module costs every start 0.2 ms. Where no service answers it waits
for the lock, and only who has the lock, and finds its event still there, imports the
rest of the package (200 imports at once take seconds). It never talks to libvirtd,
which holds the guest while we run. What it imports is pinned by a test.
"""

import faulthandler
import posix
import sys
import syslog
import time

from ..store import files, spool
from ..store.files import CONFIG, STATE
from . import doorbell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# Seconds from the hook's start: until a service is given up, until the lock is, and
# until the hook ends wherever it is.
RING, LOCK, DEADLINE = 1.0, 4.0, 4.4
LAST_WORDS = 0.4
LATE = "late"
_GONE = "stopped", "release"  # no XML is needed for these
_LARGEST = 16 << 20


def main(argv: list[str]) -> None:
    """Carry out one event: driver, name and operation; ends the process."""
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=sys.stderr)
    begun = time.monotonic()
    state = posix.environ.get(b"VFWHOOKS_STATE", STATE.encode()).decode()
    config = posix.environ.get(b"VFWHOOKS_CONFIG", CONFIG.encode()).decode()
    driver, name, operation = argv
    said = []
    try:
        data = b"" if operation in _GONE else read_input()
        event = spool.HookEvent(driver, name, operation, data)
        said = carry_out(state, config, event, begun + LOCK)
    except Exception as error:  # noqa: BLE001 - a defect of ours: say which, harm nobody
        from ..values.errors import why

        said = [f"{name} {operation}: {why(error)}"]
    end(said)


def carry_out(
    state: str, config: str, event: spool.HookEvent, until: float
) -> list[str]:
    """Have the event carried out until then (monotonic); the lines for the log, none
    where somebody else has done it."""
    said = []
    try:
        file = spool.put(state, event)
    except OSError as error:
        file = ""
        said.append(f"{state}: {error.strerror or error}")
    if file and doorbell.ring(state, file, RING) == doorbell.DONE:
        return []
    return said + _without_service(state, config, event, file, until)


def _without_service(
    state: str, config: str, event: spool.HookEvent, file: str, until: float
) -> list[str]:
    """Carry it out with the lock, unless somebody else has done so meanwhile; it is in
    no file where there was no room."""
    from ..store.lock import Lock
    from ..values.errors import OutOfTime

    try:
        lock = Lock(f"{state}/lock", until)
    except OutOfTime as error:
        why = f"{event.name} {event.operation}: {error}"
        if not file:
            return [f"{why}: it is lost, run vfwhooks apply"]
        # No reason to have everything checked, as for a hook that died at work.
        files.write(f"{state}/{LATE}", b"", f"{state}/tmp/{posix.getpid()}")
        return [f"{why}: left to whoever comes next"]
    except FileNotFoundError:
        lock = None  # there is no room for so much as the directory
    if file and lock and not files.exists(f"{state}/{file}"):
        return []
    # Dear, and needed by one hook at a time: the package, and the distribution's.
    import site

    site.main()
    from .hook_without_service import carry_out

    mine = None if file else event
    ends = until + DEADLINE - LOCK
    return carry_out(state, config, mine, lock, until, lambda: detach(ends))


def detach(ends: float) -> None:
    """End for libvirt, which need not wait for what is left: a child goes on, with the
    lock, and without our standard input, which libvirt may be writing to.
    Without room for a child libvirt has to wait, until then at most (monotonic).
    """
    faulthandler.cancel_dump_traceback_later()  # its thread does not come along
    seconds = DEADLINE
    try:
        if posix.fork():
            posix._exit(0)
    except OSError:
        seconds = max(ends - time.monotonic(), 0.001)
    posix.dup2(1, 0)
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)


def read_input() -> bytes:
    """libvirt's XML from standard input. Raises VfwError for more than it ever is."""
    parts, size = [], 0
    while part := posix.read(0, 1 << 16):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            from ..values.errors import VfwError

            raise VfwError(f"more than {_LARGEST >> 20} MiB of XML on standard input")
    return b"".join(parts)


def end(said: list[str]) -> "NoReturn":
    """Say the lines, and end."""
    # A syslog that nobody reads any more would hold us, and the guest, for ever.
    faulthandler.dump_traceback_later(LAST_WORDS, exit=True, file=sys.stderr)
    if said:
        from ..values.errors import show

        syslog.openlog("vfwhooks", syslog.LOG_PID, syslog.LOG_DAEMON)
        for line in said:
            syslog.syslog(syslog.LOG_NOTICE, show(line))
    posix._exit(0)  # taking the interpreter down would cost 1.3 ms
