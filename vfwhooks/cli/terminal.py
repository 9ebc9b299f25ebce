"""A terminal, and what is written there: colours by rich where rich is installed, and a
screen that is drawn over. Only this module imports rich."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from .excerpts import Line, fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console

_WIDTH, _HEIGHT = 80, 24
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at the stream."""
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def takes_escapes() -> bool:
    """Whether the terminal knows escape sequences."""
    return os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def takes_colours() -> bool:
    """Whether the terminal knows colours, and its user wants them (no-color.org)."""
    return takes_escapes() and not os.environ.get("NO_COLOR")


def size_of(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of a terminal, or what is usual if it does not tell."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except OSError:
        return _WIDTH, _HEIGHT
    return found.columns or _WIDTH, found.lines or _HEIGHT


class Terminal:
    """A stream that is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = _open_console(stream)
        self._is_drawing = False

    def write(self, lines: Sequence[Line]) -> None:
        """Write lines; the terminal itself breaks long ones."""
        self._stream.write("".join(f"{one}\n" for one in self._render(lines)))
        self._stream.flush()

    def draw(self, head: Sequence[Line], body: Sequence[Line]) -> None:
        """Draw over what was drawn before. Where there is no room for all of the body,
        its end is drawn."""
        width, height = size_of(self._stream)
        top = [piece for line in head for piece in fold(line, width)]
        rest = [piece for line in body for piece in fold(line, width)]
        room = height - len(top)
        if len(rest) > room:
            hidden = len(rest) - max(room, 2) + 1
            rest = [[(f"… {hidden} lines more", "dim")], *rest[hidden:]]
        shown = self._render([*top, *rest][-height:])
        start = "" if self._is_drawing else _ENTER
        self._is_drawing = True
        text = "\n".join(f"{one}{_END_OF_LINE}" for one in shown)
        self._stream.write(f"{start}{_HOME}{text}{_BELOW}")
        self._stream.flush()

    def leave(self) -> None:
        """Show again what was there before the first `draw`."""
        if self._is_drawing:
            self._is_drawing = False
            with suppress(OSError):  # it may be gone, with the one who looked
                self._stream.write(_LEAVE)
                self._stream.flush()

    def _render(self, lines: Sequence[Line]) -> list[str]:
        """Each line as it is sent."""
        if self._console is None:
            return ["".join(text for text, _ in line).rstrip() for line in lines]
        from rich.text import Text

        found = []
        for line in lines:
            with self._console.capture() as captured:
                self._console.print(Text.assemble(*line), soft_wrap=True, end="")
            found.append(captured.get())
        return found


def _open_console(stream: TextIO) -> Console | None:
    """rich's console; None without rich, or where the user wants no colours."""
    if not takes_colours():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, force_terminal=True, highlight=False, emoji=False)
