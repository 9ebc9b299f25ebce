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
_STARTING = "start", "migration in"
_TOO_LONG = 10  # for the number of a process


@dataclass(frozen=True)
class DomainStatus:
    """A guest with a status file.

    If `is_starting`, the guest does not run yet: it boots, is restored, or waits for
    its memory from another host. `pid` is the guest's process, 0 if it is unknown.
    """

    guest: Guest
    is_starting: bool
    pid: int


def parse_domain_status(data: bytes, driver: str) -> DomainStatus:
    """The values in the file. Raises VfwError for anything but a status file."""
    status = read_domain_xml(data)
    domain = status.find("domain")
    if status.tag != "domstatus" or domain is None:
        raise VfwError("the XML describes no running domain")
    pid = status.get("pid", "")
    is_paused = status.get("state") == "paused"
    return DomainStatus(
        read_domain(domain, driver),
        status.get("reason") == "starting up"
        or (is_paused and attribute(status, "job", "async") in _STARTING),
        int(pid) if pid.isdecimal() and len(pid) < _TOO_LONG else 0,
    )
