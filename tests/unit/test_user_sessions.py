"""user_sessions: guests of users' own libvirt."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from unit.builders import UUID
from vfwhooks.diagnosis.doctor_guests import check_sessions
from vfwhooks.libvirt.user_sessions import find_sessions

STATUS = f"""<domstatus state='running' pid='{{pid}}'>
  <domain type='kvm'><name>web1</name><uuid>{UUID}</uuid></domain>
</domstatus>
"""
WHY = (
    f"it runs in qemu:///session of {pwd.getpwuid(os.getuid()).pw_name}, where no hook "
    "is called; define it in qemu:///system"
)


def session(root: Path, place: str, text: str = STATUS.format(pid=4711)) -> str:
    """A host on which a user's libvirt has left this."""
    directory = root / place / "libvirt/qemu/run"
    directory.mkdir(parents=True)
    (directory / "web1.xml").write_text(text)
    (root / "proc/4711").mkdir(parents=True)
    return str(root)


@pytest.mark.parametrize("place", ["run/user/1000", "home/joe/.cache", "root/.cache"])
def test_a_guest_in_a_session(tmp_path: Path, place: str) -> None:
    """By name and UUID, wherever that libvirt keeps its files."""
    found = find_sessions(session(tmp_path, place))

    assert found == {"web1": WHY, UUID: WHY}


@pytest.mark.parametrize("text", [STATUS.format(pid=12), "<domain/>", "", "<a>" * 999])
def test_a_file_that_is_left_over_or_is_no_status(tmp_path: Path, text: str) -> None:
    """Whose process is gone does not run; a user may write what he likes."""
    found = find_sessions(session(tmp_path, "run/user/1000", text))

    assert found == {}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Whatever a user puts there, status does not hang."""
    root = session(tmp_path, "run/user/1000")
    os.mkfifo(tmp_path / "run/user/1000/libvirt/qemu/run/pipe.xml")

    assert list(find_sessions(root)) == ["web1", UUID]


def test_what_doctor_says() -> None:
    """Of those in forwards.yaml, and nobody else."""
    found = [str(one) for one in check_sessions({"web1"}, {"web1": WHY, "other": WHY})]

    assert found == [f"wrong  web1 is not forwarded to: {WHY}"]
