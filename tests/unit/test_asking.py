"""asking: who asks libvirtd, and what stops meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from unit.builders import files_of, fresh_state
from vfwhooks.cli import applied
from vfwhooks.store import asking

WEB, LXC = ("qemu", "web1"), ("lxc", "web1")


def test_a_guest_that_stops_while_nobody_asks(tmp_path: Path) -> None:
    """No answer names it: nothing is noted."""
    state = fresh_state(tmp_path)

    asking.note_stopped(state, WEB, 5000)

    assert (files_of(Path(state.path)), asking.stopped_at(state, WEB)) == ({}, 0)


def test_a_guest_that_stops_while_somebody_asks(tmp_path: Path) -> None:
    """libvirtd's answer may still name it: when it stopped is noted."""
    state = fresh_state(tmp_path)
    asking.begin(state)

    asking.note_stopped(state, WEB, 5000)

    found = asking.stopped_at(state, WEB), asking.stopped_at(state, LXC)
    assert found == (5000, 0)


def test_an_answer_that_was_taken_in(tmp_path: Path) -> None:
    """What was noted for it is not needed any more."""
    state = fresh_state(tmp_path)
    asking.begin(state)
    asking.note_stopped(state, WEB, 5000)

    asking.end(state)

    assert files_of(Path(state.path)) == {}


def test_an_answer_that_somebody_else_waits_for(tmp_path: Path) -> None:
    """What stopped stays noted until nobody asks; who was killed asks no more."""
    state = fresh_state(tmp_path)
    state.write(f"asking/{os.getppid()}", "")
    state.write("asking/99999999", "")
    asking.begin(state)
    asking.note_stopped(state, WEB, 5000)

    asking.end(state)

    found = state.names("asking"), asking.stopped_at(state, WEB)
    assert found == ([str(os.getppid())], 5000)


def test_an_answer_that_is_not_taken_in(tmp_path: Path) -> None:
    """After a dry run, or when `apply` was ended, nobody asks any more."""
    state = fresh_state(tmp_path)

    with (
        patch.object(applied, "ask_libvirtd", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        applied.apply(state, f"{tmp_path}/forwards.yaml", is_dry=True)

    assert state.names("asking") == []


def test_when_a_guest_stopped_cannot_be_read(tmp_path: Path) -> None:
    """A file of somebody else's is no time, and no traceback."""
    state = fresh_state(tmp_path)
    state.write("gone/qemu.web1", "yesterday\n")

    found = asking.stopped_at(state, WEB)

    assert found == 0
