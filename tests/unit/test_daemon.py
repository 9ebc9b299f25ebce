"""daemon: what the loop does about others; they are made up. What comes of it on a host
is in tests/faults/test_watch.py and test_doorbell.py."""

from __future__ import annotations

import time
from pathlib import Path
from unittest.mock import MagicMock, Mock, patch

import pytest

from unit.builders import fresh_state
from vfwhooks.config import last_good
from vfwhooks.service import daemon
from vfwhooks.service.event_counter import EventCounter
from vfwhooks.service.schedule import Schedule
from vfwhooks.service.watched_files import SHORT
from vfwhooks.store.state import State
from vfwhooks.values.errors import OutOfTime


class Loop(daemon.Watch):
    """With nothing to listen to, and a compilation that never comes to an end that
    counts: its child is killed, or the file is not to be read."""

    def __init__(self, root: Path) -> None:
        self._state = fresh_state(root)
        self._config = f"{root}/forwards.yaml"
        self._retry = daemon._RETRY_AT_FIRST
        self._schedule = Schedule()
        self._tick = 0.0
        self.is_compiling = False
        self._children = Mock(is_at=lambda _: self.is_compiling)
        self._jobs = Mock(compile_edited=self.begin)
        for name in (
            "_log",
            "_rulesets",
            "_guests",
            "_ringing",
            "_surveyor",
        ):
            setattr(self, name, Mock())
        self._counter = EventCounter(self._state)
        self._watched = Mock(read=dict, guests=[])

    def begin(self) -> None:
        """A child compiles."""
        self.is_compiling = True

    def end(self) -> None:
        """It has ended, and nothing has come of it."""
        self.is_compiling = False
        self._work({"compiled"})

    @property
    def retry(self) -> float:
        """Seconds until the next try."""
        return self._retry


def test_a_compilation_that_fails_all_the_time(tmp_path: Path) -> None:
    """It is tried again less and less often: each is a process and a look at all."""
    loop = Loop(tmp_path)
    tried = []
    reconciler = MagicMock(tools=[])
    reconciler.return_value.report = Mock(problems=[], said=[], carried=[], checks=[])
    with (
        patch.object(daemon, "Reconciler", reconciler),
        patch.object(State, "lock"),
        patch.object(last_good, "has_good", return_value=True),
        patch.object(last_good, "is_in_force", return_value=False),
        patch.object(last_good, "is_settled", return_value=True),
    ):
        for _ in range(4):
            loop._work({"again"})
            loop.end()
            tried.append(loop.retry)

    assert tried == [2, 4, 8, 16]


def test_a_state_directory_that_is_full(tmp_path: Path) -> None:
    """What could not be written down does not end the loop: all is looked at again."""
    loop = Loop(tmp_path)
    full = OSError(28, "No space left on device")

    before = time.monotonic()
    with patch.object(loop._ringing, "is_rung", side_effect=full):
        is_done = loop._turn([])

    is_soon = before < loop._schedule.next() <= time.monotonic() + 1
    assert (is_done, is_soon) == (False, True)


def test_work_that_a_shortage_has_interrupted(tmp_path: Path) -> None:
    """It stays due, and everything is read anew before it."""
    loop = Loop(tmp_path)
    loop._schedule.add("daemon", 0)
    short = OSError(24, "Too many open files")

    with (
        patch.object(loop._ringing, "is_rung", return_value=False),
        patch.object(loop._surveyor, "work", side_effect=short),
    ):
        loop._turn([])

    assert set(loop._schedule._due) == {"daemon", "anew"}


@pytest.mark.parametrize(
    ("error", "is_marked", "what"),
    [
        (OutOfTime("somebody has it"), False, "elements"),
        (OSError(24, "Too many open files"), False, "elements"),
        (OSError(24, "Too many open files"), True, "again"),
    ],
)
def test_a_full_sync_that_has_not_begun(
    tmp_path: Path, error: Exception, is_marked: bool, what: str
) -> None:
    """It stays due, unless a mark in the state directory asks for it."""
    loop = Loop(tmp_path)
    loop._jobs = Mock()
    if is_marked:
        loop._state.ask_full()

    with (
        patch.object(State, "lock", side_effect=error),
        patch.object(last_good, "has_good", return_value=True),
        patch.object(last_good, "is_in_force", return_value=True),
    ):
        loop._work({"elements"})

    assert set(loop._schedule._due) == {what}


def test_a_host_without_room_for_watches(tmp_path: Path) -> None:
    """This is said once, with the cure; at each check all is read."""
    loop = Loop(tmp_path)
    loop._is_short = False
    loop._watched = Mock(is_short=True, listen=set, guests=[])
    said, looks = Mock(), Mock()

    with (
        patch.object(loop._log, "say", said),
        patch.object(loop._guests, "look_at_all", looks),
    ):
        for _ in range(2):
            loop._listen()

    lines = [call.args[0] for call in said.call_args_list]
    assert (lines, looks.call_count) == ([SHORT], 2)
