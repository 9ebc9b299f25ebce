"""paused_guests: guests that stand still, by libvirt's status files, and the cures."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.builders import guest
from unit.test_domain_status import status
from unit.test_unanswered import row
from vfwhooks.diagnosis.hindered_rows import standing
from vfwhooks.diagnosis.paused_guests import find_paused
from vfwhooks.values.guests import Guest


def told(root: Path, head: str, driver: str = "qemu", job: str = "") -> str:
    """What is said of web1, if libvirt's file begins so."""
    path = root / "run/libvirt" / driver / "web1.xml"
    path.parent.mkdir(parents=True)
    path.write_bytes(status(f"{head} pid='181'", job))
    found = find_paused(Guest(driver, "web1", "", []), str(root))
    return found.said if found else ""


@pytest.mark.parametrize(
    ("head", "driver", "expected"),
    [
        ("state='running' reason='booted'", "qemu", ""),
        (
            *("state='paused' reason='user'", "qemu"),
            "web1 is paused (user); run: virsh resume web1",
        ),
        (
            *("state='paused' reason='ioerror'", "qemu"),
            "web1 is paused (I/O error); "
            "see whether its disk is full, then: virsh resume web1",
        ),
        (
            *("state='pmsuspended' reason='unknown'", "qemu"),
            "web1 sleeps (pmsuspended); run: virsh dompmwakeup web1",
        ),
        (
            *("state='paused' reason='user'", "libxl"),
            "web1 is paused (user); run: virsh -c xen:///system resume web1",
        ),
        (
            *("state='paused' reason='user'", "lxc"),
            "web1 is paused (user); run: virsh -c lxc:///system resume web1",
        ),
    ],
)
def test_what_is_said(tmp_path: Path, head: str, driver: str, expected: str) -> None:
    """The reason, and the command for the daemon whose guest it is."""
    assert told(tmp_path, head, driver) == expected


def test_a_guest_that_libvirt_works_on(tmp_path: Path) -> None:
    """It goes on by itself."""
    job = "<job type='none' async='save' phase='none'/>"

    said = told(tmp_path, "state='paused' reason='save'", job=job)

    assert said == "web1 is paused (save); libvirt is at it: virsh domjobinfo web1"


def test_no_file(tmp_path: Path) -> None:
    """Nothing is known of a guest without one, or with a broken one."""
    path = tmp_path / "run/libvirt/qemu/web1.xml"
    path.parent.mkdir(parents=True)
    found = [find_paused(guest(), str(tmp_path))]
    path.write_text("<domstatus state='paused'")

    found.append(find_paused(guest(), str(tmp_path)))

    assert found == [None, None]


def test_its_rows(tmp_path: Path) -> None:
    """An active one stays active, since its rules are there, and has the reason."""
    path = tmp_path / "run/libvirt/qemu/web1.xml"
    path.parent.mkdir(parents=True)
    path.write_bytes(status("state='paused' reason='user'"))
    pause = find_paused(guest(), str(tmp_path))

    found = standing([row(), row(state="pending", reason="no lease")], pause)

    assert [(one.state, one.reason) for one in found] == [
        ("active", "web1 is paused (user); run: virsh resume web1"),
        ("pending", "no lease"),
    ]
