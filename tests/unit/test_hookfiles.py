"""hookfiles: whether libvirt calls our hooks, from the files below a root directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfwhooks.hookfiles import check_hooks

HOOKS = "/etc/libvirt/hooks"
TEXT = (
    "#!/bin/sh\n# vfwhooks: is this event ours?\ndriver=qemu\nlib=/opt/vfw state=/run\n"
)
NO_DAEMON = "note   no libvirt daemon is running"


def host(root: Path, *drivers: str) -> Path:
    """A host with our hooks for these drivers; its directory of hooks."""
    (root / "proc").mkdir()
    (root / "proc/stat").write_text("cpu 1 2 3\nbtime 1000\n")
    (root / "opt/vfw/vfwhooks").mkdir(parents=True)
    (root / "opt/vfw/vfwhooks/hook.py").write_text("")
    directory = root / HOOKS[1:]
    directory.mkdir(parents=True)
    for driver in drivers or ("qemu", "network", "daemon"):
        (directory / driver).write_text(TEXT)
        (directory / driver).chmod(0o755)
    return directory


def found(root: Path) -> list[str]:
    """What is said of the host."""
    return [str(finding) for finding in check_hooks(str(root))]


def test_sound_hooks(tmp_path: Path) -> None:
    """The three that are needed."""
    host(tmp_path)

    assert found(tmp_path) == [f"ok     hooks in {HOOKS}", NO_DAEMON]


def test_hooks_beside_others(tmp_path: Path) -> None:
    """Where somebody else has the hook, ours is in the directory beside it."""
    directory = host(tmp_path)
    (directory / "qemu.d").mkdir()
    (directory / "qemu").rename(directory / "qemu.d/vfwhooks")
    (directory / "qemu").write_text("#!/bin/sh\nexit 0\n")

    assert found(tmp_path) == [f"ok     hooks in {HOOKS}", NO_DAEMON]


def test_a_hook_that_is_missing(tmp_path: Path) -> None:
    """Those of drivers that need none are not missed."""
    host(tmp_path, "qemu", "daemon")

    what = f"no network hook of vfwhooks in {HOOKS}"
    assert found(tmp_path) == [f"wrong  {what}; install.sh puts it there", NO_DAEMON]


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
    assert found(tmp_path) == [
        f"wrong  {h}/qemu {link}; install.sh puts a file there",
        f"wrong  {h}/network is not executable; run: chmod 755 {h}/network",
        f"wrong  {h}/daemon can be written by others; run: chmod go-w {h}/daemon",
        f"wrong  {h}/lxc calls /opt/gone, where there is no vfwhooks; "
        "run install.sh again",
        NO_DAEMON,
    ]


@pytest.mark.parametrize(("ticks", "is_older"), [(0, True), (1 << 50, False)])
def test_a_daemon_older_than_the_hooks(
    tmp_path: Path, ticks: int, is_older: bool
) -> None:
    """It cannot have seen them, unless it was told to look again."""
    host(tmp_path)
    process = tmp_path / "proc/77"
    process.mkdir()
    (process / "comm").write_text("virtqemud\n")
    words = ["S", *["0"] * 18, str(ticks), "0"]
    (process / "stat").write_text("77 (virt (x) emud) " + " ".join(words) + "\n")

    what = "virtqemud runs since before the hooks were installed"
    note = f"note   {what}; unless it was reloaded since: pkill -HUP virtqemud"
    assert found(tmp_path)[1:] == [note] * is_older
