"""systemd's notification socket; does nothing without systemd."""

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM
from _socket import socket as Socket

_UNWATCHED = 120.0
_PATIENCE = 0.5  # seconds; a systemd that hangs must not stop the service


def notify(message: str) -> None:
    """Send systemd a message, like READY=1 or WATCHDOG=1."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    link = Socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    link.settimeout(_PATIENCE)
    try:
        link.sendto(message.encode(), path.replace("@", "\0", 1))
    except OSError:
        pass  # the service manager has gone
    finally:
        link.close()


def watchdog_seconds() -> float:
    """The seconds of silence after which systemd takes the service for dead."""
    return float(os.environ.get("WATCHDOG_USEC", 0)) / 1e6 or _UNWATCHED
