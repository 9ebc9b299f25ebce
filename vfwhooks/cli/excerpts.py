"""Columns of a terminal: a line of a file with a caret below a column, and how wide a
text is. Pure.

Tabs and wide characters take their room, control characters are shown as escapes, and a
long line is cut around the column.
"""

from __future__ import annotations

import re
from unicodedata import category, east_asian_width

from ..values.errors import show

# Text, and its style by rich's names; '' for none.
Part = tuple[str, str]
Line = list[Part]
_INDENT = "    "
_CUT = "…"
_NARROWEST = 20
_NEAR = 1000  # characters on each side of the column; no terminal shows more
_TAB = 8
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # where YAML begins a new line


def split_lines(data: bytes) -> list[str]:
    """The lines as YAML counts them; a byte that is not UTF-8 is one character."""
    return _BREAK.split(data.decode("utf-8", "surrogateescape").lstrip("\ufeff"))


def excerpt(line: str, column: int, width: int) -> list[str]:
    """The line and the caret, in no more than `width` columns; nothing for a line that
    has nothing to see. The column counts characters from 1."""
    if not line.strip():
        return []
    at = min(column - 1, len(line))
    start = max(0, at - _NEAR)
    end = at + _NEAR
    cells = _cells(line[start:end])
    room = max(width - len(_INDENT), _NARROWEST)
    at -= start
    first, last = _window([taken for _, taken in cells], at, room)
    head = _CUT if start or first else ""
    tail = _CUT if end < len(line) or last < len(cells) else ""
    shown = "".join(text for text, _ in cells[first:last])
    before = len(head) + sum(taken for _, taken in cells[first:at])
    return [
        (_INDENT + head + shown + tail).rstrip(),
        _INDENT + " " * before + "^",
    ]


def _cells(line: str) -> list[tuple[str, int]]:
    """Each character as it is shown, and how many columns it takes."""
    found, column = [], 0
    for character in line:
        text, taken = show(character), _width(character)
        if character == "\t":
            taken = _TAB - column % _TAB
            text = " " * taken
        found.append((text, taken))
        column += taken
    return found


def _width(character: str) -> int:
    if not character.isprintable():
        return len(show(character))
    if category(character) in ("Mn", "Me"):
        return 0  # it stands on the one before
    return 2 if east_asian_width(character) in ("W", "F") else 1


def width_of(text: str) -> int:
    """How many columns a text takes that has no control characters."""
    return len(text) if text.isascii() else sum(map(_width, text))


def fold(line: Line, width: int) -> list[Line]:
    """A line of styled parts in pieces of `width` columns at most."""
    pieces: list[Line] = [[]]
    used = 0
    for text, style in line:
        start = 0
        for at, character in enumerate(text):
            taken = _width(character)
            if used + taken > width:
                pieces[-1].append((text[start:at], style))
                pieces.append([])
                start, used = at, 0
            used += taken
        pieces[-1].append((text[start:], style))
    return pieces


def _window(widths: list[int], at: int, room: int) -> tuple[int, int]:
    """The cells that have room, with the one at the column, and about as much on its
    left as on its right."""
    if sum(widths) < room:  # the caret may stand behind the last one
        return 0, len(widths)
    room -= 2 * len(_CUT) + 1
    first = last = at
    used = 0
    while first and used + widths[first - 1] <= room // 2:
        first -= 1
        used += widths[first]
    while last < len(widths) and used + widths[last] <= room:
        used += widths[last]
        last += 1
    while first and used + widths[first - 1] <= room:
        first -= 1
        used += widths[first]
    return first, last
