"""libvirt's status file of a guest, /run/libvirt/DRIVER/NAME.xml. Text in, values out.

libvirt writes it by rename whenever a guest changes, and unlinks it when the guest is
gone: what a hook would be told is in there as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..values.errors import VfwError
from ..values.guests import Guest
from .xml import attribute, read_domain, read_xml

# As long as one of these goes on, a paused guest has not run yet.
_STARTING = "start", "migration in"
_TOO_LONG = 10  # for the number of a process


@dataclass(frozen=True)
class DomainStatus:
    """A guest that libvirt has at work.

    One that `is_starting` does not run yet: it boots, is restored, or waits for its
    memory to arrive from another host. `pid` is its process, 0 where none is known.
    """

    guest: Guest
    is_starting: bool
    pid: int


def parse_domain_status(data: bytes, driver: str) -> DomainStatus:
    """What the file says. Raises VfwError for anything else."""
    status = read_xml(data)
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
