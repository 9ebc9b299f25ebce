"""The process of the service, found in /proc."""

from __future__ import annotations

from pathlib import Path


def find_service(root: str = "") -> int:
    """The process number of `vfwhooks watch`; 0 if it does not run."""
    for process in Path(f"{root}/proc").glob("[0-9]*/cmdline"):
        try:
            if b"vfwhooks.service.daemon" in process.read_bytes():
                return int(process.parent.name)
        except OSError:
            continue
    return 0
