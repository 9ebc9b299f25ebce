"""hook_files: whether libvirt calls our hooks, from the files below a root
directory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from unit.builders import guest, record
from vfwhooks.installation.hook_files import check_hooks, find_uncalled, installer
from vfwhooks.store.records import Record

HOOKS = "/etc/libvirt/hooks"
TEXT = "#!/bin/sh\n# vfwhooks: lets Python start.\ndriver=qemu\nlib=/opt/vfw\n"
FORMER = (
    "#!/bin/sh\n# vfwhooks: is this event ours? libvirt hears success.\n"
    "driver=qemu\nlib=/opt/vfw state=/run/vfwhooks name=$1\n"
)
NO_DAEMON = "note   no libvirt daemon is running"
HOUR = 3600
TICKS = os.sysconf("SC_CLK_TCK")
DENIED = "virtqemud_t may not execute virt_hook_t (SELinux)"


def host(root: Path, *drivers: str) -> Path:
    """A host that booted an hour ago, with our hooks for these drivers, laid now; its
    directory of hooks."""
    (root / "proc").mkdir()
    boot = int(time.time()) - HOUR
    (root / "proc/stat").write_text(f"cpu 1 2 3\nbtime {boot}\n")
    (root / "run/libvirt/qemu").mkdir(parents=True)
    (root / "opt/vfw/vfwhooks/service").mkdir(parents=True)
    (root / "opt/vfw/vfwhooks/service/hook.py").write_text("")
    (root / "state/daemons").mkdir(parents=True)
    directory = root / HOOKS[1:]
    directory.mkdir(parents=True)
    for driver in drivers or ("qemu", "network", "daemon"):
        (directory / driver).write_text(TEXT)
        (directory / driver).chmod(0o755)
    return directory


def process(root: Path, pid: int, name: str, ago: int, file: str) -> None:
    """A process that began some seconds ago, whose number is in a file."""
    path = root / f"proc/{pid}"
    path.mkdir()
    (path / "comm").write_text(f"{name}\n")
    words = ["S", *["0"] * 18, str((HOUR - ago) * TICKS), "0"]
    (path / "stat").write_text(f"{pid} (virt (x) emud) " + " ".join(words) + "\n")
    (root / file).write_text(f"{pid}\n")


def found(root: Path, is_followed: bool = False, **refused: str) -> list[str]:
    """What is said of the host."""
    findings = check_hooks(f"{root}/state", refused, is_followed, str(root))
    return [str(finding) for finding in findings]


def test_sound_hooks(tmp_path: Path) -> None:
    """The three that are needed."""
    host(tmp_path)

    assert found(tmp_path) == [f"ok     hooks in {HOOKS}", NO_DAEMON]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FORMER, f"ok     hooks in {HOOKS}"),
        (
            FORMER.replace("/opt/vfw", "/opt/gone"),
            f"wrong  {HOOKS}/qemu calls /opt/gone, where there is no vfwhooks; "
            "run install.sh again",
        ),
        (
            "#!/bin/sh\n# my own, calls vfwhooks: see there\n",
            f"wrong  no qemu hook of vfwhooks in {HOOKS}; "
            "install.sh lays those that libvirt may run",
        ),
    ],
    ids=["a former release's", "a former release's that is gone", "another's"],
)
def test_whose_hook_it_is(tmp_path: Path, text: str, said: str) -> None:
    """How the second line begins tells, in every release; the package's place is read
    from both forms that its line has had."""
    directory = host(tmp_path)
    (directory / "qemu").write_text(text)

    assert found(tmp_path) == [said, NO_DAEMON]


def test_hooks_beside_others(tmp_path: Path) -> None:
    """Where somebody else has the hook, ours is in the directory beside it."""
    directory = host(tmp_path)
    (directory / "qemu.d").mkdir()
    (directory / "qemu").rename(directory / "qemu.d/vfwhooks")
    (directory / "qemu").write_text("#!/bin/sh\nexit 0\n")

    assert found(tmp_path) == [f"ok     hooks in {HOOKS}", NO_DAEMON]


@pytest.mark.parametrize(("is_followed", "level"), [(False, "wrong"), (True, "note ")])
def test_a_hook_that_is_missing(tmp_path: Path, is_followed: bool, level: str) -> None:
    """Those of drivers that need none are not missed; where the service follows libvirt
    nothing is lost by it."""
    host(tmp_path, "qemu", "daemon")

    what = f"no network hook of vfwhooks in {HOOKS}"
    cure = "install.sh lays those that libvirt may run"
    assert found(tmp_path, is_followed) == [f"{level}  {what}; {cure}", NO_DAEMON]


def test_hooks_of_daemons_that_are_here(tmp_path: Path) -> None:
    """Of a modular host those of its daemons are needed, and no others."""
    host(tmp_path, "lxc", "daemon")
    process(tmp_path, 77, "virtlxcd", -10, "run/virtlxcd.pid")

    assert found(tmp_path) == [f"ok     hooks in {HOOKS}"]


def test_hooks_with_faults(tmp_path: Path) -> None:
    """A link, no right to execute, a right for others, and no package behind it."""
    directory = host(tmp_path, "qemu", "network", "daemon", "lxc")
    (directory / "qemu").rename(tmp_path / "elsewhere")
    (directory / "qemu").symlink_to(tmp_path / "elsewhere")
    (directory / "network").chmod(0o644)
    (directory / "daemon").chmod(0o777)
    (directory / "lxc").write_text(TEXT.replace("/opt/vfw", "/opt/gone"))

    h = HOOKS
    link = "is a link, which libvirt's confinement may not follow"
    mode = "is not executable: libvirt does not call it"
    assert found(tmp_path) == [
        f"wrong  {h}/qemu {link}; install.sh puts a file there",
        f"wrong  {h}/lxc calls /opt/gone, where there is no vfwhooks; "
        "run install.sh again",
        f"wrong  {h}/network {mode}; run: chmod 755 {h}/network",
        f"wrong  {h}/daemon can be written by others; run: chmod go-w {h}/daemon",
        NO_DAEMON,
    ]


def test_hooks_that_selinux_refuses(tmp_path: Path) -> None:
    """One that is laid keeps guests from starting; one that is not is no fault."""
    host(tmp_path, "qemu", "daemon")

    assert found(tmp_path, True, qemu=DENIED, network=DENIED) == [
        f"wrong  {HOOKS}/qemu keeps guests or networks from starting: {DENIED}; "
        f"run install.sh again, or: rm {HOOKS}/qemu, then reload libvirt",
        f"note   no network hook is laid, since {DENIED}; libvirt is followed; "
        "to have hooks: install.sh --selinux-module",
        NO_DAEMON,
    ]


@pytest.mark.parametrize(
    ("began_ago", "reloaded_ago", "has_noticed"),
    [(60, None, False), (60, 30, False), (60, -10, True), (-10, None, True)],
    ids=["never", "before", "reloaded", "started since"],
)
def test_a_daemon_that_has_not_noticed(
    tmp_path: Path, began_ago: int, reloaded_ago: int | None, has_noticed: bool
) -> None:
    """It looks for hooks when it starts, and when it is told to reload, which our own
    hook has noted; the hooks are laid now."""
    host(tmp_path)
    process(tmp_path, 77, "virtqemud", began_ago, "run/virtqemud.pid")
    if reloaded_ago is not None:
        mark = tmp_path / "state/daemons/77"
        mark.write_text("")
        at = time.time() - reloaded_ago
        os.utime(mark, (at, at))

    what = "virtqemud has not looked for hooks since they were laid"
    note = f"wrong  {what}; run: kill -HUP 77"
    assert found(tmp_path)[-1:] == (
        [f"ok     hooks in {HOOKS}"] if has_noticed else [note]
    )


def test_a_container_that_has_a_libvirt(tmp_path: Path) -> None:
    """Its daemon is none of this host's, whose files of process numbers count."""
    host(tmp_path)
    process(tmp_path, 77, "virtqemud", 60, "opt/another-root")

    assert found(tmp_path)[1:] == [NO_DAEMON]


