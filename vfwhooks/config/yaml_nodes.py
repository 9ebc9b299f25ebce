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
Plain = Union[str, "list[Plain]", "dict[str, Plain]"]


def pairs(node: Node | None) -> dict[str, Node]:
    """What a mapping holds, by key; nothing for anything else."""
    nodes = node.nodes if isinstance(node, Pairs) else ()
    return {key.value: one for key, one in nodes}


def listed(node: Node | None) -> tuple[Node, ...]:
    """What a list holds; a node in place of a list counts as one of it alone."""
    if isinstance(node, Items):
        return node.nodes
    return () if node is None else (node,)


def plain(node: Node) -> Plain:
    """What is said, wherever it stands."""
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Items):
        return [plain(one) for one in node.nodes]
    return {key: plain(one) for key, one in pairs(node).items()}


@dataclass(frozen=True)
class Span:
    """From where to where a node is written, line and column from 0; of what is not in
    flow style, and no scalar, only the begin is sure."""

    first: tuple[int, int]
    last: tuple[int, int]
    is_flow: bool


# By id() of their nodes: only who edits a file needs them.
Spans = dict[int, Span]
