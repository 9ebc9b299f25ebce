"""Text of a drawing: safe in XML, of a known width, in lines that fit their place."""

from __future__ import annotations

import unicodedata
from html import escape

from ..values.errors import show

# Their characters have one width: 0.602 of the size, in each of them or less.
FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
_ADVANCE = 0.602
_BREAKS = " -/,:._"
_PLAIN = 0x250  # the end of the letters that these fonts have for sure
_SIGNS = "…–→✓✕·"


def width(text: str, size: float) -> float:
    """The width of a line, in pixels."""
    return sum(map(_columns, text)) * size * _ADVANCE


def _columns(character: str) -> int:
    """Characters of another font may be as wide as two."""
    if unicodedata.combining(character):
        return 0
    return 1 if ord(character) < _PLAIN or character in _SIGNS else 2


def wrapped(text: str, size: float, room: float, most: int = 6) -> list[str]:
    """The text in lines that fit into `room`; the last of `most` ends with … if more
    does not fit."""
    rest = show(text)
    lines: list[str] = []
    while rest:
        count = _fitting(rest, size, room)
        if count < len(rest) and len(lines) == most - 1:
            count = _fitting(rest, size, room - width("…", size))
            return [*lines, rest[:count].rstrip() + "…"]
        if count < len(rest):
            count = _break(rest, count)
        lines.append(rest[:count].rstrip())
        rest = rest[count:].lstrip()
    return lines


def _fitting(text: str, size: float, room: float) -> int:
    """The number of characters that fit, one at least."""
    used = 0.0
    for count, character in enumerate(text):
        used += width(character, size)
        if used > room and count:
            return count
    return len(text)


def _break(text: str, count: int) -> int:
    """A place for the end of the line, at most `count`: a blank, else a sign."""
    if text[count] == " ":
        return count
    blank = text.rfind(" ", count // 3, count)
    if blank > 0:
        return blank
    return next(
        (at for at in range(count, count // 2, -1) if text[at - 1] in _BREAKS), count
    )


def text(
    x: float, y: float, line: str, kind: str, size: float, anchor: str = ""
) -> str:
    """A text element. Where the width of a character is uncertain, the line is made as
    wide as computed."""
    shown = show(line)
    more = f' text-anchor="{anchor}"' if anchor else ""
    if any(_columns(one) != 1 for one in shown):
        more += (
            f' textLength="{width(shown, size):.1f}" lengthAdjust="spacingAndGlyphs"'
        )
    place = f'x="{x:g}" y="{y:g}" font-size="{size:g}"'
    return f'<text {place} class="{kind}"{more}>{escape(shown)}</text>'
