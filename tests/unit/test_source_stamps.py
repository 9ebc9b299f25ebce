"""source_stamps: lines that change with the files that a configuration is made from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vfwhooks.config import source_stamps


def written(tmp_path: Path) -> Path:
    """A forwards.yaml with forwards.d beside it."""
    (tmp_path / "forwards.d").mkdir()
    for name in ("forwards.yaml", "forwards.d/b.yaml", "forwards.d/a.yaml"):
        (tmp_path / name).write_text("guests: {}\n")
    return tmp_path / "forwards.yaml"


def paths(stamps: str) -> list[str]:
    """The paths that stamps are about."""
    return [line.split(" ")[0] for line in stamps.split("\n")]


def test_stamps_are_about_every_file(tmp_path: Path) -> None:
    """forwards.yaml, forwards.d and what counts in there, and this release's own."""
    main = written(tmp_path)
    for name in (".hidden.yaml", "README", "c.yaml~", "d.yml"):
        (tmp_path / "forwards.d" / name).write_text("")

    found = paths(source_stamps.stamps(str(main)))

    release = Path(source_stamps.__file__).resolve()
    assert found == [
        f"{tmp_path}/forwards.yaml",
        f"{tmp_path}/forwards.d",
        f"{tmp_path}/forwards.d/a.yaml",
        f"{tmp_path}/forwards.d/b.yaml",
        str(release.parents[2] / "templates"),
        str(release),
    ]


def test_what_was_there(tmp_path: Path) -> None:
    """An absent file is stamped as that; a path may hold blanks."""
    directory = tmp_path / "my etc"
    directory.mkdir()
    (directory / "forwards.yaml").write_text("")

    stamps = source_stamps.stamps(f"{directory}/forwards.yaml")

    lines, there = stamps.split("\n"), source_stamps.stamped(stamps)
    assert lines[1] == f"{tmp_path}/my%20etc/forwards.d absent"
    assert there[0] == f"{directory}/forwards.yaml" and len(there) == len(lines) - 1


def test_a_path_without_a_directory() -> None:
    """A file in the working directory has its forwards.d there too."""
    found = paths(source_stamps.stamps("nowhere.yaml"))

    assert found[:2] == ["nowhere.yaml", "./forwards.d"]


def test_stamps_of_what_has_not_changed(tmp_path: Path) -> None:
    """The same files are the same stamps."""
    main = str(written(tmp_path))

    found = source_stamps.is_current(source_stamps.stamps(main), main)

    assert found


@pytest.mark.parametrize(
    "edit",
    ["write", "truncate", "replace", "remove", "add", "drop", "edit drop-in", "touch"],
)
def test_any_edit_is_seen(tmp_path: Path, edit: str) -> None:
    """Content, size, another file of the same name, a drop-in more or less."""
    main = written(tmp_path)
    taken = source_stamps.stamps(str(main))

    if edit == "write":
        main.write_text("guests: []\n")
    elif edit == "truncate":
        os.truncate(main, 0)
    elif edit == "replace":
        (tmp_path / "new").write_text("guests: {}\n")
        (tmp_path / "new").rename(main)
    elif edit == "remove":
        main.unlink()
    elif edit == "add":
        (tmp_path / "forwards.d" / "c.yaml").write_text("")
    elif edit == "drop":
        (tmp_path / "forwards.d" / "a.yaml").unlink()
    elif edit == "edit drop-in":
        (tmp_path / "forwards.d" / "b.yaml").write_text("guests: {x: []}\n")
    else:
        os.utime(main, ns=(1, 1))

    assert not source_stamps.is_current(taken, str(main))


def test_stamps_of_another_file_are_not_current(tmp_path: Path) -> None:
    """What was compiled from elsewhere is not what these files say."""
    main = written(tmp_path)
    other = tmp_path / "forwards.yaml.d"
    other.write_text("guests: {}\n")

    found = [
        source_stamps.is_current(source_stamps.stamps(str(other)), str(main)),
        source_stamps.is_current(source_stamps.stamps(str(main)), str(other)),
    ]

    assert found == [False, False]


def test_a_stamp_has_everything_that_an_edit_changes(tmp_path: Path) -> None:
    """Inode, size and both times to the nanosecond."""
    path = tmp_path / "f"
    path.write_text("12345")
    about = path.stat()

    found = source_stamps.stamp(str(path)).split(" ")

    times = [str(about.st_mtime_ns), str(about.st_ctime_ns)]
    assert found == [str(path), str(about.st_ino), "5", *times]
