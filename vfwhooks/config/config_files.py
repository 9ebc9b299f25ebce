"""The files of the configuration, and the order of their problems."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .yaml_nodes import Place, Problem


def find_files(main: Path, more: Iterable[Path] = ()) -> list[Path]:
    """forwards.yaml, and the files of forwards.d beside it, in reading order; `more`
    files count as if they were there."""
    found = [main] if os.path.lexists(main) or main in more else []
    drop_ins = sorted({*main.parent.glob("forwards.d/*.yaml"), *more} - {main})
    return found + [path for path in drop_ins if not path.name.startswith(".")]


def find_passed_over(main: Path) -> list[Problem]:
    """A warning for each file beside them that is not read because its name ends in
    .yml."""
    directory, what = main.parent, "is not read; its name has to end in .yaml"
    return [
        Problem(Place(str(path)), what, is_warning=True)
        for path in [directory / "forwards.yml", *directory.glob("forwards.d/*.yml")]
        if path != main and path.exists() and not path.name.startswith(".")
    ]


def in_file_order(problems: Iterable[Problem], files: list[Path]) -> list[Problem]:
    """The problems in the order of the files, lines and columns."""
    order = {str(path): number for number, path in enumerate(files)}
    return sorted(
        problems,
        key=lambda p: (order.get(p.place.file, 0), p.place.line, p.place.column),
    )
