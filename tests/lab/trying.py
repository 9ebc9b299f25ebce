"""A client that tries addresses again and again, and what came of it.

As a program it writes a line for each try: when it began and ended (monotonic), the
address, and its outcome:

    trying.py SECONDS STOP ADDRESS:PORT…

Each address is tried every 0.05 s, by a new connection on which a line has to be
answered. It ends after so many seconds, or when the file STOP is there. It needs
nothing but Python, since it runs inside a host.
"""

from __future__ import annotations

import errno
import selectors
import socket
import sys
import time
from pathlib import Path

PERIOD = 0.05
# Less than the second after which a lost SYN is sent again: what is answered was not
# sent to somebody else before.
PATIENCE = 0.9
SERVED, REFUSED, SILENT = "served", "refused", "silent"


class Trying:
    """The tries that are under way."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._open: dict[socket.socket, tuple[float, str]] = {}

    def begin(self, place: str) -> None:
        """Begin to connect."""
        address, _, port = place.rpartition(":")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        self._open[sock] = time.monotonic(), place
        sock.connect_ex((address, int(port)))
        self._selector.register(sock, selectors.EVENT_WRITE)

    def listen(self, seconds: float) -> None:
        """Take in what comes within so many seconds."""
        for key, mask in self._selector.select(max(seconds, 0)):
            assert isinstance(key.fileobj, socket.socket)
            self._go_on(key.fileobj, mask)
        late = time.monotonic() - PATIENCE
        for sock in [one for one, (begun, _) in self._open.items() if begun < late]:
            self._end(sock, SILENT)

    def is_busy(self) -> bool:
        return bool(self._open)

    def _go_on(self, sock: socket.socket, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "")
                sock.send(b"?\n")
                self._selector.modify(sock, selectors.EVENT_READ)
            elif sock.recv(200).endswith(b"?\n"):
                self._end(sock, SERVED)
            else:
                self._end(sock, "closed")
        except OSError as error:
            is_refused = error.errno == errno.ECONNREFUSED
            name = errno.errorcode.get(error.errno or 0, "error")
            self._end(sock, REFUSED if is_refused else name)

    def _end(self, sock: socket.socket, outcome: str) -> None:
        begun, place = self._open.pop(sock)
        self._selector.unregister(sock)
        sock.close()
        print(f"{begun:.6f} {time.monotonic():.6f} {place} {outcome}", flush=True)


def main(seconds: float, stop: str, places: list[str]) -> None:
    """Try until the time is over."""
    trying, due = Trying(), time.monotonic()
    until = due + seconds
    while due < until and not Path(stop).exists():
        for place in places:
            trying.begin(place)
        due += PERIOD
        while (now := time.monotonic()) < due:
            trying.listen(due - now)
    while trying.is_busy():
        trying.listen(PERIOD)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3:])
