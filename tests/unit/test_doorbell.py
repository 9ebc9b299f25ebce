"""hook and ringing_hooks: both sides of a real socket, hooks in threads."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest

from unit.builders import descriptors
from vfwhooks.service import hook, ringing_hooks
from vfwhooks.service.hook import DEAF, DONE, NOBODY, NOT_DONE, SILENT, ring
from vfwhooks.service.ringing_hooks import RingingHooks
from vfwhooks.store import files, spool

LONG = 50.0


class Service:
    """The service's side, as the watch's loop has it."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.poll = select.poll()
        self.hooks = RingingHooks(state, self.poll)
        self.hooks.open()

    def hear_all(self, *, until: Callable[[], object]) -> None:
        """Hear whoever comes, until then."""
        deadline = time.monotonic() + LONG
        while not until():
            assert time.monotonic() < deadline
            for fd, _ in self.poll.poll(50):
                if until():
                    return
                assert self.hooks.knows(fd)
                self.hooks.hear(fd)

    def waits(self) -> int:
        """How many wait for an answer."""
        return len(self.hooks._rung)


@pytest.fixture
def state(tmp_path: Path) -> str:
    """A state directory."""
    for name in ("spool", "tmp"):
        (tmp_path / "state" / name).mkdir(parents=True)
    (tmp_path / "state").chmod(0o700)
    return f"{tmp_path}/state"


@pytest.fixture
def service(state: str) -> Iterator[Service]:
    """It listens, and has gone in the end."""
    found = Service(state)
    yield found
    found.hooks.close()


@pytest.fixture
def hooks() -> Iterator[ThreadPoolExecutor]:
    """Where hooks run."""
    with ThreadPoolExecutor(40) as pool:
        yield pool


def put(state: str, stamp: int = 0) -> str:
    """An event that waits."""
    stamp = stamp or time.monotonic_ns()
    return hook.put(state, ("qemu", "web1", "started", b"<domain/>", stamp))


def rung(state: str, service: Service, hooks: ThreadPoolExecutor) -> Future[str]:
    """A hook that has rung for its event, and waits."""
    found = hooks.submit(ring, state, put(state), LONG)
    service.hear_all(until=service.hooks.is_rung)
    return found


def carry_out(state: str) -> None:
    """Everything that waits."""
    for file, _ in spool.waiting(state):
        files.remove(f"{state}/{file}")


def has_mark(state: str) -> bool:
    """Whether somebody rang in vain."""
    return files.exists(f"{state}/{DEAF}")


def test_an_event_that_is_carried_out(
    state: str, service: Service, hooks: ThreadPoolExecutor
) -> None:
    """Who rang for it hears so when it is."""
    ringing = rung(state, service, hooks)
    waited = service.hooks.waits_for_work()
    carry_out(state)

    service.hooks.answer()

    found = ringing.result(), waited, service.hooks.is_rung(), has_mark(state)
    assert found == (DONE, True, False, False)


def test_an_event_that_could_not_be(
    state: str, service: Service, hooks: ThreadPoolExecutor
) -> None:
    """Then the hook is to do it, at once; the service is not deaf."""
    ringing = rung(state, service, hooks)

    service.hooks.answer()

    assert (ringing.result(), has_mark(state)) == (NOT_DONE, False)


def test_an_event_that_somebody_else_has_carried_out(
    state: str, service: Service, hooks: ThreadPoolExecutor
) -> None:
    """There is nothing to do for it."""
    ringing = rung(state, service, hooks)
    carry_out(state)

    waits = service.hooks.waits_for_work()
    service.hooks.answer()

    assert (waits, ringing.result()) == (False, DONE)


def test_without_a_service(state: str) -> None:
    """No bell: no mark either."""
    assert (ring(state, put(state), LONG), has_mark(state)) == (NOBODY, False)


def test_a_service_that_was_killed(state: str) -> None:
    """Its bell is still there, and nobody behind it."""
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    bell.bind(f"{state}/{hook.BELL}")
    bell.close()

    assert (ring(state, put(state), LONG), has_mark(state)) == (NOBODY, False)


def test_a_service_that_ends_while_it_is_waited_for(
    state: str, service: Service, hooks: ThreadPoolExecutor
) -> None:
    """The hook goes on without it."""
    ringing = rung(state, service, hooks)

    service.hooks.close()

    assert (ringing.result(), has_mark(state)) == (NOBODY, False)


@pytest.mark.usefixtures("service")
def test_a_service_that_does_not_answer(state: str) -> None:
    """It has stopped, or hangs: that is marked for those who come."""
    found = ring(state, put(state), 0.05)

    assert (found, has_mark(state)) == (SILENT, True)


