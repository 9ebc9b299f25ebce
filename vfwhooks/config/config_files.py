"""The files of the configuration, and the order of their problems."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .yaml_nodes import Place, Problem


def find_files(main: Path, more: Iterable[Path] = ()) -> list[Path]:
    """forwards.yaml, and the files of forwards.d beside it, in reading order; `more`
    files count as if they were there. Raises OSError if forwards.d cannot be listed:
    its files must not seem gone."""
    found = [main] if os.path.lexists(main) or main in more else []
    there: list[Path] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        there += (main.parent / "forwards.d").iterdir()
    named = {one for one in there if one.name.endswith(".yaml")}
    drop_ins = sorted({*named, *more} - {main})
    return found + [path for path in drop_ins if not path.name.startswith(".")]


def files_to_read(
    main: Path, more: Iterable[Path], problems: list[Problem]
) -> list[Path]:
    """As `find_files`; none, and one more problem, if forwards.d cannot be listed."""
    try:
        return find_files(main, more)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        place = Place(str(main.parent / "forwards.d"))
        problems.append(Problem(place, said, is_passing=True))
        return []


def find_passed_over(main: Path) -> list[Problem]:
    """A warning for each file beside them that is not read because its name ends in
    .yml, and for a file in the place of forwards.d."""
    directory, what = main.parent, "is not read; its name has to end in .yaml"
    found = [
        Problem(Place(str(path)), what, is_warning=True)
        for path in [directory / "forwards.yml", *directory.glob("forwards.d/*.yml")]
        if path != main and path.exists() and not path.name.startswith(".")
    ]
    drop_ins = directory / "forwards.d"
    if drop_ins.exists() and not drop_ins.is_dir():
        what = "is not read; it has to be a directory, with files *.yaml in it"
        found.append(Problem(Place(str(drop_ins)), what, is_warning=True))
    return found


def in_file_order(problems: Iterable[Problem], files: list[Path]) -> list[Problem]:
    """The problems in the order of the files, lines and columns."""
    order = {str(path): number for number, path in enumerate(files)}
    return sorted(
        problems,
        key=lambda p: (order.get(p.place.file, 0), p.place.line, p.place.column),
    )
