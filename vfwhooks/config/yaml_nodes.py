"""What a file of YAML is read as: nodes with their places, and problems at a place.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union


@dataclass(frozen=True)
class Place:
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """A problem at a place. If `is_warning`, the file is valid; if `is_passing`, the
    problem may end without an edit: the file could not be read."""

    place: Place
    message: str
    is_warning: bool = False
    is_passing: bool = False

    def __str__(self) -> str:
        word = "warning: " if self.is_warning else ""
        return f"{self.place}: {word}{self.message}"


@dataclass(frozen=True)
class Text:
    """A scalar as written; '' for an empty one. `lines` are its lines if there are
    several, which is rarely meant."""

    place: Place
    value: str
    lines: tuple[Text, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Items:
    """A list."""

    place: Place
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Pairs:
    """A mapping; no key stands in it twice."""

    place: Place
    nodes: tuple[tuple[Text, Node], ...]


Node = Union[Text, Items, Pairs]


@dataclass(frozen=True)
class Span:
    """From where to where a node is written, line and column from 0; of what is not in
    flow style, and no scalar, only the begin is sure."""

    first: tuple[int, int]
    last: tuple[int, int]
    is_flow: bool


# By id() of their nodes: only who edits a file needs them.
Spans = dict[int, Span]
