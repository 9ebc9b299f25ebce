"""progress: what long work is at, on a terminal and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unit.builders import CHECKOUT
from unit.terminals import child, read_until

_WORK = """
from vfwhooks.cli import progress
with progress.cleared():
    progress.tell("a\\x1bb")
    progress.tell("x" * 100)
print("done")
"""
OVER = "\r\x1b[K"


def test_a_terminal_is_told() -> None:
    """On one line, which is written over, is never too long, and does not stay; no
    escape sequence of a name is sent."""
    with child([sys.executable, "-c", _WORK], {}) as (_, ours):
        said = read_until(ours, "")

    long = "x" * 75
    assert said == f"{OVER}a\\x1bb ...{OVER}{long} ...{OVER}done\n"


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}])
def test_a_terminal_without_escapes_is_not_told(environment: dict[str, str]) -> None:
    """It could not be written over."""
    with child([sys.executable, "-c", _WORK], environment) as (_, ours):
        assert read_until(ours, "") == "done\n"


def test_a_pipe_is_not_told() -> None:
    """A log has the results alone."""
    done = subprocess.run(
        [sys.executable, "-c", _WORK],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(CHECKOUT), "TERM": "xterm"},
        text=True,
    )

    assert (done.stdout, done.stderr) == ("done\n", "")


def test_an_installation_on_a_terminal(tmp_path: Path) -> None:
    """It tells what it is at, and only its results stay."""
    argv = [f"{CHECKOUT}/install.sh"]
    with child(argv, {"DESTDIR": f"{tmp_path}/tree"}) as (_, ours):
        said = read_until(ours, "")

    steps = [one.partition("\n")[0] for one in said.split(OVER)]
    told = [one for one in steps if one.endswith(" ...")]
    assert (len(told), all(one.startswith("install.sh: ") for one in told)) == (3, True)
    assert steps[-1].startswith("install.sh: ") and " is installed; " in steps[-1]