def by_itself() -> Record:
    """web1, which the service has found."""
    one = record(guest())
    one.is_followed = True
    return one


@pytest.mark.parametrize(
    ("guest_ago", "is_said"),
    [(-20, True), (-24, False), (60, False)],
    ids=["some seconds ago", "a moment ago", "before they were laid"],
)
def test_a_guest_whose_hook_was_not_called(
    tmp_path: Path, guest_ago: int, is_said: bool
) -> None:
    """It is said of one that started when its daemon knew of the hook; of one that may
    be about to call it, or that ran before, it is not. It is half a minute later."""
    host(tmp_path)
    process(tmp_path, 77, "virtqemud", -1, "run/virtqemud.pid")
    process(tmp_path, 78, "qemu", guest_ago, "run/libvirt/qemu/web1.pid")
    later = time.time() + 30

    said = find_uncalled(
        [by_itself()], f"{tmp_path}/state", str(tmp_path), lambda: later
    )

    assert [one.guest.name for one in said] == ["web1"] * is_said


@pytest.mark.parametrize("what", ["called", "not laid", "not noticed"])
def test_a_hook_that_could_not_be_called(tmp_path: Path, what: str) -> None:
    """Nor of a guest whose hook was, is not there, or is not known to the daemon."""
    directory = host(tmp_path)
    one = by_itself()
    one.is_followed = what != "called"
    if what == "not laid":
        (directory / "qemu").unlink()
    began = 60 if what == "not noticed" else -1
    process(tmp_path, 77, "virtqemud", began, "run/virtqemud.pid")
    process(tmp_path, 78, "qemu", -20, "run/libvirt/qemu/web1.pid")
    later = time.time() + 30

    said = find_uncalled([one], f"{tmp_path}/state", str(tmp_path), lambda: later)

    assert said == []


def test_who_lays_hooks(tmp_path: Path) -> None:
    """install.sh of the checkout; on a host with the package, that would refuse, and
    the package's own does it. The SELinux module may be a package of its own."""
    share, said = tmp_path / "usr/share/vfwhooks", []
    said.append([installer(str(tmp_path), has) for has in (False, True)])
    share.mkdir(parents=True)
    (share / "install.sh").touch()
    said.append([installer(str(tmp_path), has) for has in (False, True)])
    (share / "templates").mkdir()
    (share / "templates/vfwhooks.cil").touch()
    said.append([installer(str(tmp_path), has) for has in (False, True)])

    own = "/usr/share/vfwhooks/install.sh"
    assert said == [
        [("install.sh",), ("install.sh", "--selinux-module")],
        [(own, "--configure"), ("dnf", "install", "vfwhooks-selinux")],
        [(own, "--configure"), (own, "--configure-selinux")],
    ]
