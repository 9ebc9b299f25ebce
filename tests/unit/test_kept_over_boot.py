"""The last good configuration over a boot."""

from __future__ import annotations

import os
import posix
import threading
import time
from pathlib import Path

import pytest

from unit.builders import fresh_state
from vfwhooks.config import kept_over_boot


def read(path: str) -> str:
    """A kept file's content."""
    return Path(path, "compiled").read_text()


def wait_for(path: Path) -> None:
    """Until the file is there; at most a minute, against hanging."""
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_what_is_in_force_is_kept(tmp_path: Path) -> None:
    """Each newer one in place of the last; where nothing is in force, nothing."""
    state = fresh_state(tmp_path)
    kept_over_boot.keep(state)
    before = Path(state.kept).exists()
    found = []

    for data in (b"first", b"second", b"second"):
        state.put_compiled(data)
        kept_over_boot.keep(state)
        found.append(read(state.kept))

    assert (before, found) == (False, ["first", "second", "second"])


def test_it_is_safe_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves the old one or the new one."""
    state = fresh_state(tmp_path)
    seen: list[bool] = []
    state.put_compiled(b"compiled")
    named = Path(state.kept, "compiled")
    monkeypatch.setattr(posix, "fsync", lambda _: seen.append(named.exists()))

    kept_over_boot.keep(state)

    assert (seen, read(state.kept)) == ([False], "compiled")


def test_where_it_cannot_be_kept(tmp_path: Path) -> None:
    """The caller hears why, and has a line for whoever reads the log."""
    state = fresh_state(tmp_path)
    state.kept = "/proc/nowhere"
    state.put_compiled(b"compiled")

    with pytest.raises(OSError, match="No such file") as caught:
        kept_over_boot.keep(state)

    said = "/proc/nowhere: No such file or directory; not kept over a boot"
    assert kept_over_boot.complaint(state, caught.value) == said


def test_nobody_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller goes on while a busy disk takes its time, and a pipe that it has open
    is not held open: whoever awaits its end does not wait either."""
    state = fresh_state(tmp_path)
    state.put_compiled(b"compiled")
    is_safe = tmp_path / "safe"
    monkeypatch.setattr(posix, "fsync", lambda _: wait_for(is_safe))
    awaited, its_end = os.pipe()

    kept_over_boot.keep_behind(state)
    os.close(its_end)
    ended = os.read(awaited, 1)
    seen = Path(state.kept, "compiled").exists()
    is_safe.touch()
    os.wait()

    os.close(awaited)
    assert (ended, seen, read(state.kept)) == (b"", False, "compiled")


def test_the_newest_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited for the one before keeps what is in force then."""
    state = fresh_state(tmp_path)
    state.put_compiled(b"first")
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        entered.set()
        go_on.wait(60)

    monkeypatch.setattr(posix, "fsync", slow)
    both = [
        threading.Thread(target=kept_over_boot.keep, args=(state,)) for _ in range(2)
    ]

    both[0].start()
    assert entered.wait(60)
    state.put_compiled(b"second")
    both[1].start()
    state.put_compiled(b"third")
    go_on.set()
    for one in both:
        one.join(60)

    assert read(state.kept) == "third"


def test_what_was_kept_is_taken(tmp_path: Path) -> None:
    """After a boot, what was in force before it; on a new host, nothing."""
    state = fresh_state(tmp_path)
    kept_over_boot.take(state)
    before = state.read("compiled")
    state.put_compiled(b"compiled")
    kept_over_boot.keep(state)
    state.remove("compiled")

    kept_over_boot.take(state)

    assert (before, state.read("compiled")) == ("", "compiled")


def test_what_is_damaged_is_dropped(tmp_path: Path) -> None:
    """In both places: it would come back with the next boot."""
    state = fresh_state(tmp_path)
    state.put_compiled(b"compiled")
    kept_over_boot.keep(state)

    kept_over_boot.drop(state)
    kept_over_boot.take(state)

    assert state.read("compiled") == ""
