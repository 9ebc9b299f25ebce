"""dry_run: the copy of the state on which `apply --dry-run` works."""

from __future__ import annotations

from pathlib import Path

from unit.builders import files_of, fresh_state, guest, record
from vfwhooks.cli.dry_run import _copy_state
from vfwhooks.store.state import State


def copied(state: State) -> Path:
    """Its copy, beside it."""
    copy = Path(state.path).parent / "copy"
    _copy_state(state, copy)
    return copy


def test_what_is_copied(tmp_path: Path) -> None:
    """Everything, whatever a guest is called, but the lock, and what somebody is
    writing."""
    state = fresh_state(tmp_path)
    state.keep(record(guest("lock")))
    state.write("base", "backend nftables")
    (Path(state.path) / "tmp/1").touch()

    copy = copied(state)

    assert [*files_of(copy)] == ["base", "guests/qemu/lock"]


def test_files_are_not_copied(tmp_path: Path) -> None:
    """They get a second name, while everybody waits for the lock; what changes on one
    side stays as it was on the other."""
    state = fresh_state(tmp_path)
    for name in ("base", "broken", "full"):
        state.write(name, "before")

    copy = copied(state)

    links = {path.stat().st_nlink for path in copy.glob("b*")}
    state.write("base", "after")
    scratch = State(str(copy))
    scratch.write("broken", "after")
    scratch.remove("full")
    names = "base", "broken", "full"
    assert (links, [*map(state.read, names)], [*map(scratch.read, names)]) == (
        {2},
        ["after", "before", "before"],
        ["before", "after", ""],
    )
