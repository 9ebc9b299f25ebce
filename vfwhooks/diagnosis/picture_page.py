"""The page of a host's picture: its columns, its colours on a light page and on a dark
one, its head, its frame and its legend. No scripts, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from ..values.errors import show
from .host_picture import HINDERED, LET_IN, REFUSED, TAKEN, UNKNOWN, WAITS
from .svg_text import FONT, text, wrapped

WIDTH = 1200
# The columns: their left and right edges.
OUTSIDE, HOST = (20, 112), (146, 1184)
ADDRESS, PORT = (162, 402), (432, 572)
STOP, GUEST = (652, 916), (936, 1170)
_COLUMNS = (
    (OUTSIDE[0], "from"),
    (ADDRESS[0], "address of the host"),
    (PORT[0], "port"),
    (STOP[0], "refused by"),
    (GUEST[0], "guest"),
)
CLASSES = {
    LET_IN: "in",
    HINDERED: "odd",
    REFUSED: "no",
    TAKEN: "no",
    WAITS: "off",
    UNKNOWN: "odd",
}
_LEGEND = (
    (LET_IN, "let in"),
    (REFUSED, "refused, or taken by another"),
    (HINDERED, "something is in the way, or nobody can tell"),
    (WAITS, "not forwarded now"),
)
# By what has the colour: on a light page and in print, and on a dark screen.
LIGHT = {
    "page": "#ffffff",
    "host": "#f3f6f9",
    "box": "#ffffff",
    "edge": "#8494a6",
    "ink": "#1f2933",
    "mute": "#52606d",
    "in": "#176b3f",
    "no": "#a8231c",
    "odd": "#8a5300",
    "off": "#5b6875",
}
DARK = {
    "page": "#0d1117",
    "host": "#161b22",
    "box": "#20272f",
    "edge": "#5c6b7a",
    "ink": "#e6edf3",
    "mute": "#a3b0bd",
    "in": "#4cc38a",
    "no": "#ff8078",
    "odd": "#e3b341",
    "off": "#98a4b0",
}
_FILLED = "page", "host", "box", "ink", "mute", "in", "no", "odd", "off"
_DRAWN = "edge", "in", "no", "odd", "off"
_SHAPES = """\
text { font-family: %s }
.sans { font-family: system-ui, 'DejaVu Sans', sans-serif }
.bold { font-weight: 600 }
.way { fill: none; stroke-width: 1.7 }
.cross { fill: none; stroke-width: 2.6 }
.way.edge-no { stroke-dasharray: 7 5 }
.way.edge-odd { stroke-dasharray: 13 4 }
.way.edge-off { stroke-dasharray: 2 4 }
"""


def head(title: str, counted: str, height: float) -> Iterator[str]:
    """The beginning of the file."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
        f'height="{height:g}" viewBox="0 0 {WIDTH} {height:g}">'
    )
    yield f"<title>{escape(show(title))}</title>"
    yield f"<desc>From left to right: who connects, to which address and port of the \
host, who refuses it, and the guest that it leads to. {escape(counted)}.</desc>"
    yield "<style>"
    yield _SHAPES % FONT + "\n".join(_colours(LIGHT))
    # Print stays light.
    yield "@media screen and (prefers-color-scheme: dark) {"
    yield from _colours(DARK)
    yield "}"
    yield "</style>"
    yield f'<rect class="page" width="{WIDTH}" height="{height:g}"/>'


def _colours(of: Mapping[str, str]) -> Iterator[str]:
    for name in _FILLED:
        yield f".{name} {{ fill: {of[name]} }}"
    for name in _DRAWN:
        which = ".edge" if name == "edge" else f".edge-{name}"
        yield f"{which} {{ stroke: {of[name]} }}"
        yield f".full-{name} {{ fill: {of[name]} }}"


def frame(title: str, counted: str, height: float) -> Iterator[str]:
    """The title, the host with everything in it, and what is in which column."""
    (line,) = wrapped(title, 17, WIDTH - 40, 1) or [""]
    yield text(20, 32, line, "ink bold", 17)
    yield text(20, 54, counted, "mute sans", 13)
    left, right = HOST
    yield (
        f'<rect class="host edge" x="{left}" y="68" width="{right - left}" '
        f'height="{height - 68:g}" rx="10"/>'
    )
    for x, name in _COLUMNS:
        yield text(x, 90, name, "mute sans", 12)


def legend(y: float) -> Iterator[str]:
    """What each kind of line means."""
    x = 20.0
    for end, words in _LEGEND:
        kind = CLASSES[end]
        yield path(kind, f"M{x:g} {y:g}h40")
        if end in (LET_IN, HINDERED):
            yield arrow(kind, x + 46, y)
        else:
            yield cross(kind, x + 45, y)
        yield text(x + 58, y + 4, words, "mute sans", 12)
        x += 92 + 7 * len(words)


def path(kind: str, way: str) -> str:
    """A line of some kind."""
    return f'<path class="way {_edge(kind)}" d="{way}"/>'


def arrow(kind: str, x: float, y: float) -> str:
    """The head of a line that gets there."""
    return f'<path class="full-{kind}" d="M{x - 9:g} {y - 5:g}L{x:g} {y:g}l-9 5z"/>'


def cross(kind: str, x: float, y: float) -> str:
    """The end of a line that does not."""
    way = f"M{x - 5:g} {y - 5:g}l10 10m0 -10l-10 10"
    return f'<path class="cross {_edge(kind)}" d="{way}"/>'


def _edge(kind: str) -> str:
    return "edge" if kind == "edge" else f"edge-{kind}"
