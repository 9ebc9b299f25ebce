"""The process that holds a socket, from /proc; too slow for the hook path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..values.errors import show
from .listeners import Listener


def name_socket_owners(listeners: Iterable[Listener], root: str = "") -> dict[str, str]:
    """Each listener's reason, and the same with the process, if it is known: "sshd (pid
    812) listens on tcp 0.0.0.0:22"."""
    wanted = {f"socket:[{one.inode}]": one for one in listeners}
    found: dict[str, str] = {}
    processes = Path(f"{root}/proc").glob("[0-9]*") if wanted else ()
    for process in sorted(processes, key=lambda path: int(path.name)):
        for link in _links(process):
            listener = wanted.get(link)
            if listener and listener.reason not in found:
                who = f"{_name(process)} (pid {process.name})"
                found[listener.reason] = f"{who} listens on {listener}"
    return found


def _links(process: Path) -> list[str]:
    """The targets of a process's descriptors; none if it ends, or is not readable."""
    found = []
    try:
        for descriptor in (process / "fd").iterdir():
            found.append(os.readlink(descriptor))  # noqa: PTH115 - no path, a name
    except OSError:
        pass
    return found


def _name(process: Path) -> str:
    try:
        return show((process / "comm").read_text(errors="replace").rstrip("\n"))
    except OSError:
        return "?"
