"""log: the service's words for syslog, on a socket whose reader comes and goes."""

from __future__ import annotations

import os
import re
import select
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


def say_until_full(log: Log) -> int:
    """As many lines as the reader has room for, and one that waits; its number."""
    for number in range(100_000):
        log.say(f"line {number}")
        if log._waiting:
            return number
    raise AssertionError("there is always room")


def log_at(path: Path) -> tuple[Log, select.poll]:
    """One, and what its service sleeps in."""
    poll = select.poll()
    return Log(poll, f"{path}/log"), poll


def test_a_line(tmp_path: Path) -> None:
    """As syslog has them: facility and priority, when, who."""
    reader, (log, _) = syslog(tmp_path / "log"), log_at(tmp_path)

    log.say("web1: has stopped", WARNING)

    (line,) = heard(reader)
    head = rf"<28>\w{{3}} [ \d]\d \d\d:\d\d:\d\d vfwhooks\[{os.getpid()}\]: "
    assert re.fullmatch(f"{head}web1: has stopped", line)


def test_a_line_that_holds_anything(tmp_path: Path) -> None:
    """Control characters and bytes that are no UTF-8 are spelled out: one line."""
    reader, (log, _) = syslog(tmp_path / "log"), log_at(tmp_path)

    log.say("we\nb\udcff ü")

    (line,) = words(reader)
    assert (line.isprintable(), "\n" in line, line[-1]) == (True, False, "ü")


def test_a_reader_that_has_stopped(tmp_path: Path) -> None:
    """Nobody waits for him, nothing wakes the service up meanwhile, and what found no
    room is sent when there is."""
    reader, (log, poll) = syslog(tmp_path / "log"), log_at(tmp_path)
    room = say_until_full(log)
    log.say("after it")
    meanwhile = poll.poll(0)
    before = words(reader)

    ((fd, _),) = poll.poll(1000)
    log.send()

    assert (meanwhile, log.knows(fd), len(before)) == ([], True, room)
    assert words(reader) == [f"line {room}", "after it"]


def test_once_all_is_sent(tmp_path: Path) -> None:
    """Room for more is no news."""
    reader, (log, poll) = syslog(tmp_path / "log"), log_at(tmp_path)
    say_until_full(log)
    heard(reader)

    log.say("heard again")

    assert (log.knows(reader.fileno()), poll.poll(0)) == (False, [])


def test_more_than_may_wait(tmp_path: Path) -> None:
    """The oldest thousand is kept, and how many are missing is said once."""
    reader, (log, _) = syslog(tmp_path / "log"), log_at(tmp_path)
    room = say_until_full(log)
    for number in range(room + 1, room + 1003):
        log.say(f"line {number}")

    found: list[str] = []
    while not found or found[-1] != "and again":
        found += words(reader)
        if found[-1].endswith("were lost"):
            log.say("and again")
        log.send()

    kept = [f"line {number}" for number in range(room + 1000)]
    assert found == [*kept, "3 lines before this were lost", "and again"]


def test_a_syslog_that_was_started_anew(tmp_path: Path) -> None:
    """Its socket is another one: no line is lost."""
    path, (log, _) = tmp_path / "log", log_at(tmp_path)
    reader = syslog(path)
    log.say("to the first")
    reader.close()
    path.unlink()
    reader = syslog(path)

    log.say("to the second")

    assert words(reader) == ["to the second"]


def test_a_syslog_that_went_while_it_was_full(tmp_path: Path) -> None:
    """What waited goes to the next one, and the poll has no closed descriptor."""
    path, (log, poll) = tmp_path / "log", log_at(tmp_path)
    reader = syslog(path)
    room = say_until_full(log)
    reader.close()
    path.unlink()
    log.say("into nothing")
    meanwhile = poll.poll(0)
    reader = syslog(path)

    log.say("heard")

    said = [f"line {room}", "into nothing", "heard"]
    assert (meanwhile, words(reader)) == ([], said)


def test_while_there_is_no_syslog(tmp_path: Path) -> None:
    """Lines wait, and no descriptor is used up."""
    before, (log, _) = descriptors(), log_at(tmp_path)
    for number in range(3):
        log.say(f"line {number}")
    after = descriptors()
    reader = syslog(tmp_path / "log")

    log.say("heard")

    assert after == before
    assert words(reader) == ["line 0", "line 1", "line 2", "heard"]


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    """The kernel takes none of it: it counts as lost, the next one is heard."""
    reader, (log, _) = syslog(tmp_path / "log"), log_at(tmp_path)

    log.say("x" * (4 << 20))
    log.say("short")

    assert words(reader) == ["1 lines before this were lost", "short"]
