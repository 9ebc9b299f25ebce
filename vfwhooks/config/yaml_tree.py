"""Trees of places and text from forwards.yaml and forwards.d; only this module imports
PyYAML.

The trees are built from parser events. So every scalar stays as it was written (22:22
is no base-60 number), every problem has its line and column, and deep nesting does not
fill the composer's stack.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..values.errors import show
from .yaml_mistakes import Slip, find_slip, split
from .yaml_nodes import Items, Node, Pairs, Place, Problem, Span, Spans, Text

_DEEPEST = 12
LARGEST = 16 << 20  # bytes of a file
_MOST = 300_000
_LINES = 20
_NO_KEY = "a key must be plain text; an entry that begins with [ stands in quotes"
_NEXT = "; compare this line and the one above it with the examples in forwards.yaml(5)"
_OUT = "; take it out, or save the file as plain text"
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class NotRead(Exception):
    """A file that gives no tree, and the problem."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(place, message)


def read_tree(path: Path, problems: list[Problem]) -> Node | None:
    """The file as a tree; None, and one more problem, for anything but a YAML
    document."""
    place = Place(str(path))
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            _refuse_stranger(os.fstat(file.fileno()), place)
            return parse_tree(file.read(LARGEST + 1), place.file, problems)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        problems.append(Problem(place, said, is_passing=True))
    except NotRead as error:
        problems.append(error.problem)
    return None


def read_edited(path: Path, data: bytes, problems: list[Problem]) -> Node | None:
    """The tree of what is to stand in a file; None, and a problem more, for none."""
    try:
        return parse_tree(data, str(path), problems)
    except NotRead as error:
        problems.append(error.problem)
    return None


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the writer of a pipe; the caller refuses pipes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _refuse_stranger(about: os.stat_result, place: Place) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise NotRead(place, "is not a regular file")
    if about.st_uid not in (0, os.geteuid()):
        raise NotRead(place, f"belongs to user {about.st_uid}; chown it to root")
    if about.st_mode & stat.S_IWOTH:
        raise NotRead(place, "can be written by anybody; chmod o-w it")
    if about.st_size > LARGEST:
        raise NotRead(place, f"is larger than {LARGEST >> 20} MiB")


def parse_tree(
    data: bytes, name: str, problems: list[Problem], spans: Spans | None = None
) -> Node:
    """The tree of a file's content; `name` is for the places, `spans` are filled.

    Bad keys are reported and left out. Raises NotRead if there is no tree at all.
    """
    try:
        text = data.decode()
        read = _Reading(name, problems, text, spans)
        return read.tree(yaml.parse(text, Loader=_LOADER))
    except UnicodeDecodeError as error:
        place = _behind(data[: error.start].decode(), name)
        byte = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise NotRead(place, byte) from error
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text, name) from error
    except yaml.YAMLError as error:
        # PyYAML's loaders count the place of a character differently.
        character = getattr(error, "character", None)
        at = text.find(chr(character)) if isinstance(character, int) else 0
        place = _behind(text[:at], name)
        raise NotRead(place, f"not YAML: {str(error).splitlines()[0]}{_OUT}") from error


def _explained(error: yaml.MarkedYAMLError, text: str, name: str) -> NotRead:
    """The place of the mistake, and the next step in plain words."""
    mark = error.problem_mark or error.context_mark
    if not mark:
        return NotRead(Place(name), f"not YAML: {error.problem}{_NEXT}")
    advice = _advice(error, text)
    began = error.context_mark
    slip = advice or find_slip(
        text,
        (mark.line, mark.column),
        (began.line, began.column) if began else None,
        f"{error.context} {error.problem}",
    )
    if isinstance(slip, Slip):
        return NotRead(_place(slip, name), slip.what)
    return NotRead(_place(mark, name), f"not YAML: {error.problem}{advice or _NEXT}")


def _advice(error: yaml.MarkedYAMLError, text: str) -> str:
    """The cure for a character that YAML forbids there; '' for other mistakes."""
    mark = error.problem_mark
    line = "".join(split(text)[mark.line : mark.line + 1]) if mark else ""
    before, after = (line[: mark.column], line[mark.column :]) if mark else ("", "")
    if after.startswith("\t"):
        return "; write blanks in place of tabs"
    if "::" in before[-1:] + after[:2] or "]:" in before[-1:] + after[:1]:
        return "; an address with :: or in brackets stands in quotes"
    if after and "cannot start any token" in str(error.problem):
        return f"; what begins with {after[0]} stands in quotes"
    if "alphabetic or numeric" in str(error.problem) and before[-1:] in ("*", "&"):
        return f"; what begins with {before[-1]} stands in quotes"
    return ""


