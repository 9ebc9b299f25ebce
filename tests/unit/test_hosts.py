"""docs/hosts.md: what each host does, and the test that shows what we do about it."""

from __future__ import annotations

import re

import pytest

from unit.test_peers import TOP, functions

PAGE = (TOP / "docs" / "hosts.md").read_text()
ROWS = re.findall(r"(?m)^\| (.*) \| (.*`\w[\w/]*\.py::\w+`.*) \|$", PAGE)
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def test_there_are_rows() -> None:
    """Every row but the headings names a test."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]

    assert (len(ROWS), len(lines) - len(ROWS)) == (45, 4)


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_every_test_named_is_there(file: str, name: str) -> None:
    """A test that was renamed or dropped is missed here."""
    where = TOP / "tests" / (file if "/" in file else f"hosts/{file}")

    assert name in functions(where)


def test_every_test_of_a_host_is_named() -> None:
    """A test that shows something of a host is worth a row or a line."""
    found = {
        (path.name, name)
        for path in (TOP / "tests" / "hosts").glob("test_*.py")
        for name in functions(path)
        if name.startswith("test_")
    }
    known = {("test_generations.py", "test_there_are_cases")}

    assert found - set(NAMED) - known == set()


def test_every_generation_has_a_row() -> None:
    """The versions that the recorded cases are of."""
    cases = {path.name for path in (TOP / "tests/cases/generations").iterdir()}
    versions = {case.partition("-")[2] for case in cases}

    missing = [version for version in versions if version not in PAGE]

    assert missing == []
