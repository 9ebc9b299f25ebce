"""schedule: what is due when, by a clock of our own."""

from __future__ import annotations

from vfwhooks.service.schedule import Schedule


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_due() -> None:
    """Then there is nothing to wait for."""
    schedule = Schedule()

    assert (schedule.next(), schedule.take()) == (float("inf"), set())


def test_each_thing_when_it_is_due_and_once() -> None:
    """The earliest is waited for; it does not come again, and the others still do."""
    clock = Clock()
    schedule = Schedule(clock)
    schedule.add("rules", 0.2)
    schedule.add("addresses", 0.1)
    found = []

    for clock.now in (100.0, schedule.next(), 100.15, 100.3):
        found.append(schedule.take())

    assert found == [set(), {"addresses"}, set(), {"rules"}]


def test_it_waits_until_all_is_quiet() -> None:
    """Whatever comes again puts it off."""
    clock = Clock()
    schedule = Schedule(clock)
    schedule.add("rules", 0.25)
    clock.now = 100.125

    schedule.add("rules", 0.25)

    assert schedule.next() == 100.375


def test_but_no_longer_than_that() -> None:
    """Half a second after it came first it is done, however often it came since, or
    after what was said."""
    clock = Clock()
    schedule = Schedule(clock)
    schedule.add("rules", 0.25)
    schedule.add("config", 0.25, 2)
    clock.now = 101.0

    schedule.add("rules", 0.25)
    schedule.add("config", 0.25, 2)

    assert schedule.take() == {"rules"}
    assert schedule.next() == 101.25


def test_what_was_done_begins_anew() -> None:
    """How long it had been waited for is forgotten with it."""
    clock = Clock()
    schedule = Schedule(clock)
    schedule.add("rules", 0.25)
    clock.now = 101.0
    schedule.take()

    schedule.add("rules", 0.25)

    assert schedule.next() == 101.25


def test_what_is_to_wait_for_longer() -> None:
    """It is not done before its delay is over."""
    clock = Clock()
    schedule = Schedule(clock)

    schedule.add("daemon", 1.0)

    assert schedule.next() == 101.0
