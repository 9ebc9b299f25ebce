"""`vfwhooks watch` on a stand-in host."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from standin import CHECKOUT, CONFIG, ENVIRONMENT, LIMIT, STATE, put, wait_for

from vfwhooks.configuration import is_in_force
from vfwhooks.state import State

_WATCH = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from vfwhooks.watch import main; main(*sys.argv[2:])"
)


@contextmanager
def watching() -> Iterator[int]:
    """It runs as the service runs it, and is ready; its process id."""
    argv = ["/usr/bin/python3", "-IX", "utf8", "-c", _WATCH, str(CHECKOUT)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind("\0watch-is-ready")
        ready.settimeout(LIMIT)
        process = subprocess.Popen(
            [*argv, str(STATE), str(CONFIG)],
            env={**ENVIRONMENT, "NOTIFY_SOCKET": "@watch-is-ready"},
        )
        try:
            assert ready.recv(4096) == b"READY=1"
            # The `apply` of its start has gone by the file of a real host.
            put(CONFIG, CONFIG.read_text())
            wait_for(lambda: is_in_force(State(str(STATE)), str(CONFIG)))
            time.sleep(2)  # what that has set off is over
            yield process.pid
        finally:
            status = process.poll()
            process.terminate()
            process.wait()
            assert status is None, f"watch ended: {status}"
