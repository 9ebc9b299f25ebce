"""A libvirt hook's Python part: one event in, no output, whatever happens.

The sh gates in hooks/ start it with -IS, for events that are ours. It writes the event
to the spool and rings: it sends the file's name to the service, waits for one byte,
which comes when the kernel has the rules, and ends. All of this is in one module, since
each module costs every start 0.2 ms; store/spool.py reads the files,
service/ringing_hooks.py is the service's side of the doorbell.

A hook that gets no answer writes the mark `deaf`: while it exists, no hook rings, and a
service that is alive removes it. Without an answer the hook waits for the lock. Only
the holder of the lock imports the rest of the package, if its event is still in the
spool (200 imports at once take seconds). A hook never talks to libvirtd, which holds
the guest while the hook runs. A test pins the imports.
"""

import faulthandler
import posix
import sys
import time
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET
from _socket import socket as Socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    # An event: driver, name, operation and XML, and the time (monotonic ns).
    Event = tuple[str, str, str, bytes, int]

# Seconds from the hook's start: until it gives the service up, until it gives the lock
# up, and until it ends in any case. How long a holder keeps the lock while hooks wait
# is in reconcile/reconciler.py.
RING_TIMEOUT, LOCK_TIMEOUT, DEADLINE = 1.0, 4.0, 4.4
LAST_WORDS = 0.4
DONE, NOT_DONE, NOBODY, SILENT = "done", "not done", "nobody", "silent"
BELL, DEAF, LATE = "doorbell", "deaf", "late"
YES, NO = b"1", b"0"
_STATE, _CONFIG = "/run/vfwhooks", "/etc/vfwhooks/forwards.yaml"  # as in store/files
_FORMAT = ".1"  # as in store/spool
_GONE = "stopped", "release"  # these operations need no XML
_LARGEST = 16 << 20


def main(argv: list[str]) -> None:
    """Carry out one event: driver, name and operation; ends the process."""
    _end_in(DEADLINE)
    begun = time.monotonic()
    state = posix.environ.get(b"VFWHOOKS_STATE", _STATE.encode()).decode()
    config = posix.environ.get(b"VFWHOOKS_CONFIG", _CONFIG.encode()).decode()
    driver, name, operation = argv
    said = []
    try:
        data = b"" if operation in _GONE else read_input()
        event = driver, name, operation, data, time.monotonic_ns()
        said = carry_out(state, config, event, begun + LOCK_TIMEOUT)
    except Exception as error:  # noqa: BLE001 - a defect of ours: say which, harm nobody
        from ..values.errors import why

        said = [f"{name} {operation}: {why(error)}"]
    end(said)


def carry_out(state: str, config: str, event: "Event", until: float) -> list[str]:
    """Have the event carried out until the time `until` (monotonic); the lines for the
    log, none if another process has done it."""
    said = []
    try:
        file = put(state, event)
    except OSError as error:
        file = ""
        said.append(f"{state}: {error.strerror or error}")
    if file and ring(state, file, RING_TIMEOUT) == DONE:
        return []
    return said + _without_service(state, config, event, file, until)


def put(state: str, event: "Event") -> str:
    """Write the event to the spool; the file's path below the state directory.

    Raises OSError, also if the directory is not ours.
    """
    *words, data, stamp = event
    name = f"spool/{stamp:020d}-{posix.getpid()}{_FORMAT}"
    head = "".join(f"{word}\0" for word in words).encode("utf-8", "surrogateescape")
    try:
        about = posix.lstat(state)
        if about.st_uid != posix.geteuid() or about.st_mode & 0o022:
            raise PermissionError(f"{state} is not ours alone")
        _write(state, name, head + data)
    except FileNotFoundError:  # the first event after a boot, or an upgrade
        from ..store.spool import make

        make(state)
        _write(state, name, head + data)
    return name


