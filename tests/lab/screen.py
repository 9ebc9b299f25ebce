"""A command's screen as a picture: what a real terminal of 100 columns was sent, as SVG
in the terminal's own colours, light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from .host import Host

COLUMNS = 100
_SIZE, _LINE, _ADVANCE = 14, 19, 0.602
_PAD, _TOP = 18, 46
_SGR = re.compile(r"\x1b\[([\d;]*)m")
# Other things that are sent to a terminal, and that change no character of a line.
_OTHER = re.compile(r"\x1b\[[\d;?]*[A-Za-ln-z]|\x1b\][^\x07]*\x07|\r")
_FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
# Page, frame, ink, dim, and the colours 1 to 6 of a terminal.
_LIGHT = (
    *("#fbfcfd", "#c5ced8", "#1f2933", "#5b6875"),
    *("#a8231c", "#176b3f", "#8a5300", "#1d4ed8", "#86198f", "#0e7490"),
)
_DARK = (
    *("#0d1117", "#4b5866", "#e6edf3", "#98a4b0"),
    *("#ff8078", "#4cc38a", "#e3b341", "#79b8ff", "#d2a8ff", "#56d4dd"),
)
_NAMES = "ink", "dim", *(f"c{number}" for number in range(1, 7))
_OF_MANY = re.compile(r"[34]8;(?:5;\d+|2;\d+;\d+;\d+)")  # a colour of 256, or of any
_PTY = """\
import os, pty, sys
def read(fd):
    return os.read(fd, 65536)
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], read)))
"""


def show_on_terminal(host: Host, *command: str) -> str:
    """What the command, run on a terminal of the host, has sent there."""
    env = {
        "PYTHONPATH": Host.CHECKOUT,
        "COLUMNS": f"{COLUMNS}",
        "TERM": "xterm-256color",
    }
    done = host.call(["/usr/bin/python3", "-c", _PTY, *command], env=env)
    assert done.status in (0, 1), done.stderr + done.stdout
    return done.stdout


def screen_lines(sent: str) -> list[list[tuple[frozenset[str], str]]]:
    """The lines of the screen as parts with their looks; a long line goes on below."""
    lines = []
    look: frozenset[str] = frozenset()
    for line in _OTHER.sub("", sent).rstrip("\n").split("\n"):
        parts, used = [], 0
        pieces = _SGR.split(line)
        for number, piece in enumerate(pieces):
            if number % 2:
                look = _changed(look, piece)
                continue
            while used + len(piece) > COLUMNS:
                parts.append((look, piece[: COLUMNS - used]))
                lines.append(parts)
                piece, parts, used = piece[COLUMNS - used :], [], 0
            used += len(piece)
            parts += [(look, piece)] if piece else []
        lines.append(parts)
    return lines


def _changed(look: frozenset[str], codes: str) -> frozenset[str]:
    """The look after an SGR sequence; of the colours only the first eight are drawn."""
    codes = _OF_MANY.sub("", codes or "0")
    for code in map(int, filter(None, codes.split(";"))):
        bare = frozenset(one for one in look if not one.startswith("c"))
        if code == 0:
            look = frozenset()
        elif code in (1, 2):
            look |= {"bold" if code == 1 else "dim"}
        elif code == 22:
            look -= {"bold", "dim"}
        elif 31 <= code <= 36 or 91 <= code <= 96:
            look = bare | {f"c{code % 10}"}
        elif code == 39:
            look = bare
    return look


def draw_screen(title: str, typed: str, sent: str) -> str:
    """The picture of a terminal's window: a prompt, the command, and what it has
    sent."""
    lines = [[(frozenset({"dim"}), "# "), (frozenset({"bold"}), typed)]]
    lines += screen_lines(sent)
    width = round(COLUMNS * _SIZE * _ADVANCE) + 2 * _PAD
    height = _TOP + _LINE * (len(lines) - 1) + _PAD
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}">',
            f"<title>{escape(title)}</title>",
            "<style>",
            f"text {{ font: {_SIZE}px {_FONT}; white-space: pre }}",
            ".bold { font-weight: 700 }",
            *_colours(_LIGHT),
            "@media screen and (prefers-color-scheme: dark) {",
            *_colours(_DARK),
            "}",
            "</style>",
            f'<rect class="page frame" x="1" y="1" width="{width - 2}" '
            f'height="{height - 2}" rx="9"/>',
            *(
                f'<circle class="dot" cx="{18 + 16 * n}" cy="17" r="5"/>'
                for n in (0, 1, 2)
            ),
            *(_text(number, parts) for number, parts in enumerate(lines) if parts),
            "</svg>",
            "",
        ]
    )


def _colours(colours: tuple[str, ...]) -> Iterator[str]:
    page, frame, *inks = colours
    yield f".page {{ fill: {page} }}"
    yield f".frame {{ stroke: {frame} }} .dot {{ fill: {frame} }}"
    for name, ink in zip(_NAMES, inks):
        yield f".{name} {{ fill: {ink} }}"


def _text(number: int, parts: list[tuple[frozenset[str], str]]) -> str:
    y = _TOP + _LINE * number
    spans, at = [], 0
    for look, words in parts:
        # A place for each part: no font may push the columns apart.
        x = _PAD + round(at * _SIZE * _ADVANCE, 1)
        classes = " ".join(sorted(look if look & {*_NAMES} else look | {"ink"}))
        if words.strip():
            spans.append(f'<tspan x="{x:g}" class="{classes}">{escape(words)}</tspan>')
        at += len(words)
    return f'<text xml:space="preserve" y="{y}">{"".join(spans)}</text>'
