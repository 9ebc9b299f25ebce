"""Servers of this process on sockets of other network namespaces.

They answer as the guests do, "NAME PORT CLIENT", and are over when their `with`
block is; so is everything when this process ends.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the demo has Python's own modules alone
    from typing_extensions import Self


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


Answer = Callable[[socket.socket], None]


class Answering:
    """A thread that answers on sockets for as long as its `with` block lasts."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def watch(self, sock: socket.socket, answer: Answer) -> None:
        """Call `answer` whenever the socket has something to read."""
        sock.setblocking(False)
        with self._lock:
            self._selector.register(sock, selectors.EVENT_READ, answer)

    def _serve(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(timeout=0.05):
                assert isinstance(key.fileobj, socket.socket)
                try:
                    key.data(key.fileobj)
                except BlockingIOError:
                    continue
                except OSError:
                    # A client that went away in the middle is its own affair.
                    self._drop(key.fileobj)

    def _drop(self, sock: socket.socket) -> None:
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.type == socket.SOCK_STREAM and not listens:
            with self._lock:
                self._selector.unregister(sock)
            sock.close()


class Server(Answering):
    """Answers on one socket, and remembers in `clients` who came."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        super().__init__()
        self.clients: list[str] = []
        self._name = name
        self._port = sock.getsockname()[1]
        is_udp = sock.type == socket.SOCK_DGRAM
        self.watch(sock, self._datagram if is_udp else self._accept)

    def _datagram(self, sock: socket.socket) -> None:
        data, client = sock.recvfrom(65535)
        self.clients.append(_plain(client[0]))
        sock.sendto(self._greeting(client[0]) + b" " + data, client)

    def _accept(self, sock: socket.socket) -> None:
        accepted, client = sock.accept()
        self.clients.append(_plain(client[0]))
        self.watch(accepted, self._stream)

    def _stream(self, sock: socket.socket) -> None:
        data = sock.recv(65535)
        if not data:
            raise ConnectionError
        greeting = self._greeting(sock.getpeername()[0])
        if data.startswith((b"GET ", b"HEAD ")):
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(greeting)}\r\n\r\n"
            sock.sendall(head.encode() + greeting)
        else:
            sock.sendall(greeting + b" " + data)

    def _greeting(self, client: str) -> bytes:
        return f"{self._name} {self._port} {_plain(client)}".encode()
