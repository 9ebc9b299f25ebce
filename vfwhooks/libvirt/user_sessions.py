"""Guests of users' own libvirt (qemu:///session): it calls no system hooks, and its
guests are on no network that forwards can reach."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ..values.errors import VfwError
from .domain_status import parse_domain_status

# The status files of sessions: by XDG_RUNTIME_DIR, and without that variable.
_PLACES = (
    "run/user/*/libvirt/qemu/run/*.xml",
    "home/*/.cache/libvirt/qemu/run/*.xml",
    "root/.cache/libvirt/qemu/run/*.xml",
)
_MOST = 1 << 20


def find_sessions(root: str = "") -> dict[str, str]:
    """The guests that run in sessions, by name and by UUID, each with the reason why it
    has no forwards. Unreadable files are skipped."""
    found: dict[str, str] = {}
    for path in [one for place in _PLACES for one in Path(f"{root}/").glob(place)]:
        try:
            text, uid = _read(path)
            status = parse_domain_status(text, "qemu")
            is_its = Path(f"{root}/proc/{status.pid}").stat().st_uid == uid
        except (OSError, VfwError):
            continue
        if is_its:
            why = f"it runs in qemu:///session of {_user(uid)}, where no hook is called"
            why += "; define it in qemu:///system"
            found[status.guest.name] = found[status.guest.uuid] = why
    return found


def _read(path: Path) -> tuple[bytes, int]:
    """The content of a file, which a user may have made anything, and its owner's
    uid."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        return os.read(fd, _MOST), os.fstat(fd).st_uid
    finally:
        os.close(fd)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
