"""The picture of a host as SVG: outside, addresses, ports, who refuses, guests, from
left to right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import groupby

from ..values.errors import show
from ..values.published import EVERY
from .host_picture import HINDERED, LET_IN, OTHERS, TAKEN, UNKNOWN, Lane, Picture
from .picture_page import (
    ADDRESS,
    CLASSES,
    GUEST,
    OUTSIDE,
    PORT,
    STOP,
    WIDTH,
    arrow,
    cross,
    frame,
    head,
    legend,
    path,
)
from .svg_text import text, width, wrapped

MOST = 1000  # lanes in one picture
_LARGE, _SIZE, _SMALL = 13.0, 12.0, 11.0
_LINE, _PAD, _UP = 15, 8, 22  # of text; around it; from the top of a row to its way
_LEAST, _REPEAT = 42, 700  # a row's height; names of high boxes are told again


@dataclass
class _Row:
    """A lane at its place. `below` are the lines below its way, or in its box."""

    lane: Lane
    is_first: bool  # of its port
    below: list[tuple[str, str]] = field(default_factory=list)  # class and line
    top: float = 0
    height: float = 0

    @property
    def y(self) -> float:
        """The way."""
        return self.top + _UP

    @property
    def kind(self) -> str:
        return CLASSES[self.lane.end]

    @property
    def is_there(self) -> bool:
        """Whether the way gets to the guest."""
        return self.lane.end in (LET_IN, HINDERED)


def draw(picture: Picture) -> str:
    """The whole drawing."""
    lanes, left = picture.lanes[:MOST], len(picture.lanes) - MOST
    notes = list(picture.notes)
    if left > 0:
        notes.append(f"{left} more ways are left out; vfwhooks status has them all")
    rows, straight = _rows(lanes), _rows(picture.networks)
    top = 104.0
    end = _place(rows, top, picture.own)
    body = [*_section(rows, picture.own)]
    if not rows:
        body.append(text(ADDRESS[0], top + 20, "nothing is published", "mute", _SIZE))
        end = top + 40
    if straight:
        about = "past the published ports, straight at a guest's address:"
        body.append(text(ADDRESS[0], end + 26, about, "mute sans", _SIZE))
        end = _place(straight, end + 38, ())
        body += _section(straight, ())
    height = end + 12
    foot = [*legend(height + 30)]
    y = height + 62
    for note in notes:
        for line in wrapped(f"note: {note}", _SMALL, WIDTH - 40):
            foot.append(text(20, y, line, "odd", _SMALL))
            y += _LINE
    counted = _counted(lanes)
    return "\n".join(
        [
            *head(picture.title, counted, y),
            *frame(picture.title, counted, height),
            *body,
            *foot,
            "</svg>",
            "",
        ]
    )


def _counted(lanes: Sequence[Lane]) -> str:
    """How many ports there are, and how many are not let in."""
    ports = {(one.host, one.port, one.guest) for one in lanes}
    bad = {
        (one.host, one.port, one.guest)
        for one in lanes
        if one.end != LET_IN and one.who != OTHERS
    }
    guests = len({one.guest for one in lanes})
    said = f"{_number(len(ports), 'published port')}, {_number(guests, 'guest')}"
    return f"{said}; {len(bad)} not let in" if bad else said


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _rows(lanes: Sequence[Lane]) -> list[_Row]:
    rows: list[_Row] = []
    before: Lane | None = None
    for lane in lanes:
        bare = replace(lane, who="", end="", by="", why="")
        rows.append(_Row(lane, bare != before))
        before = bare
        row = rows[-1]
        if row.is_there:
            room = GUEST[0] - PORT[1] - 30
            who = f"only from {lane.who}" if lane.who else ""
            row.below = _lines((("mute", who), ("mute", lane.why)), room, 6)
            row.height = _UP + 4 + _LINE * len(row.below) + _PAD
        else:
            room = STOP[1] - STOP[0] - 2 * _PAD
            by = lane.by if lane.end != TAKEN else f"taken by {lane.by or 'another'}"
            by = by or ("nobody can tell: depends on" if lane.end == UNKNOWN else "")
            row.below = _lines(((row.kind, by), ("mute", lane.why)), room, 6)
            row.height = _LINE * len(row.below) + 2 * _PAD + 6
        row.height = max(_LEAST, row.height)
    return rows


def _lines(
    parts: Sequence[tuple[str, str]], room: float, most: int
) -> list[tuple[str, str]]:
    return [
        (kind, line)
        for kind, words in parts
        for line in wrapped(words, _SMALL, room, most)
    ]


def _place(rows: list[_Row], top: float, own: Sequence[str]) -> float:
    """Give every row its place, and as much of it as the boxes beside it need. Returns
    the end."""
    for some in _runs(rows, lambda lane: lane.host):
        _fit(some, _LINE * len(_address(some[0].lane, own)) + 2 * _PAD)
    for some in _runs(rows, lambda lane: lane.guest):
        _fit(some, _LINE * len(_guest(some[0].lane)) + 2 * _PAD)
        some[-1].height += 8  # from one guest to the next
    for row in rows:
        row.top = top
        top += row.height
    return top


def _fit(rows: list[_Row], least: float) -> None:
    rows[-1].height += max(0, least + 4 - sum(row.height for row in rows))


def _runs(rows: list[_Row], key: Callable[[Lane], str]) -> list[list[_Row]]:
    """Rows in a row that have the same box beside them."""
    return [list(some) for _, some in groupby(rows, lambda row: key(row.lane))]


def _address(lane: Lane, own: Sequence[str]) -> list[tuple[str, str]]:
    room = ADDRESS[1] - ADDRESS[0] - 2 * _PAD
    if lane.is_loopback:
        return _lines((("ink", lane.host), ("mute", "the host itself alone")), room, 2)
    if lane.host not in EVERY:
        return _lines((("ink", lane.host),), room, 3)
    six = {"0.0.0.0": [False], "::": [True]}.get(lane.host, [False, True])
    some = [one for one in own if (":" in one) in six]
    more = [f"and {len(some) - 6} more"] if len(some) > 6 else []
    lines = [("mute", one) for one in (*some[:6], *more)]
    return _lines((("ink", "every address"), *lines), room, 2)


def _guest(lane: Lane) -> list[tuple[str, str]]:
    room = GUEST[1] - GUEST[0] - 2 * _PAD
    name = wrapped(lane.guest, _LARGE, room, 4)
    return [
        *(("ink", line) for line in name),
        *_lines((("mute", lane.about),), room, 8),
    ]


def _section(rows: list[_Row], own: Sequence[str]) -> Iterator[str]:
    for some in _runs(rows, lambda lane: lane.host):
        lane, (left, right) = some[0].lane, ADDRESS
        yield from _box(some, left, right, _address(lane, own), _SMALL)
        if not lane.is_loopback:
            end = some[-1].top + some[-1].height - 8
            for y in _repeated(some[0].y, end):
                yield path("edge", f"M{OUTSIDE[1]} {y:g}H{left - 6}")
                yield arrow("edge", left, y)
    outside = [row for row in rows if not row.lane.is_loopback]
    if outside:
        top, end = outside[0].top + 4, outside[-1].top + outside[-1].height - 4
        left, right = OUTSIDE
        yield f'<rect class="box edge" x="{left}" y="{top:g}" width="{right - left}" \
height="{end - top:g}" rx="8"/>'
        for y in _repeated(top + 22, end):
            yield text((left + right) / 2, y, "outside", "ink", _SIZE, "middle")
    for some in _runs(rows, lambda lane: lane.guest):
        left, right = GUEST
        yield from _box(some, left, right, _guest(some[0].lane), _LARGE)
    above = 0.0
    for row in rows:
        yield from _way(row, above)
        above = row.y if row.is_first else above


def _repeated(y: float, end: float) -> Iterator[float]:
    while y < end:
        yield y
        y += _REPEAT


def _box(
    rows: list[_Row],
    left: float,
    right: float,
    lines: list[tuple[str, str]],
    size: float,
) -> Iterator[str]:
    top, end = rows[0].top + 4, rows[-1].top + rows[-1].height - 4
    lane = rows[0].lane
    yield f"<g><title>{escape(show(lane.guest if left > 600 else lane.host))}</title>"
    yield f'<rect class="box edge" x="{left:g}" y="{top:g}" \
width="{right - left:g}" height="{end - top:g}" rx="6"/>'
    for first in _repeated(top + _PAD + 11, end - _LINE * (len(lines) - 1)):
        y = first
        for kind, line in lines:
            large = size if kind == "ink" else _SMALL
            yield text(left + _PAD, y, line, kind, large)
            y += _LINE
    yield "</g>"


def _way(row: _Row, above: float) -> Iterator[str]:
    """The port, and the way from there to the guest or to who refuses it."""
    lane, y, kind = row.lane, row.y, row.kind
    left, right = PORT
    if row.is_first:
        yield path(kind, f"M{ADDRESS[1]} {y:g}H{left}")
        yield f'<rect class="box edge-{kind}" x="{left}" y="{y - 12:g}" \
width="{right - left}" height="24" rx="12"/>'
        size = min(_SIZE, _SIZE * (right - left - 16) / width(lane.port, _SIZE))
        middle = (left + right) / 2
        yield text(middle, y + 4, lane.port, "ink", size, "middle")
        start = f"M{right} {y:g}"
    else:
        start = f"M{right - 20} {above + 12:g}V{y:g}"
    if row.is_there:
        yield path(kind, f"{start}H{GUEST[0] - 6}")
        yield arrow(kind, GUEST[0], y)
        room = GUEST[0] - right - 24
        size = min(_SMALL, _SMALL * room / max(1, width(lane.to, _SMALL)))
        yield text(GUEST[0] - 14, y - 6, lane.to, "ink", size, "end")
        x = right + 14.0
    else:
        yield path(kind, f"{start}H{STOP[0] - 7}")
        yield cross(kind, STOP[0] - 1, y)
        yield f'<rect class="box edge-{kind}" x="{STOP[0]}" y="{row.top + 6:g}" \
width="{STOP[1] - STOP[0]}" height="{_LINE * len(row.below) + 12}" rx="6"/>'
        if lane.who:
            yield text(right - 14, y - 6, lane.who, "mute", _SMALL)
        x, y = STOP[0] + _PAD, row.top + 4
    for number, (name, line) in enumerate(row.below):
        yield text(x, y + 17 + _LINE * number, line, name, _SMALL)
