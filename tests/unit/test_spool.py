"""spool: events written down, until somebody has carried them out; real files."""

from __future__ import annotations

import errno
import os
import posix
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given

from unit.builders import NAMES, PROPERTY
from vfwhooks.service import hook
from vfwhooks.store import files, spool
from vfwhooks.store.spool import HookEvent

FIRST = "00000000000000000001-1.1"


def event(name: str = "web1", stamp: int = 0, data: bytes = b"<domain/>") -> HookEvent:
    """A guest that has started."""
    return HookEvent("qemu", name, "started", data, stamp)


def put(state: str, one: HookEvent) -> str:
    """Have a hook write the event down; its file."""
    return hook.put(state, (one.driver, one.name, one.operation, one.data, one.stamp))


def words(found: HookEvent | None) -> object:
    """An event as values."""
    return found and (
        *(found.driver, found.name, found.operation),
        *(found.data, found.stamp),
    )


def state(tmp_path: Path) -> str:
    """A state directory that no hook has made yet."""
    return f"{tmp_path}/state"


def test_what_is_put_is_found(tmp_path: Path) -> None:
    """Byte for byte, and when it was."""
    one = event(data=b"<domain>\0\xff</domain>\n")

    file = put(state(tmp_path), one)

    ((where, found),) = spool.waiting(state(tmp_path))
    assert (where, words(found)) == (file, words(one))


@PROPERTY
@given(NAMES.filter(lambda name: "\0" not in name))
def test_any_name(name: str) -> None:
    """Whatever a guest is called, one file is written and read."""
    one, kept = event(name, 7), {}

    def keep(_: str, name: str, data: bytes) -> None:
        kept[name.rpartition("/")[2]] = data

    with (
        patch.object(hook, "_write", keep),
        patch.object(files, "names", lambda _: list(kept)),
        patch.object(files, "read", lambda path: kept[path.rpartition("/")[2]]),
        patch.object(posix, "lstat", lambda _: os.stat_result([0o40700, *[0] * 9])),
        patch.object(posix, "geteuid", lambda: 0),
    ):
        put("/state", one)
        ((_, found),) = spool.waiting("/state")

    assert words(found) == words(one)


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    """In the order in which hooks were called, whoever wrote first."""
    for stamp in (30, 200, 4):
        put(state(tmp_path), event(stamp=stamp))

    found = [one.stamp for _, one in spool.waiting(state(tmp_path)) if one]

    assert found == [4, 30, 200]


def test_where_nothing_is_there_yet(tmp_path: Path) -> None:
    """The first event of a host makes what it needs, which is root's alone."""
    put(state(tmp_path), event())

    modes = {
        name: (tmp_path / "state" / name).stat().st_mode & 0o777
        for name in ("", "spool", "tmp")
    }
    assert modes == {"": 0o700, "spool": 0o700, "tmp": 0o700}


@pytest.mark.parametrize("missing", ["spool", "tmp"])
def test_a_directory_of_a_former_release(tmp_path: Path, missing: str) -> None:
    """What it did not have is made."""
    put(state(tmp_path), event(stamp=1))
    for path in (tmp_path / "state" / missing).iterdir():
        path.unlink()
    (tmp_path / "state" / missing).rmdir()

    put(state(tmp_path), event(stamp=2))

    assert [one.stamp for _, one in spool.waiting(state(tmp_path)) if one][-1] == 2


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_can_write(tmp_path: Path, mode: int) -> None:
    """What they put there would be carried out: nothing is written."""
    put(state(tmp_path), event(stamp=1))
    (tmp_path / "state").chmod(mode)

    with pytest.raises(PermissionError, match="is not ours alone"):
        put(state(tmp_path), event(stamp=2))

    assert len(spool.waiting(state(tmp_path))) == 1


def test_a_link_in_its_place(tmp_path: Path) -> None:
    """It is not followed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").symlink_to("elsewhere")

    with pytest.raises(PermissionError, match="is not ours alone"):
        put(state(tmp_path), event())


def test_a_file_in_its_place(tmp_path: Path) -> None:
    """It is said."""
    (tmp_path / "state").write_text("")
    (tmp_path / "state").chmod(0o600)

    with pytest.raises(OSError, match=r"Not a directory|is no directory"):
        put(state(tmp_path), event())


@pytest.mark.parametrize("name", ["00000000000000000001-1.2", "1-1", "new", ".1.swp"])
def test_another_format_is_left_alone(tmp_path: Path, name: str) -> None:
    """It is another release's: it is no event of ours, and stays."""
    put(state(tmp_path), event())
    ((mine, _),) = spool.waiting(state(tmp_path))
    (tmp_path / "state" / mine).rename(tmp_path / "state" / "spool" / name)

    found = spool.waiting(state(tmp_path)), spool.has_any(state(tmp_path))

    assert found == ([], False)


@pytest.mark.parametrize("driver", ["", "/emu", "..", "a\n"])
def test_a_driver_that_is_none(tmp_path: Path, driver: str) -> None:
    """Files get a driver's name: what cannot be one is no event."""
    put(state(tmp_path), event())
    ((file, _),) = spool.waiting(state(tmp_path))
    data = f"{driver}\0web1\0started\0<domain/>".encode()
    (tmp_path / "state" / file).write_bytes(data)

    assert spool.waiting(state(tmp_path)) == [(file, None)]


def garbage(path: Path) -> None:
    """No word of ours."""
    path.write_bytes(b"garbage")


def cut_short(path: Path) -> None:
    """As no rename leaves a file."""
    path.write_bytes(b"qemu\0web1\0")


def empty(path: Path) -> None:
    """Nothing in it."""
    path.write_bytes(b"")


def directory(path: Path) -> None:
    """No file."""
    path.mkdir()


def link(path: Path) -> None:
    """To a file of somebody else's."""
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("make", [garbage, cut_short, empty, directory, link])
def test_what_cannot_be_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """It is told as such, and those beside it are read."""
    put(state(tmp_path), event(stamp=5))
    make(tmp_path / "state" / "spool" / FIRST)

    (where, broken), (_, found) = spool.waiting(state(tmp_path))

    assert (where, broken, words(found)) == (
        f"spool/{FIRST}",
        None,
        words(event(stamp=5)),
    )


def test_a_stamp_that_is_no_number(tmp_path: Path) -> None:
    """A name that no hook of ours gave."""
    put(state(tmp_path), event())
    ((mine, _),) = spool.waiting(state(tmp_path))
    (tmp_path / "state" / mine).rename(tmp_path / "state" / "spool" / "x-1.1")

    assert spool.waiting(state(tmp_path)) == [("spool/x-1.1", None)]


def test_a_host_that_cannot_read_for_a_moment(tmp_path: Path) -> None:
    """No descriptor, no memory: the event is good, and stays for the next one."""
    put(state(tmp_path), event())
    busy = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with (
        patch.object(files, "read", side_effect=busy),
        pytest.raises(OSError, match="Too many open files"),
    ):
        spool.waiting(state(tmp_path))

    assert spool.has_any(state(tmp_path))


def test_one_that_goes_meanwhile(tmp_path: Path) -> None:
    """Who looks without the lock may find a name whose file is gone."""
    put(state(tmp_path), event())

    with patch.object(files, "read", return_value=None):
        found = spool.waiting(state(tmp_path))

    assert found == []


def test_whether_any_waits(tmp_path: Path) -> None:
    """On a host without a directory none does."""
    before = spool.has_any(state(tmp_path))

    put(state(tmp_path), event())

    assert (before, spool.has_any(state(tmp_path))) == (False, True)
