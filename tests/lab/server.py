"""Servers of this process on sockets of other network namespaces.

They answer as the guests do, "NAME PORT CLIENT", and are over when their `with`
block is; so is everything when this process ends.
"""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


class Server:
    """Answers on one socket, and remembers in `clients` who came."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.clients: list[str] = []
        self._name = name
        self._sock = sock
        self._port = sock.getsockname()[1]
        self._over = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._datagrams = sock.type == socket.SOCK_DGRAM
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Server:
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

    def _serve(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(timeout=0.05):
                assert isinstance(key.fileobj, socket.socket)
                try:
                    self._serve_one(key.fileobj)
                except OSError:
                    # A client that went away in the middle is its own affair.
                    self._drop(key.fileobj)

    def _serve_one(self, sock: socket.socket) -> None:
        if self._datagrams:
            data, client = sock.recvfrom(65535)
            sock.sendto(self._greet(client[0]) + b" " + data, client)
        elif sock is self._sock:
            accepted, client = sock.accept()
            self._selector.register(accepted, selectors.EVENT_READ)
            self.clients.append(_plain(client[0]))
        else:
            data = sock.recv(65535)
            if not data:
                self._drop(sock)
                return
            greeting = self._greet(sock.getpeername()[0], note=False)
            if data.startswith((b"GET ", b"HEAD ")):
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(greeting)}\r\n\r\n"
                sock.sendall(head.encode() + greeting)
            else:
                sock.sendall(greeting + b" " + data)

    def _greet(self, client: str, note: bool = True) -> bytes:
        if note:
            self.clients.append(_plain(client))
        return f"{self._name} {self._port} {_plain(client)}".encode()

    def _drop(self, sock: socket.socket) -> None:
        if sock is not self._sock:
            self._selector.unregister(sock)
            sock.close()
