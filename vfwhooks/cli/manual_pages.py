"""Manual pages, one for every command, made from the parser: text in the macros of
man(7), for `man vfwhooks-check` and the like."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .. import __version__
from .commands import Command, find_commands
from .parser import make_parser

DATE = "2026-11-25"  # of the release, as in docs/vfwhooks.8


def render_pages() -> dict[str, str]:
    """The pages by file name."""
    commands = find_commands(make_parser())
    return {
        f"vfwhooks-{name}.8": "\n".join(_page(name, command)) + "\n"
        for name, command in commands.items()
    }


def _page(name: str, command: Command) -> Iterator[str]:
    yield f'.\\" Made from what vfwhooks {name} --help says.'
    title = f"VFWHOOKS-{name.upper()}"
    yield f'.TH {title} 8 {DATE} "vfwhooks {__version__}" "System Administration"'
    yield ".SH NAME"
    yield f"vfwhooks-{name} \\- {_plain(command.summary)}"
    yield ".SH SYNOPSIS"
    yield f'.B "vfwhooks {name}"'
    for one in command.options:
        word, value = _plain(one.option_strings[-1]), _value(one)
        yield rf".RB [ {word} ]" if not value else f'.RB [ {word} " \\fI{value}\\fR" ]'
    for one in command.arguments:
        yield _argument(one)
    yield ".SH DESCRIPTION"
    yield from map(_line, command.about.splitlines())
    yield ".SH OPTIONS"
    for one in [*command.arguments, *command.options]:
        yield ".TP"
        shown = ", ".join(one.option_strings)
        value = f' " {_value(one)}"' if _value(one) else ""
        yield f'.BI "{_plain(shown)}"{value}' if shown else f".I {one.metavar}"
        yield _line(one.help or "")
    yield ".SH EXAMPLES"
    yield ".EX"
    yield from map(_line, command.examples)
    yield ".EE"
    yield ".SH SEE ALSO"
    yield ".BR vfwhooks (8),"
    yield ".BR forwards.yaml (5)"


def _value(one: argparse.Action) -> str:
    """The value of an option; '' if it takes none."""
    return f"{one.metavar}" if one.nargs != 0 else ""


def _argument(one: argparse.Action) -> str:
    if one.nargs == "+":
        return f'.I "{one.metavar} ..."'
    if one.nargs == "*":
        return f'.RI [ "{one.metavar} ..." ]'
    return f".RI [ {one.metavar} ]" if one.nargs == "?" else f".I {one.metavar}"


def _line(text: str) -> str:
    """A line of text without any character that is special to roff."""
    line = _plain(text)
    return f"\\&{line}" if line[:1] in (".", "'") else line


def _plain(text: str) -> str:
    return (
        text.replace("\\", "\\e")
        .replace("-", "\\-")
        .replace("'", "\\(aq")
        .replace('"', "\\(dq")
    )