@pytest.mark.usefixtures("service")
def test_a_mark_for_which_there_is_no_room(state: str) -> None:
    """The hook does its work all the same."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.object(hook, "_write", side_effect=full):
        found = ring(state, "spool/1-1.1", 0.05)

    assert (found, has_mark(state)) == (SILENT, False)


@pytest.mark.usefixtures("service")
def test_a_hook_that_gets_no_descriptor(state: str) -> None:
    """It does its work itself."""
    none = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with patch.object(hook, "Socket", side_effect=none):
        found = ring(state, put(state), LONG)

    assert found == NOBODY


def test_a_service_that_gets_no_descriptor(state: str, service: Service) -> None:
    """It closes the doorbell, which would tell of the hook for ever; the hook does its
    work itself, at once, and later hooks ring again where it is opened again."""
    none = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    with ThreadPoolExecutor() as hooks:
        rings = hooks.submit(ring, state, put(state), LONG)
        ((bell, _),) = service.poll.poll(LONG * 1000)
        with (
            patch.object(socket.socket, "accept", side_effect=none),
            pytest.raises(OSError),
        ):
            service.hooks.hear(bell)
        found = rings.result()

    told = service.poll.poll(0)
    assert (found, told, service.hooks.is_there()) == (NOBODY, [], False)


def test_while_the_mark_is_there(state: str, service: Service) -> None:
    """Nobody rings, and nobody waits for a service that is deaf."""
    ring(state, put(state), 0.05)
    service.hear_all(until=service.hooks.is_rung)
    service.hooks.answer()

    found = ring(state, put(state), LONG)

    ready = [fd for fd, _ in service.poll.poll(0)]
    assert (found, ready) == (NOBODY, [])


def test_a_new_service_takes_the_mark_away(
    state: str, service: Service, hooks: ThreadPoolExecutor
) -> None:
    """Hooks ring again."""
    ring(state, put(state), 0.05)
    service.hooks.close()

    other = Service(state)
    ringing = rung(state, other, hooks)
    carry_out(state)
    other.hooks.answer()
    other.hooks.close()

    assert (ringing.result(), has_mark(state)) == (DONE, False)


def test_one_that_did_not_wait(
    state: str, service: Service, hooks: ThreadPoolExecutor
) -> None:
    """He was killed, or gave up; the next one is answered."""
    ring(state, put(state), 0.05)
    files.remove(f"{state}/{DEAF}")
    ringing = rung(state, service, hooks)
    service.hear_all(until=lambda: service.waits() == 2)
    carry_out(state)

    service.hooks.answer()

    assert ringing.result() == DONE


def test_one_that_says_nothing(state: str, service: Service) -> None:
    """He was killed between two calls: he is forgotten, and his descriptor closed."""
    before = descriptors()
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.connect(f"{state}/{hook.BELL}")
    service.hear_all(until=lambda: len(descriptors()) == len(before) + 2)

    link.close()

    service.hear_all(until=lambda: descriptors() == before)
    assert not service.hooks.is_rung()


def test_many_at_once(state: str, service: Service, hooks: ThreadPoolExecutor) -> None:
    """Each is answered for his own event."""
    before = descriptors()
    events = [put(state, stamp) for stamp in range(1, 41)]
    found = [hooks.submit(ring, state, event, LONG) for event in events]
    service.hear_all(until=lambda: service.waits() == len(events))
    for event in events[::2]:
        files.remove(f"{state}/{event}")

    service.hooks.answer()

    assert [one.result() for one in found] == [DONE, NOT_DONE] * 20
    assert descriptors() == before


def test_more_than_there_is_room_for(
    state: str, service: Service, hooks: ThreadPoolExecutor
) -> None:
    """They are let in when the ones before have been answered: a descriptor each would
    leave none to do the work with."""
    with patch.object(ringing_hooks, "_MOST", 2):
        found = [hooks.submit(ring, state, put(state, n), LONG) for n in range(1, 6)]
        waited = []
        for until in [service.hooks.is_full] * 2 + [service.hooks.is_rung]:
            service.hear_all(until=until)
            waited.append(service.waits())
            carry_out(state)
            service.hooks.answer()

    assert (waited, [one.result() for one in found]) == ([2, 2, 1], [DONE] * 5)


def test_a_bell_in_the_place_of_ours(state: str, service: Service) -> None:
    """Another service has hung up its own, and may have gone since: ours is not there,
    though something is."""
    other = Service(state)
    found = service.hooks.is_there(), other.hooks.is_there()
    other.hooks.close()

    assert found == (False, True)


def test_a_state_directory_made_anew(
    state: str, service: Service, hooks: ThreadPoolExecutor
) -> None:
    """Its bell is not there: another is hung up, and rung."""
    files.remove(f"{state}/{hook.BELL}")
    was_there = service.hooks.is_there()
    service.hooks.open()

    ringing = rung(state, service, hooks)
    carry_out(state)
    service.hooks.answer()

    found = was_there, service.hooks.is_there(), ringing.result()
    assert found == (False, True, DONE)


def test_a_bell_that_cannot_be_hung_up(tmp_path: Path) -> None:
    """It is said, and nothing is left open."""
    before = descriptors()
    ringing = RingingHooks(f"{tmp_path}/nowhere", select.poll())

    with pytest.raises(FileNotFoundError):
        ringing.open()

    assert (descriptors(), ringing.is_there(), ringing.knows(0)) == (
        before,
        False,
        False,
    )


def test_only_root_may_ring(state: str, service: Service) -> None:
    """The bell is in a directory that nobody else gets into."""
    del service

    assert Path(state).stat().st_mode & 0o777 == 0o700
