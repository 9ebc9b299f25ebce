"""The service killed, or stopped, at each of its system calls while a hook waits: the
guest starts all the same, and nothing is lost.

The short form takes a few points of every scene; VFWHOOKS_FAULT_POINTS takes so many
of each scene and kind, `all` takes every one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from standin import BACKENDS, CHECKOUT, ENVIRONMENT, STATE, Guest, alone, hook_argv

from faults.scenes import RETURNED, SCENES, WEB0, WEB1, Scene, Stage
from faults.stepper import Stepped, Tracee, step_other
from faults.watched import Service

FEW = 3
NAMES = "start", "stop", "reconnect", "way", "no way"
# Seconds for a hook to end, and for a service to carry out what waits, by far: a hang
# is to be noticed, not a busy machine.
SOON = 20.0
# A hook that gives the service up, and then the lock, sooner than it does.
HASTY = """
import sys, time
sys.path.insert(0, sys.argv[1])
from vfwhooks.service import hook; from vfwhooks.store import lock
hook.RING_TIMEOUT, Lock = 0.1, lock.Lock
lock.Lock = lambda path, until: Lock(path, time.monotonic() + 0.2)
hook.main(sys.argv[2:])
"""
Act = Callable[[int], None]


def kill(pid: int) -> None:
    """As systemd does, or the kernel without memory."""
    os.kill(pid, signal.SIGKILL)


def stop(pid: int) -> None:
    """As if it hung: the watchdog's kill comes later."""
    os.kill(pid, signal.SIGSTOP)


class Play:
    """A scene, played with a service again and again."""

    def __init__(self, backend: str, name: str, act: Act) -> None:
        self.stage = Stage(backend)
        self.scene: Scene = SCENES[name]
        self.act = act
        self.stage.learn(*((RETURNED,) if name in ("way", "no way") else (0,)))
        self.service = Service()
        self.longest = 0.0

    def play(self, point: int = -1) -> tuple[Stepped, bool]:
        """The scene, disturbed at this point; whether it came so far."""
        self.scene.before(self.stage)
        self.settle((WEB0, WEB1) if self.stage.is_known() else (WEB0,))
        guest, operation = self.scene.event
        did = []

        def before(tracee: Tracee, number: int) -> bool:
            if number == point:
                self.act(tracee.pid)
                did.append(number)
            return number == point

        argv = hook_argv(guest.driver, guest.name, operation)
        if self.act is stop:
            hasty = "/usr/bin/python3", "-IX", "utf8", "-c", HASTY, str(CHECKOUT)
            argv = [*hasty, guest.driver, guest.name, operation]
        found = step_other(self.service.pid, argv, ENVIRONMENT, guest.xml(), before)
        return found, bool(did)

    def close(self, is_disturbed: bool) -> list[str]:
        """What is wrong once there is a service again, which no event tells anything;
        and with the guest's stop."""
        if is_disturbed:
            self.service.kill()
            begun = time.monotonic()
            self.service = Service()
        wrong = self.settle(self.scene.runs)
        if is_disturbed:
            self.longest = max(self.longest, time.monotonic() - begun)
        if WEB1 in self.scene.runs:
            self.stage.host.event("qemu", "web1", "stopped")
            wrong += self.settle((WEB0,))
        return wrong

    def settle(self, runs: tuple[Guest, ...]) -> list[str]:
        """What differs from what should be, when that does not change any more."""
        deadline = time.monotonic() + SOON
        while True:
            wrong = self.stage.differs(runs, "the service") + self.stage.left_over()
            deaf = [STATE / "deaf"] if (STATE / "deaf").exists() else []
            if not (wrong or deaf) or time.monotonic() > deadline:
                return wrong + [f"left over: {one}" for one in deaf]
            time.sleep(0.005)


def chosen(seed: str, points: int) -> list[int]:
    """The points to try, of so many."""
    asked = os.environ.get("VFWHOOKS_FAULT_POINTS", str(FEW))
    if asked == "all":
        return list(range(points))
    return sorted(random.Random(seed).sample(range(points), min(int(asked), points)))


@contextlib.contextmanager
def played(backend: str, name: str, act: Act) -> Iterator[Play]:
    """On a host of its own; the service goes with it."""
    play = Play(backend, name, act)
    try:
        yield play
    finally:
        play.service.kill()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("act", [kill, stop])
def test_disturbed_at_any_call(
    backend: str, name: str, act: Act, measured: Callable[[str, float], None]
) -> None:
    """The hook ends well and in time; the kernel and the records are as they should be
    when another service has started, and nothing is left over."""
    tried, longest = alone(play_all)(backend, name, act)

    measured("points", tried)
    measured("longest until all was carried out, ms", 1000 * longest)


def play_all(backend: str, name: str, act: Act) -> tuple[int, float]:
    """How many points were tried, and how long a new service took at most."""
    tried, wrong = 0, []
    with played(backend, name, act) as play:
        for _ in range(2):  # the service has news of its own at first
            clean, _ = play.play()
            assert play.close(is_disturbed=False) == []
        for point in chosen(f"{backend} {name} {act.__name__}", len(clean.points)):
            stepped, is_disturbed = play.play(point)
            tried += is_disturbed
            found = play.close(is_disturbed)
            if (stepped.status, stepped.stdout) != (0, ""):
                found.append(f"the hook: {stepped.status}, {stepped.stdout!r}")
            if stepped.seconds > SOON:
                found.append(f"the hook took {stepped.seconds:.1f} s")
            log = play.stage.host.syslog()
            if found:
                number = stepped.points[-1].number
                wrong.append(f"{point} (call {number}): {'; '.join(found)}; log: {log}")
                play.stage.host.apply(WEB0)

    assert not wrong, "\n".join(wrong)
    return tried, play.longest
