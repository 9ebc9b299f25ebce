"""libvirt before 5.1 puts its rules on top of FORWARD again and again: whenever one of
its networks starts and whenever its daemon does. Ours go back above them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from product import call_hook, start_watch, stop_watch

from .recorded import JUMP, RecordedHost

FORWARDS = "guests:\n  web1: [8080:80]\n  mail: [8025:80]\n"
DROP = "-A FORWARD -s 198.51.100.66/32 -j DROP"


@pytest.fixture(scope="module")
def running(recorded: RecordedHost) -> Iterator[RecordedHost]:
    """The recorded host while web1 runs."""
    recorded.configure(FORWARDS)
    recorded.start("web1")
    yield recorded
    recorded.stop("web1")


@pytest.fixture
def watched(running: RecordedHost) -> Iterator[RecordedHost]:
    """The same with the watch running, in haste where nobody tells it of changes."""
    start_watch(running.host, WATCHDOG_USEC="1000000")
    yield running
    stop_watch(running.host)


def test_overtaken_until_the_next_event(running: RecordedHost) -> None:
    """Our jump is below libvirt's REJECT; the start of any guest brings it back."""
    before = running.standing()

    running.libvirt.reload_rules()
    seen = [running.ask()]
    running.start("mail")
    seen.append(running.ask())
    running.stop("mail")

    web1 = running.guests["web1"]
    assert (seen, running.standing()) == (["refused", web1.body], before)


def test_overtaken_twice(running: RecordedHost) -> None:
    """What was healed can be overtaken again: the next event looks again."""
    before = running.standing()

    seen = []
    for _ in range(2):
        running.libvirt.reload_rules()
        seen.append(running.ask())
        running.start("mail")
        seen.append(running.ask())
        running.stop("mail")

    body = running.guests["web1"].body
    assert (seen, running.standing()) == (["refused", body] * 2, before)


def test_overtaken_until_the_watch_has_seen_it(watched: RecordedHost) -> None:
    """Without any event, the watch brings our jump back."""
    before = watched.standing()

    watched.libvirt.reload_rules()
    wait_until(lambda: watched.standing() == before, "our rules above libvirt's")

    assert watched.ask() == watched.guests["web1"].body


def test_a_foreign_rule_ahead_of_libvirts(running: RecordedHost) -> None:
    """What an administrator put ahead of libvirt's rules stays ahead of ours."""
    before = running.standing()

    running.libvirt.reload_rules()
    running.host.run(["iptables", "-I", *DROP.split(" ")[1:]])
    running.start("mail")
    after, served = running.standing()[1], running.ask()
    running.host.run(["iptables", "-D", *DROP.split(" ")[1:]])
    running.stop("mail")

    assert (after[:2], served) == (
        [DROP, JUMP],
        running.guests["web1"].body,
    )
    assert running.standing() == before


def test_a_foreign_rule_that_libvirt_overtakes(running: RecordedHost) -> None:
    """Where libvirt goes ahead of the administrator's rule, so do we."""
    before = running.standing()
    running.host.run(["iptables", "-I", *DROP.split(" ")[1:]])

    running.libvirt.reload_rules()
    running.start("mail")
    after, served = running.standing()[1], running.ask()
    running.host.run(["iptables", "-D", *DROP.split(" ")[1:]])
    running.stop("mail")

    assert (after[0], after.count(JUMP), after.count(DROP), served) == (
        JUMP,
        1,
        1,
        running.guests["web1"].body,
    )
    assert running.standing() == before


def test_a_network_that_restarts(running: RecordedHost) -> None:
    """net-destroy and net-start of a libvirt that has no network hook yet."""
    before = running.standing()

    running.libvirt.delete_rules()
    running.libvirt.insert_rules()
    call_hook(running.host, "daemon", "-", "reload", "begin", "SIGHUP")
    running.start("mail")
    seen = running.ask()
    running.stop("mail")

    assert (seen, running.standing()) == (running.guests["web1"].body, before)
