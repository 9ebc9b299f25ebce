"""watched_files: what it means that a file has changed. The files are real."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock, patch

import pytest

from vfwhooks.host.inotify import Inotify
from vfwhooks.service.watched_files import Watched
from vfwhooks.store.state import MADE_LAST

CONFIG = "etc/forwards.yaml"
ANEW = f"run/{MADE_LAST}"


def watched(root: Path) -> Watched:
    """Of a host that has a configuration, a state directory and leases."""
    for name in ("etc/forwards.d", "etc2", "run/aside", "run/guests/qemu", "leases"):
        (root / name).mkdir(parents=True)
    (root / "etc2" / "web.yaml").write_text("")
    (root / "etc" / "forwards.d" / "web.yaml").symlink_to(root / "etc2" / "web.yaml")
    (root / "daemons").mkdir()
    (root / "daemons" / "there.pid").write_text("1")
    daemons = [f"{root}/daemons/{name}.pid" for name in ("libvirtd", "there")]
    leases = [f"{root}/leases"]
    found = Watched(f"{root}/run", f"{root}/{CONFIG}", leases, (), daemons)
    found.listen()
    return found


def write(path: Path) -> None:
    """As most do: it is opened, written and closed."""
    path.write_text("x")


def replace(path: Path) -> None:
    """As careful ones do: it is renamed into its place."""
    other = path.parent.parent / "new"
    other.write_text("x")
    other.rename(path)


KEPT: list[object] = []


def keep_open(path: Path) -> None:
    """As libvirt's daemons do with the file of their number."""
    file = path.open("r+")
    file.write("22")
    file.flush()
    KEPT.append(file)


def remove(path: Path) -> None:
    """As they do in the end."""
    path.unlink()


def touch_mode(path: Path) -> None:
    """As chmod does."""
    path.chmod(0o700)


CASES = {
    # what is done to which file, what that means
    "edited": (write, CONFIG, {"config": CONFIG}),
    "replaced": (replace, CONFIG, {"config": CONFIG}),
    "a drop-in": (write, "etc/forwards.d/a.yaml", {"config": "etc/forwards.d/a.yaml"}),
    "a link's target": (write, "etc2/web.yaml", {"config": "etc2/web.yaml"}),
    "beside a link's target": (write, "etc2/other", {}),
    "beside the configuration": (write, "etc/other", {}),
    "its directory": (touch_mode, "etc", {"config": "etc"}),
    "the drop-ins' directory": (
        touch_mode,
        "etc/forwards.d",
        {"config": "etc/forwards.d"},
    ),
    "a link's target's directory": (touch_mode, "etc2", {"config": "etc2"}),
    "a record": (replace, "run/guests/qemu/web1", {"record": "run/guests/qemu/web1"}),
    "a lease": (write, "leases/virbr0.status", {"lease": "leases/virbr0.status"}),
    "a mark": (write, "run/full", {"full": "run/full"}),
    "an event that is late": (replace, "run/late", {"late": "run/late"}),
    "a hook that rang in vain": (replace, "run/deaf", {"deaf": "run/deaf"}),
    "a daemon that comes up": (
        write,
        "daemons/libvirtd.pid",
        {"daemon": "daemons/libvirtd.pid"},
    ),
    "a daemon that keeps the file": (
        keep_open,
        "daemons/there.pid",
        {"daemon": "daemons/there.pid"},
    ),
    "a daemon that ends": (remove, "daemons/there.pid", {}),
    "another daemon": (write, "daemons/other.pid", {}),
    "set aside": (replace, "run/aside/web1", {"aside": "run/aside/web1"}),
    "made anew": (replace, ANEW, {"state": ANEW}),
    "another file of the state": (write, "run/lock", {}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_change_means(name: str, tmp_path: Path) -> None:
    """Every kind of file, by the ways in which they change."""
    change: Callable[[Path], None]
    change, path, means = CASES[name]
    found = watched(tmp_path)

    change(tmp_path / path)

    news = {kind: {f"{tmp_path}/{one}"} for kind, one in means.items()}
    assert found.read() == news


def test_a_directory_that_comes_later(tmp_path: Path) -> None:
    """Its parent tells of it, and it is watched when it is listened to again."""
    found = watched(tmp_path)
    later = tmp_path / "run" / "guests" / "lxc"
    before = found.listen()

    later.mkdir()

    assert (before, found.listen(), found.listen()) == (set(), {str(later)}, set())


def test_a_directory_that_goes(tmp_path: Path) -> None:
    """News of what was in there may have been lost."""
    found = watched(tmp_path)

    (tmp_path / "run" / "guests" / "qemu").rmdir()

    assert found.read() == {"directory": {f"{tmp_path}/run/guests/qemu"}}


@pytest.mark.parametrize(
    ("code", "is_short"),
    [(errno.ENOSPC, True), (errno.ENOMEM, True), (errno.ENOENT, False)],
)
def test_watches_that_the_kernel_refuses(
    tmp_path: Path, code: int, is_short: bool
) -> None:
    """A directory that does not exist is no fault; one for which there is no room is,
    until there is."""
    found = watched(tmp_path)

    def refuse(*_: object) -> int:
        ctypes.set_errno(code)
        return -1

    libc = Mock(inotify_add_watch=refuse)
    with patch.object(found._inotify, "_libc", libc):
        found.listen()
    seen = [found.is_short]
    found.listen()
    seen.append(found.is_short)

    assert seen == [is_short, False]


def test_a_host_without_room_for_instances() -> None:
    """The message names the setting."""

    def refuse(_: int) -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    libc = Mock(inotify_init1=refuse)
    with (
        patch.object(ctypes, "CDLL", return_value=libc),
        pytest.raises(OSError, match=r"fs\.inotify\.max_user_instances"),
    ):
        Inotify()
