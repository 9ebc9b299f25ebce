"""Guests that stand still: libvirt has paused them, or they sleep. Their rules are in
place, and nobody answers."""

from __future__ import annotations

from ..libvirt.client import URIS
from ..libvirt.domain_status import Pause, may_be_paused, parse_domain_status
from ..libvirt.status_directories import GUESTS
from ..store import files
from ..values.errors import VfwError, show
from ..values.findings import WRONG, Cure, Finding, by_hand
from ..values.guests import Guest

_FULL = "ioerror"  # qemu's pause on a full disk, as a rule
_NAMES = {_FULL: "I/O error"}


def find_paused(guest: Guest, root: str = "") -> Finding | None:
    """What libvirt's status file says of the guest; None for one that runs."""
    for directory, driver in GUESTS.items():
        path = f"{root}{directory}/{guest.name}.xml"
        data = files.read(path) if driver == guest.driver else None
        pause = _parse(data, driver) if data and may_be_paused(data) else None
        if pause:
            reason = _NAMES.get(pause.reason, show(pause.reason))
            how = "sleeps (pmsuspended)" if pause.is_asleep else f"is paused ({reason})"
            what, seen = f"{show(guest.name)} {how}", f"{path}: {how}"
            cure = _cure(guest, pause)
            return Finding(WRONG, "guest-paused", guest.name, what, cure, seen)
    return None


def _parse(data: bytes, driver: str) -> Pause | None:
    try:
        return parse_domain_status(data, driver).pause
    except VfwError:
        return None


def _cure(guest: Guest, pause: Pause) -> Cure:
    uri = () if guest.driver == "qemu" else ("-c", URIS[guest.driver])
    if pause.has_job:
        return by_hand(
            "libvirt is at it: {run}", "virsh", *uri, "domjobinfo", guest.name
        )
    command = "dompmwakeup" if pause.is_asleep else "resume"
    said = (
        "see whether its disk is full, then: {run}"
        if pause.reason == _FULL
        else "run: {run}"
    )
    return by_hand(said, "virsh", *uri, command, guest.name)
