"""The service's lines for syslog, sent without waiting: syslog may have stopped, and
hooks wait for the service."""

from __future__ import annotations

import os
import socket
import time

from ..values.errors import show

WARNING, NOTICE = 4, 5
_DAEMON = 3 << 3
_PATH = "/dev/log"


class Log:
    """Sends lines to `path` (the socket of syslog). Lines that find no room are
    counted, and a later line gives their number."""

    def __init__(self, path: str = _PATH) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._lost = 0

    def say(self, line: str, priority: int = NOTICE) -> None:
        """Send a line, or count it as lost."""
        if self._lost and self._send(f"{self._lost} lines before this were lost", 4):
            self._lost = 0
        if not self._send(line, priority):
            self._lost += 1

    def _send(self, line: str, priority: int) -> bool:
        when = time.strftime("%b %e %H:%M:%S")
        head = f"<{_DAEMON | priority}>{when} vfwhooks[{os.getpid()}]: "
        data = (head + show(line)).encode("utf-8", "backslashreplace")
        # A second try: syslog may have been started anew.
        return self._give(data) or self._give(data)

    def _give(self, data: bytes) -> bool:
        try:
            if self._socket is None:
                kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
                self._socket = socket.socket(socket.AF_UNIX, kind)
                self._socket.connect(self._path)
            self._socket.send(data)
        except BlockingIOError:
            return False
        except OSError:
            if self._socket:
                self._socket.close()
            self._socket = None
            return False
        return True
