"""children: of whose end the service hears by poll; the children are real."""

from __future__ import annotations

import select
import signal
import subprocess
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from unit.builders import descriptors
from vfwhooks.service.children import Children, Ended

LONG = 50.0


class House:
    """Children, those that have ended, and the poll by which that is heard."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.children = Children(self.poll)
        self.ended: dict[str, Ended] = {}

    def start(self, name: str, script: str, seconds: float = LONG) -> None:
        """Have sh run the script."""

        def on_end(ended: Ended) -> None:
            self.ended[name] = ended

        self.children.start(name, ["/bin/sh", "-c", script], on_end, seconds)

    def turn(self) -> None:
        """One turn of the loop."""
        wait = max(0.0, self.children.next() - time.monotonic())
        for fd, _ in self.poll.poll(min(wait, 1.0) * 1000 + 1):
            assert self.children.knows(fd)
            self.children.hear(fd)
        self.children.end_late_ones()

    def until(self, *names: str) -> dict[str, Ended]:
        """How these have ended, once they have."""
        deadline = time.monotonic() + LONG
        while not set(names) <= set(self.ended):
            assert time.monotonic() < deadline
            self.turn()
        return self.ended


def test_a_child(tmp_path: Path) -> None:
    """Its status and all it has said, by either way, without standard input."""
    del tmp_path
    house = House()
    house.start("one", "cat; echo out; echo err >&2; exit 3")
    was_at = house.children.is_at("one")

    found = house.until("one")

    assert (was_at, found) == (True, {"one": Ended(3, "out\nerr\n")})


def test_when_it_has_ended() -> None:
    """Nothing is left of it: no descriptor, no errand, no time to wait for."""
    before = descriptors()
    house = House()
    house.start("one", ":")
    house.until("one")
    at = house.children.is_at("one"), house.children.next()

    del house

    assert (at, descriptors()) == ((False, float("inf")), before)


def test_one_ended_by_a_signal() -> None:
    """Its number, below 0."""
    house = House()
    house.start("one", "kill -TERM $$")

    assert house.until("one")["one"].status == -signal.SIGTERM


def test_one_that_has_had_its_time() -> None:
    """It is ended; what it has said until then is told."""
    house = House()
    house.start("one", "echo begun; exec sleep 1000")
    (child,) = house.children._children.values()
    while child.said != b"begun\n":
        house.turn()
    child.until = 0

    assert house.until("one") == {"one": Ended(-signal.SIGKILL, "begun\n")}


def test_one_that_leaves_its_output_to_another() -> None:
    """It counts as running until its time is over, and is not waited for."""
    house = House()
    house.start("one", "sleep 3 & echo begun", seconds=0.3)

    assert house.until("one")["one"].said == "begun\n"


def test_one_that_closes_its_output_and_goes_on() -> None:
    """It is ended, a moment later."""
    house = House()
    house.start("one", "exec >&- 2>&-; exec sleep 1000")

    assert house.until("one")["one"].status == -signal.SIGKILL


def test_one_that_the_kernel_does_not_let_end() -> None:
    """It is not waited for: a disk that hangs would hold us, and hooks, for ever."""
    house = House()
    hangs = subprocess.TimeoutExpired("sh", 1)

    with patch.object(subprocess.Popen, "wait", side_effect=hangs):
        house.start("one", "exec sleep 1000", seconds=0.1)
        (child,) = house.children._children.values()
        found = house.until("one")

    child.process.wait()
    assert found["one"].status == -signal.SIGKILL


def test_several_at_once() -> None:
    """Each is told of by its own name; the first to have had its time counts."""
    house = House()
    begun = time.monotonic()
    house.start("slow", "exec sleep 1000", seconds=0.2)
    house.start("quick", "echo quick")
    house.start("loud", "head -c 300000 /dev/zero")
    next_one = house.children.next()

    found = house.until("slow", "quick", "loud")

    assert next_one < begun + LONG
    assert [found["quick"].said, len(found["loud"].said)] == ["quick\n", 300_000]
    assert found["slow"].status == -signal.SIGKILL


def test_what_is_said_that_is_no_utf_8() -> None:
    """It is told as well as it goes."""
    house = House()
    house.start("one", r"printf 'a\377b'")

    assert house.until("one")["one"].said == "a\ufffdb"


def test_one_whose_end_starts_another() -> None:
    """Under the same name: who asked while it ran has it run once more."""
    house = House()

    def on_end(_: Ended) -> None:
        house.start("one", "echo again")

    house.children.start("one", ["/bin/true"], on_end)

    assert house.until("one") == {"one": Ended(0, "again\n")}
    assert not house.children.is_at("one")


def test_what_is_not_there() -> None:
    """It is refused, and counts as no child."""
    house = House()

    with pytest.raises(FileNotFoundError):
        house.children.start("one", ["/nowhere/nothing"], lambda _: None)

    assert (house.children.is_at("one"), house.children.knows(0)) == (False, False)


def test_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of ours: PATH and the language are given."""
    monkeypatch.setenv("PYTHONPATH", "/tmp")
    house = House()
    house.start("one", "exec /usr/bin/env")

    names = {line.partition("=")[0] for line in house.until("one")["one"].said.split()}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "LC_ALL"}
