"""Traffic through a guest's forwards that never pauses, and all that was lost of it."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.net import Net

_PAUSE = 0.005
_AHEAD = 32  # so many datagrams may be on their way; more might be too many for a guest
_PATIENCE = 10
CONNECTIONS = 4
NEW_EVERY = 0.05


@dataclass
class Seen:
    """What has come of the traffic: counts, and each loss in words."""

    datagrams: int = 0
    lines: int = 0
    new: int = 0
    lost: list[str] = field(default_factory=list)  # of what had begun
    not_begun: list[str] = field(default_factory=list)


class Streams:
    """Somebody outside who talks to one guest: a UDP flow, connections that stay open,
    and new connections and flows, one every 50 ms."""

    def __init__(self, outside: Net, address: str, tcp: int, udp: int) -> None:
        self._outside = outside
        self._address = address
        self._tcp = tcp
        self._udp = udp
        self._is_over = threading.Event()
        self._began = time.monotonic()
        self._count = threading.Lock()
        self.seen = Seen()

    @contextmanager
    def running(self) -> Iterator[Seen]:
        """All of it goes on until the end of the block."""
        threads = [
            threading.Thread(target=self._send),
            threading.Thread(target=self._begin),
        ]
        for _ in range(CONNECTIONS):
            open_one = self._outside.connect(self._address, self._tcp)
            threads.append(threading.Thread(target=self._talk, args=(open_one,)))
        for thread in threads:
            thread.start()
        try:
            yield self.seen
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _after(self, what: str) -> str:
        return f"{what}, {time.monotonic() - self._began:.2f} s after the start"

    def _send(self) -> None:
        """One flow: each datagram has a number, and comes back with it."""
        sent, missing = 0, set[str]()
        heard = time.monotonic()
        with self._outside.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((self._address, self._udp))
            while missing or not self._is_over.is_set():
                try:
                    if len(missing) < _AHEAD and not self._is_over.is_set():
                        sent += 1
                        missing.add(f"{sent}")
                        sock.send(f"{sent}".encode())
                    if select.select([sock], [], [], _PAUSE)[0]:
                        missing.discard(sock.recv(2048).split()[-1].decode())
                        heard = time.monotonic()
                except OSError as error:  # the host says that nobody is there
                    self.seen.lost.append(self._after(f"a datagram: {error}"))
                if missing and time.monotonic() - heard > _PATIENCE:
                    self.seen.lost.append(self._after(f"datagrams {sorted(missing)}"))
                    break
        self.seen.datagrams = sent

    def _talk(self, connection: socket.socket) -> None:
        """Line after line on one connection, until the first that is not answered."""
        with connection:
            while not self._is_over.wait(_PAUSE):
                reply = self._outside.ask(connection, timeout=_PATIENCE)
                if not reply.answered:
                    what = f"a connection: {reply.outcome.value}"
                    self.seen.lost.append(self._after(what))
                    return
                with self._count:
                    self.seen.lines += 1

    def _begin(self) -> None:
        """New connections and flows in turn; each waits for its answer by itself."""
        started: list[threading.Thread] = []
        while not self._is_over.wait(NEW_EVERY):
            kind = self._connect if len(started) % 2 else self._ask
            started.append(threading.Thread(target=kind))
            started[-1].start()
        for thread in started:
            thread.join()
        self.seen.new = len(started)

    def _connect(self) -> None:
        reply = self._outside.http(f"http://{self._address}:{self._tcp}/", _PATIENCE)
        if not reply.answered:
            self.seen.not_begun.append(
                self._after(f"a new connection: {reply.outcome.value}")
            )

    def _ask(self) -> None:
        reply = self._outside.udp(self._address, self._udp, timeout=_PATIENCE)
        if not reply.answered:
            self.seen.not_begun.append(
                self._after(f"a new flow: {reply.outcome.value}")
            )
