"""One question over the network, and what came of it, told apart."""

from __future__ import annotations

import enum
import errno
import http.client
import socket
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

OpenSocket = Callable[[int, int], socket.socket]
"""Makes a socket of a family and kind in some network namespace."""


class Outcome(enum.Enum):
    """What became of an attempt."""

    ANSWERED = "answered"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    CLOSED = "closed"


@dataclass(frozen=True)
class Reply:
    """An outcome, with what was said where there was an answer."""

    outcome: Outcome
    body: str = ""
    status: int = 0

    @property
    def answered(self) -> bool:
        """Whether somebody answered at all."""
        return self.outcome is Outcome.ANSWERED

    @property
    def refused(self) -> bool:
        """Whether the connection was rejected at once."""
        return self.outcome is Outcome.REFUSED


_OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ETIMEDOUT: Outcome.TIMED_OUT,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EACCES: Outcome.UNREACHABLE,
    errno.ENOPROTOOPT: Outcome.UNREACHABLE,
    errno.ECONNRESET: Outcome.CLOSED,
    errno.EPIPE: Outcome.CLOSED,
}


def outcome_of(error: OSError) -> Outcome:
    """What this error says became of the attempt."""
    if isinstance(error, socket.timeout):
        return Outcome.TIMED_OUT
    if error.errno in _OUTCOMES:
        return _OUTCOMES[error.errno]
    raise error


def family_of(address: str) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def ask_http(open_socket: OpenSocket, url: str, timeout: float) -> Reply:
    """GET of an http URL whose host is a literal address."""
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    name = f"[{host}]" if ":" in host else host
    request = (
        f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    )
    with open_socket(family_of(host), socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect((host, port))
            sock.sendall(request.encode())
            response = http.client.HTTPResponse(sock)
            response.begin()
            body = response.read().decode(errors="replace")
        except http.client.HTTPException:
            return Reply(Outcome.CLOSED)
        except OSError as error:
            return Reply(outcome_of(error))
    return Reply(Outcome.ANSWERED, body, response.status)


def ask_udp(
    sock: socket.socket, address: str, port: int, payload: str, timeout: float
) -> Reply:
    """One datagram and the one that comes back from just there."""
    sock.settimeout(timeout)
    try:
        sock.connect((address, port))
        sock.send(payload.encode())
        return Reply(Outcome.ANSWERED, sock.recv(65535).decode(errors="replace"))
    except OSError as error:
        return Reply(outcome_of(error))


def ask_tcp(sock: socket.socket, line: str, timeout: float) -> Reply:
    """One line on a connection that is open, and the line that comes back."""
    sock.settimeout(timeout)
    try:
        sock.sendall(line.encode() + b"\n")
        text = b""
        while not text.endswith(b"\n"):
            piece = sock.recv(4096)
            if not piece:
                return Reply(Outcome.CLOSED, text.decode(errors="replace"))
            text += piece
    except OSError as error:
        return Reply(outcome_of(error))
    return Reply(Outcome.ANSWERED, text.decode(errors="replace").rstrip("\n"))
