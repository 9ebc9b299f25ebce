"""`vfwhooks status`: the overview on a terminal, in a pipe or as JSON, of all guests or
of some, once or at each change."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from ..config import compiled_file
from ..config.guest_names import find_other_name, names_near
from ..diagnosis.overview import Overview, look
from ..diagnosis.status_rows import GuestStatus
from ..diagnosis.unmatched_patterns import rows_when_started
from ..libvirt.client import guests_known_soon
from ..store.state import State
from ..values.errors import VfwError, show
from .output import overview_lines, status_json
from .screen import closing_line, head_lines, table_lines
from .status_news import StatusNews
from .status_watch import StatusWatch
from .terminal import Terminal, is_terminal, takes_escapes


def show_status(arguments: argparse.Namespace, state: str, config: str) -> bool:
    """Print what is forwarded; whether nothing is wrong with the host as a whole."""
    guests = arguments.guest = _in_force(State(state), arguments.guest)
    paths = [("config", config), ("state", state)]
    if arguments.watch:
        with suppress(BrokenPipeError):  # its reader has ended
            _watch(arguments, state, config)
        return True
    overview = _look(state, config, guests)
    chosen = choose(overview, guests)
    _printer(arguments, paths)(chosen)
    return not overview.problems


def choose(overview: Overview, guests: list[str]) -> Overview:
    """The overview of these guests, by name or UUID; of all without any. Raises
    VfwError if one neither runs nor is in force."""
    known = {word for one in overview.guests for word in (one.name, one.uuid) if word}
    known |= {row.pattern for row in overview.forwards if row.pattern}
    for guest in guests:
        if guest not in known:
            said = f"{show(guest)} does not run, and no forward in force is for it"
            hint = names_near(guest, sorted(one.name for one in overview.guests))
            raise VfwError(said, hint or "vfwhooks status shows all guests")
    return _only(overview, guests)


def _in_force(state: State, guests: list[str]) -> list[str]:
    """The guests as the configuration in force has them: one that does not run may
    stand there by its UUID, and be asked for by its name."""
    config = compiled_file.load(state.path) if guests else None
    if config is None:
        return guests
    there = {*config.guests(), *config.patterns()}
    for record in state.records(has_entries=False):
        there |= {record.guest.name, record.guest.uuid}
    known = () if there.issuperset(guests) else guests_known_soon()
    return [
        one if one in there else find_other_name(one, known, there) or one
        for one in guests
    ]


def _look(state: str, config: str, guests: list[str]) -> Overview:
    """The overview, with those of the guests that do not run and have their forwards by
    a pattern."""
    overview = look(State(state), config)
    known = {word for one in overview.guests for word in (one.name, one.uuid)}
    known |= {row.pattern for row in overview.forwards}
    rows = [
        row
        for guest in guests
        if guest not in known
        for row in rows_when_started(state, guest)
    ]
    names = dict.fromkeys(row.guest for row in rows)
    stopped = [GuestStatus(name, "", "stopped", []) for name in names]
    return replace(
        overview,
        guests=(*overview.guests, *stopped),
        forwards=(*overview.forwards, *rows),
    )


def _only(overview: Overview, guests: list[str]) -> Overview:
    if not guests:
        return overview
    some = tuple(g for g in overview.guests if {g.name, g.uuid}.intersection(guests))
    names = {guest.name for guest in some}
    rows = tuple(
        row
        for row in overview.forwards
        if row.guest in names or (row.pattern and row.pattern in guests)
    )
    return replace(overview, guests=some, forwards=rows)


def _printer(
    arguments: argparse.Namespace, paths: list[tuple[str, str]]
) -> Callable[[Overview], None]:
    """What prints an overview once."""
    if arguments.json:
        return lambda overview: print(status_json(overview), flush=True)
    if not is_terminal(sys.stdout):
        return lambda overview: print(_text(overview, paths), flush=True)
    terminal = Terminal(sys.stdout)

    def write(overview: Overview) -> None:
        rows = overview.forwards
        head = head_lines(overview, paths)
        terminal.write([*head, *table_lines(rows), closing_line(rows)])

    return write


def _text(overview: Overview, paths: Iterable[tuple[str, str]]) -> str:
    head = [f"{word:8} {path}" for word, path in paths]
    return "\n".join([*head, *overview_lines(overview)])


def _watch(arguments: argparse.Namespace, state: str, config: str) -> None:
    """Print the overview, and again when it has changed."""
    guests: list[str] = arguments.guest
    choose(_look(state, config, guests), guests)  # a wrong name is told at once
    is_live = is_terminal(sys.stdout) and takes_escapes() and not arguments.json
    watch = StatusWatch(
        StatusNews(state, config),
        state,
        config,
        lambda: _only(_look(state, config, guests), guests),
        _told if arguments.json else _shown,
    )
    paths = [("config", config), ("state", state)]
    if is_live:
        show_live(watch, paths)
        return
    printer, printed = _printer(arguments, paths), [False]

    def show_next(overview: Overview) -> None:
        if printed[0] and not arguments.json:
            print()
        printed[0] = True
        printer(overview)

    watch.run(show_next, is_live=False)


def _told(overview: Overview) -> object:
    """What makes another object of JSON: all but the numbers of connections, which
    nobody tells."""
    rows = tuple(replace(row, connections=0) for row in overview.forwards)
    host = overview.backend, overview.problems, overview.has_service
    return host, overview.guests, rows


def _shown(overview: Overview) -> object:
    """What makes another table."""
    return _told(overview), overview.hooks


def show_live(watch: StatusWatch, paths: list[tuple[str, str]]) -> None:
    """Draw each overview on the terminal, until Ctrl-C."""
    terminal = Terminal(sys.stdout)

    def draw(overview: Overview) -> None:
        now = time.strftime("%H:%M:%S")
        title = f"vfwhooks status at {now}; it changes by itself, Ctrl-C ends"
        head = [[(title, "dim")], *head_lines(overview, paths)]
        rows = overview.forwards
        titles, *table = table_lines(rows) or [[]]
        terminal.draw([*head, titles], [*table, closing_line(rows)])

    try:
        watch.run(draw, is_live=True)
    finally:
        terminal.leave()
