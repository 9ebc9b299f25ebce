"""screen, terminal and excerpts: `status` as a person at a terminal reads it. The
terminals are real."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from unit.builders import CHECKOUT
from unit.terminals import child, read_until
from vfwhooks.cli.excerpts import Line, fold, width_of
from vfwhooks.cli.screen import closing_line, head_lines, table_lines
from vfwhooks.diagnosis.overview import Overview
from vfwhooks.diagnosis.status_rows import ForwardStatus

GONE = "the rules are not in the kernel; run vfwhooks apply"
SILENT = "3 of 3 unanswered: default route or firewall in the guest?"
_HERE = Path(__file__).parent


def row(
    guest: str, published: str, state: str = "active", reason: str = ""
) -> ForwardStatus:
    """A forward to port 80 of a guest."""
    address = "" if state in ("pending", "stopped") else "192.168.122.10"
    return ForwardStatus(guest, "*", published, "80", "tcp", address, state, reason, 0)


def plain(lines: Sequence[Line]) -> list[str]:
    """Lines without their styles."""
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def test_guests_in_a_table() -> None:
    """Each is named once, reason and cure stand below the forward, and whoever needs
    attention stands last."""
    rows = [
        row("mail", "25", "blocked", GONE),
        row("mail", "993", "blocked", GONE),
        row("mail", "143"),
        row("web1", "8080"),
        row("web2", "443", "stopped", "the guest is not running"),
    ]

    found = plain([*table_lines(rows), closing_line(rows)])

    assert found == [
        "GUEST  HOST  PUBLISHED  TARGET             STATE    CONNECTIONS",
        "web1   *     8080/tcp   192.168.122.10 80  active   0",
        "web2   *     443/tcp    - 80               stopped  0",
        "mail   *     25/tcp     192.168.122.10 80  blocked  0",
        "       *     993/tcp    192.168.122.10 80  blocked  0",
        "    the rules are not in the kernel",
        "    run vfwhooks apply",
        "       *     143/tcp    192.168.122.10 80  active   0",
        "2 of 5 forwards need attention: mail 25/tcp, 993/tcp",
    ]


def test_two_hundred_guests() -> None:
    """The few that need attention are the last ones, and counted with their names."""
    rows = [row(f"g{n:03}", f"{n}") for n in range(1, 201)]
    for at in (7, 70, 150):
        rows[at] = row(f"g{at + 1:03}", f"{at + 1}", "pending", "no lease")

    found = plain([*table_lines(rows), closing_line(rows)])

    assert (len(found), [line.split()[0] for line in found[-7:-1:2]], found[-1]) == (
        205,
        ["g008", "g071", "g151"],
        "3 of 200 forwards need attention: g008 8/tcp; g071 71/tcp; g151 151/tcp",
    )


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([], "0 forwards"),
        ([row("a", "1")], "1 forward: 1 active"),
        ([row("a", "1", "pending", "x")], "1 of 1 forward needs attention: a 1/tcp"),
        ([row("a", "1", reason="y")], "1 forward: 1 active"),
        (
            [row("a", "1", reason=SILENT), row("a", "2", "stopped")],
            "1 of 2 forwards needs attention: a 1/tcp",
        ),
        (
            [row(f"g{n}", "1", "conflict", "x") for n in range(8)],
            "8 of 8 forwards need attention: g0 1/tcp; g1 1/tcp; g2 1/tcp; g3 1/tcp; "
            "g4 1/tcp; and 3 guests more",
        ),
    ],
)
def test_the_line_that_closes(rows: list[ForwardStatus], line: str) -> None:
    """Who does not run needs nothing; who answers nobody does."""
    assert plain([closing_line(rows)]) == [line]


def test_a_cure_that_is_a_command() -> None:
    """What stands in its quotation marks is not taken apart."""
    reason = "docker drops it; run: sh -c 'a; b' && c"

    found = plain(table_lines([row("a", "1", "blocked", reason)]))

    assert found[2:] == ["    docker drops it", "    run: sh -c 'a; b' && c"]


def test_the_host_as_a_whole() -> None:
    """What is wrong is told in its own line; no escape sequence is sent."""
    overview = Overview("", (), (), ("a\x1b[1mb",), {}, "laid")

    found = plain(head_lines(overview, [("config", "/f.yaml")]))

    assert found == [
        "config   /f.yaml",
        "hooks    laid",
        "backend  none yet",
        "problem  a\\x1b[1mb",
    ]


def test_wide_characters_take_two_columns() -> None:
    """Also where a line is broken for a narrow terminal."""
    line = [("日本", "red"), ("ab", "")]

    assert (width_of("日本ü"), fold(line, 3)) == (
        5,
        [[("日", "red")], [("本", "red"), ("a", "")], [("b", "")]],
    )


_ROW = "row('web1', '8080', 'blocked', 'a; b')"
_WRITE = f"""
import sys
sys.path.insert(0, {str(_HERE.parent)!r})
from unit.test_status_screen import row
from vfwhooks.cli.screen import table_lines
from vfwhooks.cli.terminal import Terminal
Terminal(sys.stdout).write(table_lines([{_ROW}]))
"""
PLAIN = """\
GUEST  HOST  PUBLISHED  TARGET             STATE    CONNECTIONS
web1   *     8080/tcp   192.168.122.10 80  blocked  0
    a
    b
