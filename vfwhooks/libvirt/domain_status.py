"""The parser for libvirt's status file of a guest, /run/libvirt/DRIVER/NAME.xml. Pure.

libvirt replaces the file by rename whenever the guest changes, and unlinks it when the
guest is gone. The file has all that libvirt tells a hook.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..values.errors import VfwError
from ..values.guests import Guest
from .xml import attribute, read_domain, read_domain_xml

# During one of these jobs a paused guest has not run yet.
_INCOMING = "migration in"
_STARTING = "start", _INCOMING
# For these reasons a guest is paused that has left for another host: it runs there, or
# goes on here if the migration fails. One that somebody has paused is none of them.
_OUTGOING = "migration out"
_LEFT = "migration", "post-copy", "post-copy failed"
_PAUSED, _ASLEEP = "paused", "pmsuspended"
_TOO_LONG = 10  # for the number of a process


@dataclass(frozen=True)
class Pause:
    """A guest that is here and stands still, with libvirt's reason. If `is_asleep`, it
    has gone to sleep itself. If `has_job`, libvirt works on it: it saves it, say."""

    reason: str
    is_asleep: bool = False
    has_job: bool = False


@dataclass(frozen=True)
class DomainStatus:
    """A guest with a status file.

    If `is_starting`, the guest does not run yet: it boots, is restored, or waits for
    its memory from another host. If `is_migrating`, it does not run here because of a
    migration: it waits for its memory, or has left. `pid` is the guest's process, 0 if
    it is unknown. `pause` is None for a guest that runs, or that does not run here or
    yet.
    """

    guest: Guest
    is_starting: bool
    pid: int
    is_migrating: bool = False
    pause: Pause | None = None


def parse_domain_status(data: bytes, driver: str) -> DomainStatus:
    """The values in the file. Raises VfwError for anything but a status file."""
    status = read_domain_xml(data)
    domain = status.find("domain")
    if status.tag != "domstatus" or domain is None:
        raise VfwError("the XML describes no running domain")
    pid = status.get("pid", "")
    state, reason = status.get("state"), status.get("reason")
    is_paused, job = state == _PAUSED, attribute(status, "job", "async")
    # libvirt ends the process of a guest that has left: first it says `shutdown`.
    has_left = (is_paused and reason in _LEFT) or state == "shutdown"
    is_starting = reason == "starting up" or (is_paused and job in _STARTING)
    is_migrating = (is_paused and job == _INCOMING) or (has_left and job == _OUTGOING)
    is_here = not (is_starting or is_migrating)
    is_asleep = state == _ASLEEP
    pause = Pause(reason or "", is_asleep, job not in ("", "none", None))
    return DomainStatus(
        read_domain(domain, driver),
        is_starting,
        int(pid) if pid.isdecimal() and len(pid) < _TOO_LONG else 0,
        is_migrating,
        pause if is_here and (is_paused or is_asleep) else None,
    )


def may_be_paused(data: bytes) -> bool:
    """Whether it is worth parsing the file for `pause`; most guests' is not."""
    return any(
        f"<domstatus state='{one}'".encode() in data for one in (_PAUSED, _ASLEEP)
    )


def may_be_migrating(data: bytes) -> bool:
    """Whether it is worth parsing the file for `is_migrating`; most guests' is not."""
    return b"async='migration " in data
