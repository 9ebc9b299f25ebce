"""The service's lines for syslog, sent without waiting: syslog may have stopped, and
hooks wait for the service."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import deque

from ..values.errors import show

WARNING, NOTICE = 4, 5
_DAEMON = 3 << 3
_PATH = "/dev/log"
# A socket of syslog has room for ten lines where nobody has set more
# (net.unix.max_dgram_qlen); twenty guests that start together say twenty.
_LIMIT = 1000


class Log:
    """Sends lines to `path` (the socket of syslog). Lines that find no room wait, up to
    1,000 of them, until `poll` tells that there is room, or until the next line; those
    beyond are counted, and a line of its own gives their number."""

    def __init__(self, poll: select.poll, path: str = _PATH) -> None:
        self._poll = poll
        self._path = path
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._awaits_room = False

    def say(self, line: str, priority: int = NOTICE) -> None:
        """Send a line, or let it wait."""
        if len(self._waiting) < _LIMIT:
            self._waiting.append(_message(line, priority))
        else:
            self._lost += 1
        self.send()

    def knows(self, fd: int) -> bool:
        """Whether this is the socket."""
        return self._socket is not None and fd == self._socket.fileno()

    def send(self) -> None:
        """Send what waits, as far as there is room."""
        while self._waiting:
            # A second try: syslog may have been started anew.
            if not (self._give(self._waiting[0]) or self._give(self._waiting[0])):
                break
            self._waiting.popleft()
            if not self._waiting and self._lost:
                lost = f"{self._lost} lines before this were lost"
                self._waiting.append(_message(lost, WARNING))
                self._lost = 0
        self._await_room(bool(self._waiting))

    def _give(self, data: bytes) -> bool:
        """Whether that is done with: sent, or too long for any socket."""
        try:
            if self._socket is None:
                kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
                self._socket = socket.socket(socket.AF_UNIX, kind)
                self._socket.connect(self._path)
            self._socket.send(data)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._lost += 1
                return True
            self._close()
            return False
        return True

    def _await_room(self, is_awaited: bool) -> None:
        if self._socket and is_awaited != self._awaits_room:
            if is_awaited:
                self._poll.register(self._socket, select.POLLOUT)
            else:
                self._poll.unregister(self._socket)
            self._awaits_room = is_awaited

    def _close(self) -> None:
        if self._socket:
            self._await_room(False)
            self._socket.close()
        self._socket = None


def _message(line: str, priority: int) -> bytes:
    when = time.strftime("%b %e %H:%M:%S")
    head = f"<{_DAEMON | priority}>{when} vfwhooks[{os.getpid()}]: "
    return (head + show(line)).encode("utf-8", "backslashreplace")
