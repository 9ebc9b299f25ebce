"""systemd's notification socket; without systemd nothing happens."""

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM
from _socket import socket as Socket

_UNWATCHED = 120.0
_PATIENCE = 0.5  # seconds; one that hangs would hold us, and hooks, for ever


def notify(message: str) -> None:
    """Tell systemd something, like READY=1 or WATCHDOG=1."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    link = Socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    link.settimeout(_PATIENCE)
    try:
        link.sendto(message.encode(), path.replace("@", "\0", 1))
    except OSError:
        pass  # it is the service manager that has gone
    finally:
        link.close()


def watchdog_seconds() -> float:
    """How long we may be silent before we are taken for dead."""
    return float(os.environ.get("WATCHDOG_USEC", 0)) / 1e6 or _UNWATCHED