"""


def written(**environment: str) -> str:
    """The table as it comes to a terminal."""
    with child([sys.executable, "-c", _WRITE], environment) as (_, ours):
        return read_until(ours, "")


def test_colours() -> None:
    """By rich; without them it is the same text."""
    said = written()

    assert "\x1b[1;31mblocked" in said
    assert re.sub(r"\x1b\[[0-9;]*m", "", said) == PLAIN


@pytest.mark.parametrize(
    "environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"PYTHONPATH": "without"}]
)
def test_no_colours(environment: dict[str, str], tmp_path: Path) -> None:
    """Where the user wants none, the terminal has none, or rich is not installed: the
    same text, and no escape sequence."""
    if "PYTHONPATH" in environment:
        (tmp_path / "rich").mkdir()
        (tmp_path / "rich" / "__init__.py").write_text("raise ImportError\n")
        environment = {"PYTHONPATH": f"{tmp_path}:{CHECKOUT}"}

    assert written(**environment) == PLAIN


# Somebody who watches ten forwards; a line on its standard input is news.
_WATCH = f"""
import os, sys, time
sys.path.insert(0, {str(_HERE.parent)!r})
from unit.test_status_screen import News, overview
from vfwhooks.cli.status_command import show_live
from vfwhooks.cli.status_watch import StatusWatch
news = News(int(sys.argv[1]))
look = lambda: overview(news.count)
try:
    state, essence = sys.argv[2], lambda one: one.forwards
    show_live(StatusWatch(news, state, '', look, essence), [])
except KeyboardInterrupt:
    sys.exit(130)
"""


class News:
    """News that come by a pipe."""

    def __init__(self, fd: int) -> None:
        self.count = 0
        self._fd = fd

    def register(self, poll: select.poll) -> None:
        """As StatusNews."""
        poll.register(self._fd, select.POLLIN)

    def read(self) -> bool:
        """As StatusNews."""
        if select.select([self._fd], [], [], 0)[0]:
            self.count += len(os.read(self._fd, 1))
            return True
        return False


def overview(number: int) -> Overview:
    """Ten forwards, the last of which needs attention."""
    rows = [row(f"g{n}", f"{number * 10 + n}") for n in range(9)]
    rows.append(row("g9", "9", "pending", "no lease"))
    return Overview("nftables", (), tuple(rows), (), {})


_CLOSING = "g9 9/tcp"


@contextmanager
def watching(
    directory: Path, lines: int, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """A live screen, once it is drawn: its process, its terminal, and a pipe for its
    news."""
    its, news = os.pipe()
    argv = [sys.executable, "-c", _WATCH, f"{its}", f"{directory}/state"]
    with child(argv, environment, lines, [its]) as (process, ours):
        yield process, ours, news
    os.close(its)
    os.close(news)


def test_a_live_screen(tmp_path: Path) -> None:
    """It is drawn over when there is news, and when its size changes: where there is
    no room for all, its end is shown. Ctrl-C brings back what was there before."""
    with watching(tmp_path, 24) as (process, ours, news):
        seen = [read_until(ours, _CLOSING)]
        os.write(news, b"!")
        seen.append(read_until(ours, _CLOSING))
        ioctl(ours, TIOCSWINSZ, struct.pack("HHHH", 8, 80, 0, 0))
        seen.append(read_until(ours, _CLOSING))
        os.write(ours, b"\x03")
        seen.append(read_until(ours, ""))
        status = process.wait(timeout=60)

    begun = "\x1b[?1049h\x1b[?25l\x1b[H"
    assert [
        (one.startswith(begun), "18/tcp" in one, "… 8 lines more" in one)
        for one in seen
    ] == [
        (True, False, False),
        (False, True, False),
        (False, True, True),
        (False, False, False),
    ]
    assert (seen[3].endswith("\x1b[?25h\x1b[?1049l"), status) == (True, 130)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_live_screen_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    """The terminal is left as it was."""
    with watching(tmp_path, 24) as (process, ours, _):
        read_until(ours, _CLOSING)
        process.send_signal(number)
        said = read_until(ours, "")
        status = process.wait(timeout=60)

    assert (said.endswith("\x1b[?25h\x1b[?1049l"), status) == (True, 128 + number)
