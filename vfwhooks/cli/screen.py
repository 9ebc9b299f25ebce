"""The overview of `status` for a person at a terminal, as lines of styled parts. Pure.

The guests that need somebody's attention stand last, above the line that counts them:
where the table is longer than the terminal, this end of it is in sight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from ..diagnosis.overview import Overview
from ..diagnosis.status_rows import ForwardStatus
from ..diagnosis.unanswered import is_unanswered
from ..values.errors import show
from .excerpts import Line, width_of
from .output import counted

_STATES = {
    "active": "green",
    "pending": "yellow",
    "stopped": "dim",
    "conflict": "bold red",
    "blocked": "bold red",
}
_TROUBLED = ("pending", "conflict", "blocked")
_REASON, _WRONG, _TITLE = "yellow", "bold red", "bold"
_INDENT = "    "
_GAP = "  "
_STATE = "STATE"
_MOST_NAMED = 5
_PLAIN = "stopped", "the guest is not running"  # says the same twice
# Between two sentences of a reason, as far as no quotation marks of a command are open.
_BETWEEN = re.compile(r"; (?=[^']*(?:'[^']*'[^']*)*$)")


def head_lines(overview: Overview, paths: Sequence[tuple[str, str]]) -> list[Line]:
    """What concerns the host as a whole."""
    words = [*paths, ("hooks", overview.hooks), ("backend", overview.backend)]
    words[-1:] = [("backend", overview.backend or "none yet")]
    found = [_labelled(word, text) for word, text in words if text]
    found += [_labelled("problem", one, _WRONG) for one in overview.problems]
    return found + [_labelled("metadata", one, _REASON) for one in overview.faults()]


def _labelled(word: str, text: str, style: str = "") -> Line:
    return [(f"{word:9}", style or "dim"), (show(text), style)]


def table_lines(rows: Sequence[ForwardStatus]) -> list[Line]:
    """The forwards, guest by guest; the reason of a forward stands below it."""
    if not rows:
        return []
    order = dict.fromkeys(row.guest for row in rows)
    troubled = {row.guest for row in rows if needs_attention(row)}
    guests = sorted(order, key=lambda guest: guest in troubled)
    places = {guest: place for place, guest in enumerate(guests)}
    ordered = sorted(rows, key=lambda row: places[row.guest])
    titles = [title for title in ordered[0].cells() if title]
    cells = [[show(row.cells()[title]) for title in titles] for row in ordered]
    widths = [max(map(width_of, column)) for column in zip(titles, *cells)]
    found = [_row(titles, widths, dict.fromkeys(titles, _TITLE))]
    before: ForwardStatus | None = None
    for row, texts, after in zip(ordered, cells, [*ordered[1:], None]):
        is_next = before is not None and before.guest == row.guest
        texts = ["", *texts[1:]] if is_next else texts
        found.append(_row(texts, widths, _styles(row, titles)))
        if after is None or _what(after) != _what(row):
            found += [[(f"{_INDENT}{one}", _reason(row))] for one in _said(row)]
        before = row
    return found


def _what(row: ForwardStatus) -> tuple[str, str]:
    """What rows have in common that one reason stands below."""
    return row.guest, row.said


def _row(texts: Sequence[str], widths: Sequence[int], styles: dict[str, str]) -> Line:
    """Cells at the widths of their columns; nothing behind the last one."""
    last = len(texts) - 1
    return [
        (
            text if at == last else text + " " * (width - width_of(text)) + _GAP,
            style,
        )
        for at, (text, width, style) in enumerate(zip(texts, widths, styles.values()))
    ]


def _styles(row: ForwardStatus, titles: Sequence[str]) -> dict[str, str]:
    usual = "dim" if row.state == "stopped" else ""
    return {t: _STATES[row.state] if t == _STATE else usual for t in titles}


def _said(row: ForwardStatus) -> Iterator[str]:
    """Reason and cure, a line each. They are not broken further: a command that is
    copied from a terminal must stay one."""
    for one in _BETWEEN.split(row.said) if row.said else ():
        if (row.state, one) != _PLAIN:
            yield show(one)


def _reason(row: ForwardStatus) -> str:
    return "dim" if row.state == "stopped" else _REASON


def needs_attention(row: ForwardStatus) -> bool:
    """Whether somebody has to do something, or to wait, before the forward works."""
    return row.state in _TROUBLED or is_unanswered(row)


def closing_line(rows: Sequence[ForwardStatus]) -> Line:
    """How many forwards there are, and which of them need attention."""
    some = [row for row in rows if needs_attention(row)]
    if not some:
        counts = {state: sum(row.state == state for row in rows) for state in _STATES}
        each = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        return [(f"{counted(len(rows), 'forward')}{': ' if each else ''}{each}", "dim")]
    named = []
    for guest, of_guest in groupby(some, key=lambda row: row.guest):
        ports = (f"{row.published}/{row.protocol}" for row in of_guest)
        named.append(f"{show(guest)} {', '.join(dict.fromkeys(ports))}")
    more = len(named) - _MOST_NAMED
    named[_MOST_NAMED:] = [f"and {more} guests more"] if more > 0 else []
    verb = "needs" if len(some) == 1 else "need"
    what = f"{len(some)} of {counted(len(rows), 'forward')} {verb} attention: "
    return [(what, _WRONG), ("; ".join(named), "")]
