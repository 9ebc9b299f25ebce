"""Sources of every kind, written after the formats' own documentation, and what is made
of them: tests/cases/import."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unit.builders import CHECKOUT
from vfwhooks.config.schema import read_forwards
from vfwhooks.importers.forwards_file import make_file
from vfwhooks.importers.settled_forwards import Known
from vfwhooks.importers.source_kinds import READERS, read_source

DIRECTORY = CHECKOUT / "tests/cases/import"
CASES = sorted(path.parent for path in DIRECTORY.glob("*/forwards.yaml"))
WRITES = "VFWHOOKS_WRITE" in os.environ


def source_of(case: Path) -> Path:
    """The file of a case that is imported."""
    (one,) = [path for path in case.iterdir() if path.name != "forwards.yaml"]
    return one


def known() -> Known:
    """The guests and the interfaces of the cases' host."""
    lines = (DIRECTORY / "known").read_text().split()
    found = dict(line.split("=") for line in lines)

    def one(key: str) -> list[str]:
        return [found[key]] if key in found else []

    return Known(one, one)


def made(source: Path, kind: str = "") -> str:
    """The text that comes of a source."""
    kind, found = read_source(source.read_text(), source.name, kind)
    return make_file(found, known(), f"{source.name} ({kind})").text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path) -> None:
    """The kind is found by content, and the whole file is as expected."""
    found = made(source_of(case))

    if WRITES:
        (case / "forwards.yaml").write_text(found)
    assert found == (case / "forwards.yaml").read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_checks_clean(case: Path, tmp_path: Path) -> None:
    """Our own checker has nothing against what is made."""
    path = tmp_path / "forwards.yaml"
    path.write_text(made(source_of(case)))

    guests, problems = read_forwards(path)

    assert (bool(guests), problems) == (True, [])


def test_every_kind_has_a_case() -> None:
    """A kind that nothing is recorded of is not tested."""
    kinds = {read_source(source_of(case).read_text(), "")[0] for case in CASES}

    assert kinds == set(READERS)
