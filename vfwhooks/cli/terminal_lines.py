"""Lines of `explain` for a person at a terminal: wrapped at its width below their own
words, with a few colours."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator

from .terminal import is_terminal, takes_colours

_LEAST = 40  # columns: below that wrapping makes it worse
_KEY = re.compile(
    r" *(?:made by|does|why|if lost|holds|note|written|kernel|way|back|then):? +"
)
_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"
_WHOLE = (
    (re.compile(r"\S.*, chain .* \(.*\)$|published ports\b|\d+ rules?$"), _BOLD),
    (re.compile(r" *made by: "), _DIM),
)
_VERDICT = re.compile(
    r"(?P<green>^ +let in(?! to the host)|^it gets there)|"
    r"(?P<red>^ +(?:rejected|dropped)|^it is (?:rejected|dropped))|"
    r"(?P<yellow>^ *depends on|^not read)"
)
_COLOURS = {"green": _GREEN, "red": _RED, "yellow": _YELLOW}


def for_reader(lines: Iterable[str]) -> Iterator[str]:
    """The lines as they are for a pipe or a file; for a terminal as wide as it is."""
    if not is_terminal(sys.stdout):
        yield from lines
        return
    columns = shutil.get_terminal_size().columns
    is_coloured = takes_colours()
    for line in lines:
        for number, part in enumerate(wrap(line, columns)):
            yield coloured(line, part, number) if is_coloured else part


def wrap(line: str, columns: int) -> list[str]:
    """The line in parts; the later ones stand below its first word, or below what its
    key is about. Long words stay whole: they can be copied."""
    if len(line) <= columns or columns < _LEAST:
        return [line]
    key = _KEY.match(line)
    indent = key.end() if key else len(line) - len(line.lstrip()) + 4
    head = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line.lstrip(),
        columns,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def coloured(line: str, part: str, number: int) -> str:
    """A part of a line in its colours; `number` counts the parts from 0."""
    for pattern, colour in _WHOLE:
        if pattern.match(line):
            return _in(colour, part)
    verdict = _VERDICT.search(line)
    if verdict and number == 0:
        end = verdict.end()
        return _in(_COLOURS[verdict.lastgroup or ""], part[:end]) + part[end:]
    return part


def _in(colour: str, text: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[m"
