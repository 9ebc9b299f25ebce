"""Problems of forwards.yaml on standard error: one line each, and for a terminal the
line of the file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..config.yaml_nodes import Problem
from ..config.yaml_tree import LARGEST
from ..values.errors import show
from .excerpts import excerpt, split_lines
from .terminal import size_of


def print_plain(problems: Iterable[Problem]) -> None:
    """One line for each problem: an edit shows the lines that it would write itself."""
    for problem in problems:
        print(show(str(problem)), file=sys.stderr)


def print_with_excerpts(problems: Iterable[Problem]) -> None:
    """One line for each problem; a terminal also gets the line of the file."""
    excerpts = _Excerpts(size_of(sys.stderr)[0]) if sys.stderr.isatty() else None
    for problem in problems:
        print(show(str(problem)), file=sys.stderr)
        for line in excerpts.of(problem) if excerpts else ():
            print(line, file=sys.stderr)


class _Excerpts:
    """The lines of files, each of which is read once."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._files: dict[str, list[str]] = {}

    def of(self, problem: Problem) -> Iterator[str]:
        """The line and the caret; nothing where there is no such line."""
        place = problem.place
        if place.file not in self._files:
            self._files[place.file] = _read(Path(place.file))
        for line in self._files[place.file][place.line - 1 : place.line]:
            yield from excerpt(line, place.column, self._width)


def _read(path: Path) -> list[str]:
    try:
        # No pipe, which would keep us waiting, nor what check has refused as too large.
        is_small = path.is_file() and path.stat().st_size <= LARGEST
        return split_lines(path.read_bytes()) if is_small else []
    except OSError:
        return []
