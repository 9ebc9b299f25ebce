"""The picture of a terminal's screen (lab/screen.py): its text and looks."""

from __future__ import annotations

import pytest
from lab.screen import COLUMNS, draw_screen, screen_lines
from lxml import etree  # type: ignore[import-untyped]  # it has no stubs


@pytest.mark.parametrize(
    ("sent", "lines"),
    [
        ("a\r\nb\r\n", [[("", "a")], [("", "b")]]),
        ("\x1b[1;32mon\x1b[0m off", [[("bold c2", "on"), ("", " off")]]),
        ("\x1b[31mred\x1b[1m too\x1b[39m", [[("c1", "red"), ("bold c1", " too")]]),
        ("\x1b[2mdim\x1b[22m\x1b[38;5;33m of 256", [[("dim", "dim"), ("", " of 256")]]),
        ("\x1b[?25l\x1b]0;title\x07\x1b[Kx", [[("", "x")]]),
        ("y" * (COLUMNS + 1), [[("", "y" * COLUMNS)], [("", "y")]]),
        ("a\n\nb", [[("", "a")], [], [("", "b")]]),
    ],
)
def test_what_a_terminal_was_sent(
    sent: str, lines: list[list[tuple[str, str]]]
) -> None:
    """Looks go on until they are ended, a long line goes on below, and what moves the
    cursor or sets a title is not text."""
    found = [
        [(" ".join(sorted(look)), words) for look, words in parts]
        for parts in screen_lines(sent)
    ]

    assert found == lines


def test_a_screen_as_text() -> None:
    """Whoever copies it from the picture has what the terminal showed."""
    picture = draw_screen("a & b", "ls <x>", "one \x1b[32mtwo\x1b[m &\n\nthree")

    found = etree.fromstring(picture.encode())
    lines = ["".join(one.itertext()) for one in found.iter("{*}text")]
    assert lines == ["# ls <x>", "one two &", "three"]
