"""domain_status: what libvirt's status files say. Recorded ones are from real
daemons."""

from __future__ import annotations

import pytest

from unit.builders import DAEMONS, MAC, RECORDED, UUID, fields, guest, nic, refusal
from vfwhooks.libvirt.domain_status import (
    DomainStatus,
    Pause,
    may_be_paused,
    parse_domain_status,
)
from vfwhooks.libvirt.xml import parse_domain
from vfwhooks.values.guests import Nic


def status(
    head: str = "state='running' reason='booted' pid='181'",
    job: str = "",
    interface: str = "",
) -> bytes:
    """A status file as libvirt writes it, cut down to what is looked at."""
    return f"""<!-- WARNING: THIS IS AN AUTO-GENERATED FILE. -->
<domstatus {head}>
  <monitor path='/var/lib/libvirt/qemu/domain-1-web1/monitor.sock' type='unix'/>
  {job}
  <domain type='qemu' id='1'>
    <name>web1</name>
    <uuid>{UUID.upper()}</uuid>
    <devices>
      {interface or ON_DEFAULT}
    </devices>
  </domain>
</domstatus>
""".encode()


ON_DEFAULT = f"""<interface type='network'>
        <mac address='{MAC.upper()}'/>
        <source network='default' portid='2f95a44d-304c-49cb-ab4e-4ee94453d310'/>
        <actual type='network'>
          <source bridge='virbr0'/>
        </actual>
        <target dev='vnet0'/>
      </interface>"""
BRIDGED = ON_DEFAULT.replace("='default'", "='lan'").replace(
    "<actual type='network'>", "<actual type='bridge'>"
)
ON_A_BRIDGE = f"""<interface type='bridge'>
        <mac address='{MAC}'/><source bridge='virbr0'/><target dev='vnet0'/>
      </interface>"""
DIRECT = f"""<interface type='network'>
        <mac address='{MAC}'/>
        <source network='vepa'/>
        <actual type='direct'><source dev='eth0' mode='vepa'/></actual>
        <target dev='macvtap0'/>
      </interface>"""


def test_a_running_guest() -> None:
    """Everything that a hook would be told, and its process."""
    found = parse_domain_status(status(), "qemu")

    assert (fields(found.guest), found.is_starting, found.pid) == (
        fields(guest()),
        False,
        181,
    )


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        (ON_DEFAULT, nic()),
        (BRIDGED, nic(kind="bridge", network="lan")),
        (ON_A_BRIDGE, nic(kind="bridge", network="")),
        (DIRECT, Nic(MAC, "direct", "vepa", "", "macvtap0")),
    ],
    ids=["network", "a network that is bridged", "bridge", "direct"],
)
def test_what_an_interface_has_come_to_be(interface: str, expected: Nic) -> None:
    """The same as hooks are told of it, which do not have the element `actual`."""
    found = parse_domain_status(status(interface=interface), "qemu")

    assert fields(found.guest.nics) == fields([expected])


@pytest.mark.parametrize("daemon", DAEMONS)
def test_hook_and_file_agree(daemon: str) -> None:
    """What a real daemon told the hook `started` and what it wrote a moment later."""
    told = (RECORDED / daemon / "domstatus-started.xml").read_bytes()
    written = (RECORDED / daemon / "domstatus.xml").read_bytes()

    found = parse_domain_status(written, "qemu")

    assert fields(found.guest) == fields(parse_domain(told, "qemu"))


@pytest.mark.parametrize(
    ("state", "reason", "job", "is_starting"),
    [
        ("paused", "starting up", "start", True),
        ("paused", "starting up", "migration in", True),
        ("paused", "migration", "migration in", True),
        ("paused", "migration", "start", True),
        ("paused", "user", "start", True),
        ("running", "booted", "start", False),
        ("running", "migrated", "migration in", False),
        ("running", "booted", "migration out", False),
        ("paused", "migration", "migration out", False),
        ("paused", "post-copy", "migration out", False),
        ("paused", "save", "save", False),
        ("paused", "user", "", False),
        ("paused", "I/O error", "", False),
        ("pmsuspended", "unknown", "", False),
        ("shutdown", "unknown", "", False),
        ("crashed", "panicked", "", False),
    ],
)
def test_who_runs_yet(state: str, reason: str, job: str, is_starting: bool) -> None:
    """A guest that boots, is restored or waits for its memory does not; one that is
    paused by somebody, or leaves for another host, still does."""
    head = f"state='{state}' reason='{reason}' pid='181'"
    element = f"<job type='none' async='{job}' phase='x'/>" if job else ""

    found = parse_domain_status(status(head, element), "qemu")

    assert found.is_starting == is_starting


@pytest.mark.parametrize(
    ("state", "reason", "job", "is_migrating"),
    [
        ("paused", "starting up", "migration in", True),
        ("paused", "migration", "migration in", True),
        ("running", "post-copy", "migration in", False),
        ("running", "migrated", "migration in", False),
        ("running", "booted", "migration out", False),
        ("paused", "migration", "migration out", True),
        ("paused", "post-copy", "migration out", True),
        ("paused", "post-copy failed", "migration out", True),
        ("shutdown", "unknown", "migration out", True),
        ("paused", "user", "migration out", False),
        ("paused", "migration", "", False),
        ("paused", "starting up", "start", False),
        ("paused", "save", "save", False),
        ("shutdown", "unknown", "", False),
    ],
)
def test_who_runs_elsewhere(
    state: str, reason: str, job: str, is_migrating: bool
) -> None:
    """A guest that waits for its memory, or that has left for another host; not one
    that somebody has paused, nor one whose migration is over."""
    head = f"state='{state}' reason='{reason}' pid='181'"
    element = f"<job type='none' async='{job}' phase='x'/>" if job else ""

    found = parse_domain_status(status(head, element), "qemu")

    assert found.is_migrating == is_migrating


@pytest.mark.parametrize(
    ("state", "reason", "job", "pause"),
    [
        ("running", "booted", "", None),
        ("paused", "user", "", Pause("user")),
        ("paused", "ioerror", "none", Pause("ioerror")),
        ("paused", "save", "save", Pause("save", has_job=True)),
        ("paused", "user", "migration out", Pause("user", has_job=True)),
        ("pmsuspended", "unknown", "", Pause("unknown", is_asleep=True)),
        ("paused", "starting up", "start", None),
        ("paused", "migration", "migration out", None),
        ("shutdown", "unknown", "", None),
    ],
)
def test_who_stands_still(
    state: str, reason: str, job: str, pause: Pause | None
) -> None:
    """One that is paused here, or sleeps; not one that does not run yet or has left."""
    head = f"state='{state}' reason='{reason}' pid='181'"
    element = f"<job type='none' async='{job}' phase='x'/>" if job else ""
    data = status(head, element)

    found = parse_domain_status(data, "qemu").pause

    assert (found, found is None or may_be_paused(data)) == (pause, True)


@pytest.mark.parametrize("pid", ["", "-1", "x", "0", "9999999999", "9" * 5000])
def test_no_process_is_known(pid: str) -> None:
    """As libvirt has it for a guest that has none yet, or never has one."""
    found = parse_domain_status(status(f"state='running' pid='{pid}'"), "libxl")

    assert found == DomainStatus(found.guest, False, 0)


@pytest.mark.parametrize(
    "data",
    [b"<domain><name>web1</name></domain>", b"<domstatus state='running'/>"],
)
def test_another_file(data: bytes) -> None:
    """It is refused: the file of a network, say."""
    assert refusal(parse_domain_status, data, "qemu") == (
        "the XML describes no running domain"
    )
