"""tests/run --long: every test in one part, sizes by hand count, results are rows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from long_runs import HEAD, PARTS, Part, find_others, find_result, find_sizes, put_row

from unit.builders import CHECKOUT

MODEL = Part("model", "tests/model", {"STEPS": "100000", "PARTS": "3"}, "steps")
# Another run of the same, where things are, and what no test's size is.
NO_SIZES = {
    *("VFWHOOKS_STATE", "VFWHOOKS_CONFIG", "VFWHOOKS_LAB_CACHE"),
    *("VFWHOOKS_LAB_MIRROR", "VFWHOOKS_NO_SKIPS"),
    *("VFWHOOKS_SHOTS", "VFWHOOKS_WRITE"),
    *("VFWHOOKS_FUZZ_SEED", "VFWHOOKS_SOAK_SEED", "VFWHOOKS_LONG"),
}


def test_every_test_is_in_one_part() -> None:
    """All parts together run what tests/run runs, each file once."""
    files = [
        str(path.relative_to(CHECKOUT))
        for path in sorted((CHECKOUT / "tests").rglob("test_*.py"))
    ]
    counts = {
        file: sum(
            is_below(file, part.path)
            and not any(is_below(file, other) for other in find_others(part))
            for part in PARTS
        )
        for file in files
    }

    assert (len(files) > 150, set(counts.values())) == (True, {1})


def is_below(file: str, path: str) -> bool:
    """Whether it is the file, or one of the directory's."""
    return file == path or file.startswith(f"{path}/")


def test_every_size_has_a_part() -> None:
    """Whatever variable makes a test longer is set by --long."""
    texts = (path.read_text() for path in (CHECKOUT / "tests").rglob("*.py"))
    asked = {name for text in texts for name in re.findall(r"VFWHOOKS_[A-Z_]+", text)}

    assert asked - NO_SIZES == {name for part in PARTS for name in part.sizes}


def test_every_part_has_a_row() -> None:
    """The last result of each stands in docs, or that there is none yet."""
    page = (CHECKOUT / "docs/long-runs.md").read_text()

    assert re.findall(r"(?m)^\| ([a-z0-9-]+) \|", page) == [
        "part",
        *(part.name for part in PARTS),
    ]


def test_a_size_set_by_hand_counts() -> None:
    """The others are those of the table."""
    found = find_sizes(MODEL, {"STEPS": "40", "HOME": "/root"})

    assert found == {"STEPS": "40", "PARTS": "3"}


@pytest.mark.parametrize(
    ("status", "output", "result"),
    [
        (
            0,
            "=== figures ===\ntest_any[nft]: steps: 33,300\n"
            "test_any[nft]: steps a second: 62\ntest_any[ipt]: steps: 240\n"
            "=== 6 passed in 3.20s (0:00:03) ===\n",
            "33,540 steps; 6 passed",
        ),
        (1, "=== 1 failed, 5 passed in 3.2s ===\n", "1 failed, 5 passed"),
        (1, "= 5 passed, 1 skipped in 3.2s =\n", "failed: 5 passed, 1 skipped"),
        (2, "tests/run: needs root\n", "failed: ended with status 2"),
    ],
    ids=["passed", "failed", "skipped", "nothing run"],
)
def test_result(status: int, output: str, result: str) -> None:
    """The sum of the part's figure and the tests that passed; a failure is said."""
    found = find_result(MODEL, status, output)

    assert found == result


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"# A\n\n{HEAD}| fuzz | a |\n\nEnd.\n", "# A\n\n{}| fuzz | a |\n{}\nEnd.\n"),
        (f"{HEAD}| model | old |\n| soak | b |\n", "{}{}| soak | b |\n"),
        (HEAD, "{}{}"),
        ("# A\n", "# A\n\n{}{}"),
    ],
    ids=["new part", "known part", "no part", "no table"],
)
def test_a_row_has_one_place(before: str, after: str) -> None:
    """It takes the place of the part's former row; a new part's is the last."""
    row = "| model | new |\n"

    found = put_row(before, row)

    assert found == after.format(HEAD, row)


@pytest.mark.parametrize(
    ("value", "said"), [("", "1 passed, 1 desel"), ("1", "2 pass")]
)
def test_marked_long(tmp_path: Path, value: str, said: str) -> None:
    """A test with the mark is left out unless VFWHOOKS_LONG is set, and not skipped."""
    file = tmp_path / "test_two.py"
    file.write_text(
        "import pytest\ndef test_one(): ...\n@pytest.mark.long\ndef test_two(): ...\n"
    )
    env = {"PYTHONPATH": str(CHECKOUT / "tests"), "VFWHOOKS_LONG": value}
    options = ["-p", "conftest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", CHECKOUT / "setup.cfg", *options, file],
        capture_output=True,
        check=False,
        env=env,
        text=True,
    )

    assert f"== {said}" in done.stdout
