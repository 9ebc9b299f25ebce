"""Linters as tests. One that is not installed is a failure."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unit.builders import CHECKOUT

SHELL = (
    *("hooks/*", "install.sh", "tests/run", ".ci/run", "tests/lab/*.sh"),
    *("benchmarks/run", "benchmarks/wiki-hook"),
    *("packaging/build-*", "packaging/source-tree"),
    "packaging/debian/p*",
)
SCRIPTS = sorted(
    str(path.relative_to(CHECKOUT))
    for pattern in SHELL
    for path in CHECKOUT.glob(pattern)
)
SOURCES = sorted(
    str(path.relative_to(CHECKOUT))
    for directory in ("vfwhooks", "tests", "benchmarks")
    for path in (CHECKOUT / directory).rglob("*.py")
)
RUFF = "tests/ruff.toml"


def complaints(*argv: str) -> str:
    """What a linter says of the checkout; '' if it is content."""
    done = subprocess.run(
        argv, capture_output=True, check=False, cwd=CHECKOUT, text=True
    )
    return done.stdout + done.stderr if done.returncode else ""


def test_ruff_format() -> None:
    """The code is formatted."""
    found = complaints(
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--no-cache",
        "--config",
        RUFF,
        "--check",
    )

    assert found == ""


def test_ruff_check() -> None:
    """No complaint, and every exception says why."""
    found = complaints(
        sys.executable, "-m", "ruff", "check", "--no-cache", "--config", RUFF, "--quiet"
    )

    assert found == ""


def test_mypy() -> None:
    """Package and tests are typed, strictly."""
    argv = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull]
    argv.append("--explicit-package-bases")  # there is more than one conftest.py

    found = complaints(*argv, "vfwhooks", "tests", "benchmarks")

    assert found == ""


# Those of the lab's caches are built anew when one letter of them is another.
@pytest.mark.parametrize(
    "script", [one for one in SCRIPTS if one[-8:] not in ("/tree.sh", "image.sh")]
)
def test_cd_goes_where_it_is_told(script: str) -> None:
    """With CDPATH exported, cd would find another directory, and print its path."""
    before, cd, _ = (CHECKOUT / script).read_text().partition('cd "$(dirname "$0")')

    assert not cd or "\nunset CDPATH" in before


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck(script: str) -> None:
    """Shell scripts are sh, and clean."""
    found = complaints("shellcheck", script)

    assert found == ""


def test_there_are_scripts() -> None:
    """A pattern that finds nothing would be a test that cannot fail."""
    expected = {"hooks/qemu", "install.sh", "tests/run", ".ci/run", "tests/lab/box.sh"}

    assert expected <= set(SCRIPTS)


@pytest.mark.parametrize("source", SOURCES)
def test_python_3_9(source: str) -> None:
    """The oldest Python that is supported reads every file."""
    text = (CHECKOUT / source).read_text()

    assert ast.parse(text, source, feature_version=(3, 9))


@pytest.mark.parametrize("source", SOURCES)
def test_ignored_complaints_say_why(source: str) -> None:
    """`type: ignore` and `noqa` name what they ignore, and a reason."""
    wrong = [
        line.strip()
        for line in (CHECKOUT / source).read_text().splitlines()
        for mark in ("# type: ignore", "# noqa")
        if mark in line and '"' + mark not in line and "`" not in line
        if not is_explained(line.partition(mark)[2])
    ]

    assert wrong == []


def is_explained(rest: str) -> bool:
    """Whether what stands behind the mark is a code and a reason."""
    code, _, reason = rest.lstrip(":").strip().partition(" ")
    return bool(code.strip("[]")) and len(reason.strip("-# ")) > 3


def test_no_test_is_skipped_for_good() -> None:
    """No test of this directory is skipped or expected to fail."""
    marks = "pytest." + "skip", "mark." + "skip", "mark." + "xfail", "import" + "orskip"

    found = [
        path.name
        for path in sorted(Path(__file__).parent.glob("*.py"))
        if any(mark in path.read_text() for mark in marks)
    ]

    assert found == []
