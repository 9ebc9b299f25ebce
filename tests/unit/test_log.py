"""log: the service's words for syslog, on a socket whose reader comes and goes."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from unit.builders import descriptors
from vfwhooks.service.log import WARNING, Log


def syslog(path: Path) -> socket.socket:
    """Somebody who listens there."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.bind(str(path))
    found.setblocking(False)
    return found


def heard(reader: socket.socket) -> list[str]:
    """What has come, whole."""
    found = []
    while True:
        try:
            found.append(reader.recv(1 << 16).decode())
        except BlockingIOError:
            return found


def words(reader: socket.socket) -> list[str]:
    """What has come, without head."""
    return [line.split("]: ", 1)[1] for line in heard(reader)]


def say_until_full(log: Log, reader: socket.socket) -> int:
    """As many lines as the reader has room for, and one that he has not."""
    del reader
    for number in range(100_000):
        log.say(f"line {number}")
        if log._lost:
            return number
    raise AssertionError("there is always room")


def test_a_line(tmp_path: Path) -> None:
    """As syslog has them: facility and priority, when, who."""
    reader = syslog(tmp_path / "log")

    Log(f"{tmp_path}/log").say("web1: has stopped", WARNING)

    (line,) = heard(reader)
    head = rf"<28>\w{{3}} [ \d]\d \d\d:\d\d:\d\d vfwhooks\[{os.getpid()}\]: "
    assert re.fullmatch(f"{head}web1: has stopped", line)


def test_a_line_that_holds_anything(tmp_path: Path) -> None:
    """Control characters and bytes that are no UTF-8 are spelled out: one line."""
    reader = syslog(tmp_path / "log")

    Log(f"{tmp_path}/log").say("we\nb\udcff ü")

    (line,) = words(reader)
    assert (line.isprintable(), "\n" in line, line[-1]) == (True, False, "ü")


def test_a_reader_that_has_stopped(tmp_path: Path) -> None:
    """Nobody waits for him; what found no room is counted, and said when there is."""
    reader, log = syslog(tmp_path / "log"), Log(f"{tmp_path}/log")
    room = say_until_full(log, reader)
    log.say("lost as well")
    before = words(reader)

    log.say("heard again")

    found = len(before), before[0], words(reader)
    said = ["2 lines before this were lost", "heard again"]
    assert found == (room, "line 0", said)


def test_what_was_lost_is_said_once(tmp_path: Path) -> None:
    """Then it is over."""
    reader, log = syslog(tmp_path / "log"), Log(f"{tmp_path}/log")
    say_until_full(log, reader)
    heard(reader)
    log.say("heard again")
    heard(reader)

    log.say("and again")

    assert words(reader) == ["and again"]


def test_a_syslog_that_was_started_anew(tmp_path: Path) -> None:
    """Its socket is another one: no line is lost."""
    path, log = tmp_path / "log", Log(f"{tmp_path}/log")
    reader = syslog(path)
    log.say("to the first")
    reader.close()
    path.unlink()
    reader = syslog(path)

    log.say("to the second")

    assert words(reader) == ["to the second"]


def test_while_there_is_no_syslog(tmp_path: Path) -> None:
    """Lines are lost, no descriptor is; the first one that is heard says how many."""
    before, log = descriptors(), Log(f"{tmp_path}/log")
    for number in range(3):
        log.say(f"line {number}")
    after = descriptors()
    reader = syslog(tmp_path / "log")

    log.say("heard")

    assert after == before
    assert words(reader) == ["3 lines before this were lost", "heard"]


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    """The kernel takes none of it: it counts as lost, the next one is heard."""
    reader, log = syslog(tmp_path / "log"), Log(f"{tmp_path}/log")

    log.say("x" * (4 << 20))
    log.say("short")

    assert words(reader) == ["1 lines before this were lost", "short"]
