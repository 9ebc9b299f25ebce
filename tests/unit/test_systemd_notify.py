"""systemd_notify: the service manager, who may be busy, or hang."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from vfwhooks.host import systemd_notify
from vfwhooks.host.systemd_notify import notify


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Who listens."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.bind(f"{tmp_path}/notify")
    monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", f"{tmp_path}/notify")
    yield found
    found.close()


def test_what_is_told(manager: socket.socket) -> None:
    """It arrives as it is."""
    notify("WATCHDOG=1")

    assert manager.recv(100) == b"WATCHDOG=1"


def test_one_that_hangs(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He is not waited for: hooks wait for the service."""
    monkeypatch.setattr(systemd_notify, "_PATIENCE", 0.01)
    room = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())

    for number in range(room + 2):
        notify(str(number))

    assert manager.recv(100) == b"0"
