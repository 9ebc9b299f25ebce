"""excerpts: a line and a caret, as a terminal has room for them; who is shown it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import CHECKOUT, PROPERTY
from vfwhooks.cli.excerpts import excerpt, split_lines

WIDTH = 40


@pytest.mark.parametrize(
    ("line", "column", "shown", "before"),
    [
        ("  web1: [80:x]", 10, "  web1: [80:x]", "         "),
        ("\tweb1", 2, "        web1", "        "),
        ("ab\tc\td", 6, "ab      c       d", " " * 16),
        ("日本: x", 5, "日本: x", " " * 6),
        ("e\u0301: x", 5, "e\u0301: x", "   "),
        ("\x1b[31m: x", 8, "\\x1b[31m: x", " " * 10),
        ("\udcff: x", 4, "\\xff: x", " " * 6),
        ("x", 99, "x", " "),
    ],
    ids=["plain", "tab", "tabs", "wide", "combining", "escape", "byte", "behind"],
)
def test_a_line(line: str, column: int, shown: str, before: str) -> None:
    """The caret stands below the column, whatever is before it."""
    assert excerpt(line, column, WIDTH) == [f"    {shown}", f"    {before}^"]


@pytest.mark.parametrize("line", ["", "  \t"])
def test_a_line_without_anything(line: str) -> None:
    """There is nothing to point at."""
    assert excerpt(line, 1, WIDTH) == []


def test_a_long_line() -> None:
    """It is cut on both sides, and the column is in the middle."""
    line = "".join(f"{n:<5}" for n in range(1000))

    found = excerpt(line, 2501, WIDTH)

    assert found == [
        "    … 497  498  499  500  501  502  50…",
        "                     ^",
    ]


@PROPERTY
@given(
    st.text(st.characters(categories=("L", "N", "P", "Zs", "Cc", "Mn")), min_size=1),
    st.integers(1, 120),
)
def test_any_line(line: str, column: int) -> None:
    """Nothing steers the terminal, and the caret is within it."""
    found = excerpt(line, column, WIDTH)

    assert all(one.isprintable() and one.find("^", 4) < WIDTH for one in found[1:])
    assert all(one.isprintable() for one in found)


def test_lines_as_yaml_counts_them() -> None:
    """Whatever YAML takes for a line's end, and nothing else that Python does."""
    data = "\ufeffa\r\nb\rc\x85d\u2028e\x0cf\n".encode()

    assert split_lines(data) == ["a", "b", "c", "d", "e\x0cf", ""]


def on_a_terminal(directory: Path, *arguments: str) -> str:
    """What `vfwhooks check` writes on a terminal of 80 columns."""
    ours, its = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environment["VFWHOOKS_STATE"] = f"{directory}/state"
    argv = [sys.executable, "-m", "vfwhooks", "check", *arguments]
    with subprocess.Popen(
        argv, stdin=its, stdout=its, stderr=its, cwd=directory, env=environment
    ):
        os.close(its)
        said = b""
        try:
            while data := os.read(ours, 4096):
                said += data
        except OSError:  # nobody has the other end any more
            pass
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def test_a_terminal_is_shown_the_line(tmp_path: Path) -> None:
    """Below each problem; the escape sequence in it is not sent."""
    (tmp_path / "f.yaml").write_text('guests:\n  "ü日":\t[80:x]  # \x7f\n')

    said = on_a_terminal(tmp_path, "f.yaml")

    head, *rest = said.splitlines()
    assert (head.partition(";")[0], rest) == (
        "f.yaml:2:19: not YAML: unacceptable character #x007f: "
        "control characters are not allowed",
        ['      "ü日":        [80:x]  # \\x7f', " " * 30 + "^"],
    )


def test_a_program_is_told_all(tmp_path: Path) -> None:
    """One object on standard output, and the exit status as ever."""
    (tmp_path / "f.yaml").write_text("guests: {target: [80x, 81]}\n")
    argv = [sys.executable, "-m", "vfwhooks", "check", "--format", "json", "f.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environment["VFWHOOKS_STATE"] = f"{tmp_path}/state"

    done = subprocess.run(
        argv, check=False, cwd=tmp_path, capture_output=True, env=environment
    )

    told = json.loads(done.stdout)
    key = "is this a key of a port of a guest? then indent it"
    assert (done.returncode, done.stderr, told) == (
        2,
        b"",
        {
            "files": ["f.yaml"],
            "problems": [
                {
                    "file": "f.yaml",
                    "line": 1,
                    "column": 10,
                    "level": "warning",
                    "message": f"a guest called target; {key}",
                },
                {
                    "file": "f.yaml",
                    "line": 1,
                    "column": 19,
                    "level": "error",
                    "message": "'80x' is not a port or a range of ports",
                },
            ],
        },
    )
