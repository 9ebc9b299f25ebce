"""libvirt's status file of a guest, /run/libvirt/DRIVER/NAME.xml. Text in, values out.

libvirt writes it by rename whenever a guest changes, and unlinks it when the guest is
gone: what a hook would be told is in there as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import VfwError
from .libvirtxml import read_elements, read_nic
from .model import Guest

# As long as one of these goes on, a paused guest has not run yet.
_STARTING = "start", "migration in"


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
    found = read_elements(data, "domstatus")
    if not found or not found[0].all("domain"):
        raise VfwError("the XML describes no running domain")
    status = found[0]
    name = status.content("domain/name")
    uuid = status.content("domain/uuid").strip().lower()
    nics = [read_nic(one) for one in status.all("domain/devices/interface")]
    pid = status.attributes.get("pid", "")
    is_paused = status.attributes.get("state") == "paused"
    return DomainStatus(
        Guest(driver, name, uuid, nics),
        status.attributes.get("reason") == "starting up"
        or (is_paused and status.get("job", "async") in _STARTING),
        int(pid) if pid.isdecimal() else 0,
    )