def ring(state: str, file: str, seconds: float) -> str:
    """Ring for the event's file, and wait for an answer for `seconds`.

    DONE: its rules are in the kernel; NOT_DONE: the service could not do it; NOBODY: no
    service is there; SILENT: the service does not answer, and the mark says so.
    """
    if posix.access(f"{state}/{DEAF}", posix.F_OK):
        return NOBODY
    try:
        link = Socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    except OSError:
        return NOBODY
    try:
        link.settimeout(seconds)
        link.connect(f"{state}/{BELL}")
        link.send(file.encode())
        answer = link.recv(1)
    except TimeoutError:
        try:
            _write(state, DEAF, b"")
        except OSError:
            pass  # no room for the mark: the next hook rings in vain, too
        return SILENT
    except OSError:
        return NOBODY
    finally:
        link.close()
    return {YES: DONE, NO: NOT_DONE}.get(answer, NOBODY)


def _write(state: str, name: str, data: bytes) -> None:
    """Write a file of the state directory, by rename. Raises OSError."""
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC
    temporary = f"{state}/tmp/{posix.getpid()}"
    fd = posix.open(temporary, flags | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[posix.write(fd, data) :]
    finally:
        posix.close(fd)
    posix.rename(temporary, f"{state}/{name}")


def _without_service(
    state: str, config: str, event: "Event", file: str, until: float
) -> list[str]:
    """Carry the event out with the lock, unless another process has done so meanwhile;
    `file` is '' if there was no room for it."""
    from ..store.lock import Lock
    from ..values.errors import OutOfTime

    try:
        lock = Lock(f"{state}/lock", until)
    except OutOfTime as error:
        why = f"{event[1]} {event[2]}: {error}"
        if not file:
            return [f"{why}: it is lost, run vfwhooks apply"]
        # This is no reason for a full sync, unlike a hook that died at work.
        _write(state, LATE, b"")
        return [f"{why}: left to whoever comes next"]
    except FileNotFoundError:
        lock = None  # there is no room even for the directory
    if file and lock and not posix.access(f"{state}/{file}", posix.F_OK):
        return []
    # These imports are slow, and one hook at a time needs them: ours, and the
    # distribution's.
    import site

    site.main()
    from ..store.spool import HookEvent
    from .hook_without_service import carry_out

    mine = None if file else HookEvent(*event)
    ends = until + DEADLINE - LOCK_TIMEOUT
    return carry_out(state, config, mine, lock, until, lambda: detach(ends))


def detach(ends: float) -> None:
    """End for libvirt, which need not wait for the rest: a child goes on with the lock,
    but without our standard input, to which libvirt may be writing. If no child can
    start, libvirt has to wait, until the time `ends` (monotonic) at most."""
    faulthandler.cancel_dump_traceback_later()  # its thread does not exist in the child
    seconds = DEADLINE
    try:
        if posix.fork():
            posix._exit(0)
    except OSError:
        seconds = max(ends - time.monotonic(), 0.001)
    posix.dup2(1, 0)
    _end_in(seconds)


def _end_in(seconds: float) -> None:
    """Have the process end after so many seconds, whatever it waits for then."""
    try:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)
    except RuntimeError:  # there is no room for a thread
        import _signal  # type: ignore[import-not-found]  # as in store/lock

        # Lock takes this alarm over, and tools have time limits of their own.
        _signal.setitimer(_signal.ITIMER_REAL, seconds)


def read_input() -> bytes:
    """libvirt's XML from standard input. Raises VfwError if it is larger than XML ever
    is."""
    parts, size = [], 0
    while part := posix.read(0, 1 << 16):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            from ..values.errors import VfwError

            raise VfwError(f"more than {_LARGEST >> 20} MiB of XML on standard input")
    return b"".join(parts)


def end(said: list[str]) -> "NoReturn":
    """Send the lines to syslog, and end the process."""
    if said:
        import syslog

        from ..values.errors import show

        # A syslog that nobody reads would hold the hook, and the guest, for ever.
        _end_in(LAST_WORDS)
        syslog.openlog("vfwhooks", syslog.LOG_PID, syslog.LOG_DAEMON)
        for line in said:
            syslog.syslog(syslog.LOG_NOTICE, show(line))
    posix._exit(0)  # the interpreter's own end would cost 1.3 ms
