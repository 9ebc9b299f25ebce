"""How a hook has the service carry its event out: the name of the event's file one way,
a byte the other way, when the kernel has the rules.

The bell is a socket in the state directory. A hook that rang in vain leaves the mark
`deaf`: while it is there nobody rings, and the service takes it away when it lives.

A hook imports this before anything else: it is light.
"""

import posix
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET
from _socket import socket as Socket

from ..store import files

DONE, NOT_DONE, NOBODY, SILENT = "done", "not done", "nobody", "silent"
DEAF = "deaf"
BELL = "doorbell"
YES, NO = b"1", b"0"


def ring(state: str, event: str, seconds: float) -> str:
    """Ring for the event's file, and wait for an answer for so many seconds.

    DONE: its rules are in the kernel; NOT_DONE: the service could not; NOBODY: there is
    no service; SILENT: it does not answer, and the mark says so.
    """
    if files.exists(f"{state}/{DEAF}"):
        return NOBODY
    try:
        link = Socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    except OSError:
        return NOBODY
    try:
        link.settimeout(seconds)
        link.connect(f"{state}/{BELL}")
        link.send(event.encode())
        answer = link.recv(1)
    except TimeoutError:
        _mark(state)
        return SILENT
    except OSError:
        return NOBODY
    finally:
        link.close()
    return {YES: DONE, NO: NOT_DONE}.get(answer, NOBODY)


def _mark(state: str) -> None:
    try:
        files.write(f"{state}/{DEAF}", b"", f"{state}/tmp/{posix.getpid()}")
    except OSError:
        pass  # no room for it: the next hook rings in vain, too
