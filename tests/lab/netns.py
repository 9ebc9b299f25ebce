"""Sockets of this process in other network namespaces.

A test that opens its connections itself can keep one open while rules change,
choose its source port and tell a refusal from a timeout, with no program in
between.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def open_socket(
    netns: Path, family: int, kind: int, protocol: int = 0
) -> socket.socket:
    """A socket that belongs to the network namespace at that path, for good."""
    made: list[socket.socket] = []
    failed: list[OSError] = []

    # A thread of its own: setns moves the thread that calls it, and this one
    # ends before anything else could run on it.
    def make() -> None:
        try:
            fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(fd, CLONE_NEWNET) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, f"setns: {os.strerror(code)}", str(netns))
            finally:
                os.close(fd)
            made.append(socket.socket(family, kind, protocol))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