def _place(mark: yaml.Mark | Slip, name: str) -> Place:
    return Place(name, mark.line + 1, mark.column + 1)


def _behind(text: str, name: str) -> Place:
    """The place after a text that the file begins with, as YAML counts lines; a byte
    order mark is no column."""
    lines = split(text.removeprefix("\ufeff"))
    return Place(name, len(lines), len(lines[-1]) + 1)


@dataclass
class _Open:
    """A list or mapping whose end has not been read yet."""

    place: Place
    is_mapping: bool = False
    event: yaml.Event | None = None
    nodes: list[Node] = field(default_factory=list)

    def close(self, problems: list[Problem]) -> Node:
        if not self.is_mapping:
            return Items(self.place, tuple(self.nodes))
        lines: dict[str, int] = {}
        pairs = []
        for key, value in zip(self.nodes[::2], self.nodes[1::2]):
            if not isinstance(key, Text):
                problems.append(Problem(key.place, _NO_KEY))
            elif key.value in lines:
                first = f"it stands in line {lines[key.value]} already"
                problems.append(Problem(key.place, f"{show(key.value)}: {first}"))
            else:
                lines[key.value] = key.place.line
                pairs.append((key, value))
        return Pairs(self.place, tuple(pairs))


def _lines(event: yaml.ScalarEvent, name: str, text: list[str]) -> tuple[Text, ...]:
    """The first lines of an unquoted scalar; empty if it has one line only."""
    first, last = event.start_mark, event.end_mark
    if event.style or not first or not last or first.line == last.line:
        return ()
    found = []
    for number, line in enumerate(
        text[first.line : min(last.line, first.line + _LINES) + 1]
    ):
        begin = 0 if number else first.column
        words = line[begin : last.column if first.line + number == last.line else None]
        column = begin + len(words) - len(words.lstrip())
        if words.strip():
            place = Place(name, first.line + number + 1, column + 1)
            found.append(Text(place, words.strip()))
    return tuple(found) if len(found) > 1 else ()


class _Reading:
    """One reading of a file."""

    def __init__(
        self, name: str, problems: list[Problem], text: str, spans: Spans | None
    ) -> None:
        self._name, self._problems, self._spans = name, problems, spans
        self._written = split(text.removeprefix("\ufeff"))

    def tree(self, events: Iterable[yaml.Event]) -> Node:
        """The tree that the events make."""
        name, above = self._name, [_Open(Place(self._name))]
        for number, event in enumerate(events):
            mark = event.start_mark
            place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
            if number > _MOST:
                raise NotRead(place, f"more than {_MOST} values and brackets")
            if isinstance(event, yaml.ScalarEvent):
                text = Text(place, event.value, _lines(event, name, self._written))
                above[-1].nodes.append(text)
                self._note(text, event, event)
            elif isinstance(event, yaml.CollectionStartEvent):
                if len(above) > _DEEPEST:
                    raise NotRead(place, "nested too deeply")
                is_mapping = isinstance(event, yaml.MappingStartEvent)
                above.append(_Open(place, is_mapping, event))
            elif isinstance(event, yaml.CollectionEndEvent):
                closed = above.pop()
                node = closed.close(self._problems)
                above[-1].nodes.append(node)
                self._note(node, closed.event, event)
            elif isinstance(event, yaml.AliasEvent):
                what = "aliases (*name) are not supported; write it out"
                raise NotRead(place, f"{what}, or a pattern in quotes")
            elif isinstance(event, yaml.DocumentStartEvent) and above[0].nodes:
                raise NotRead(place, "a second document starts here; a file holds one")
        nodes = above[0].nodes
        return nodes[0] if nodes else Text(Place(name), "")

    def _note(self, node: Node, first: yaml.Event | None, last: yaml.Event) -> None:
        """Where a node is written."""
        if self._spans is not None and first and first.start_mark and last.end_mark:
            begin, end = first.start_mark, last.end_mark
            self._spans[id(node)] = Span(
                (begin.line, begin.column),
                (end.line, end.column),
                bool(getattr(first, "flow_style", False)),
            )
