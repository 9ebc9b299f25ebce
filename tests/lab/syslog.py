"""A box's /dev/log, with us as the syslog daemon behind it."""

from __future__ import annotations

import re
import select
import socket
import threading

from .box import Box


class Syslog:
    """Collects what is logged in a box, in order of arrival."""

    def __init__(self, box: Box) -> None:
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        box.sockets.add(self._sock)
        path = box.path("/dev/log")
        self._sock.bind(str(path))
        path.chmod(0o666)
        # A thread, since a full queue (10 messages) blocks whoever logs.
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while self._take():
            poll.poll()

    def _take(self) -> bool:
        """Take in what has been sent so far; False if nothing will come any more."""
        with self._lock:
            while True:
                try:
                    data = self._sock.recv(65536, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return True
                except OSError:
                    return False
                # b"" is what a closed socket gives: see stop().
                if not data:
                    return False
                self._lines.append(data.decode(errors="replace").rstrip("\n\0"))

    def stop(self) -> None:
        """Ends the reader."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def lines(self, pattern: str = "") -> list[str]:
        """The messages so far, as sent ("<30>Jan  1 00:00:00 tag: text"): all that were
        sent before this call, whether or not the thread has had time for them."""
        self._take()
        return [line for line in list(self._lines) if re.search(pattern, line)]
