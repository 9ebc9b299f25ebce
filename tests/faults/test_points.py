"""An event disturbed at each of its system calls: nothing is lost, nothing leaks.

The short form takes a few points of every scene; VFWHOOKS_FAULT_POINTS takes so many
of each scene and kind, `all` takes every one.
"""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from standin import BACKENDS, STATE, alone

from faults.scenes import RETURNED, SCENES, WEB0, Scene, Stage
from faults.stepper import Tracee

FEW = 3
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENOMEM)
# A call that is made to fail must be one that can: no process sees exit fail.
NEVER_FAIL = {60, 231, 15, 62, 202}  # exit, exit_group, sigreturn, kill, futex
READ, SOCKET, IPTABLES = 0, 41, "xtables-nft-multi"
GETDENTS = 217


def chosen(seed: str, scene: Scene, stage: Stage) -> list[int]:
    """The points to try, of as many as the event has when nothing disturbs it."""
    clean = stage.play(scene)
    assert stage.close(scene) == []
    found = list(range(len(clean.points)))
    asked = os.environ.get("VFWHOOKS_FAULT_POINTS", str(FEW))
    if asked == "all":
        return found
    fair = random.Random(seed)
    return sorted(fair.sample(found, min(int(asked), len(found))))


def disturb(
    stage: Stage, scene: Scene, points: Sequence[int], act: Callable[[Tracee], str]
) -> list[str]:
    """Play the scene once a point; what went wrong, and where."""
    wrong = []
    for point in points:
        did: list[str] = []

        try:
            stepped = stage.play(scene, before=at(point, act, did))
            found = stage.close(scene)
            if (stepped.status, stepped.stdout) != (0, ""):
                found.append(f"the hook: {stepped.status}, {stepped.stdout!r}")
        except AssertionError as error:
            found = [str(error)]
        log = stage.host.syslog()
        if found:
            wrong.append(f"{point} ({''.join(did)}): {'; '.join(found)}; log: {log}")
            stage.host.apply(WEB0)
    return wrong


def at(
    point: int, act: Callable[[Tracee], str], did: list[str]
) -> Callable[[Tracee, int], None]:
    """Act at this call alone, and note what was done to which."""

    def look(tracee: Tracee, number: int) -> None:
        if number == point:
            did.append(f"{tracee.name}: call {tracee.registers().orig_rax}: ")
            did.append(act(tracee))

    return look


def kill(tracee: Tracee) -> str:
    """kill -9, in front of the call, which is behind the one before."""
    tracee.kill()
    return "killed"


def terminate(tracee: Tracee) -> str:
    """SIGTERM: what a shutdown sends to everybody."""
    os.kill(tracee.pid, signal.SIGTERM)
    return "terminated"


def is_hidden(tracee: Tracee, number: int) -> bool:
    """Whether iptables-restore reports success when this call fails; only `apply` can
    notice then.

    It takes its standard input for ended, and does nothing. Or it asks, by a socket
    beside its first one, which revision of a match or target the kernel has, takes the
    kernel for an older one, and puts in rules of another layout.
    """
    if tracee.name != IPTABLES:
        return False
    directory = Path(f"/proc/{tracee.pid}/fd")
    links = {int(path.name): str(path.readlink()) for path in directory.iterdir()}
    sockets = sorted(fd for fd, link in links.items() if link.startswith("socket:"))
    fd = tracee.registers().rdi
    return number == SOCKET or fd in sockets[1:] or (number, fd) == (READ, 0)


def fail(tracee: Tracee) -> str:
    """The call fails, each time for another reason."""
    number = tracee.registers().orig_rax
    if number in NEVER_FAIL or is_hidden(tracee, number):
        return "left alone"
    error = ERRORS[tracee.pid % len(ERRORS)]
    tracee.fail(error)
    return errno.errorcode[error]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("act", [kill, terminate, fail])
def test_disturbed_at_any_call(
    backend: str,
    name: str,
    act: Callable[[Tracee], str],
    measured: Callable[[str, float], None],
) -> None:
    """Killed, terminated or refused at any system call, a hook ends well and in time;
    one later event or `apply` brings the kernel to exactly the plan, and of a guest
    that has stopped nothing is left."""
    tried = alone(play_all)(backend, name, act)

    measured("points", tried)


def play_all(backend: str, name: str, act: Callable[[Tracee], str]) -> int:
    """On a host of its own; how many points were tried."""
    stage = Stage(backend)
    stage.learn(*((RETURNED,) if name in ("way", "no way") else (0, 1)))
    points = chosen(f"{backend} {name} {act.__name__}", SCENES[name], stage)

    wrong = disturb(stage, SCENES[name], points, act)

    assert wrong == []
    return len(points)


def lists_ours(tracee: Tracee) -> bool:
    """Whether the call asks which files are in one of our directories."""
    registers = tracee.registers()
    if registers.orig_rax != GETDENTS:
        return False
    directory = Path(f"/proc/{tracee.pid}/fd/{registers.rdi}").readlink()
    return directory.is_relative_to(STATE)


@alone
def play_unlisted(backend: str, name: str) -> tuple[int, list[str]]:
    """The scene, once for each such call, which fails; how many, and what is wrong."""
    stage, scene = Stage(backend), SCENES[name]
    stage.learn(*((RETURNED,) if name in ("way", "no way") else (0, 1)))
    points: list[int] = []

    def look(tracee: Tracee, number: int) -> None:
        if lists_ours(tracee):
            points.append(number)

    stage.play(scene, before=look)
    wrong = stage.close(scene) + disturb(stage, scene, points, fail)
    return len(points), wrong


@pytest.mark.parametrize(
    ("backend", "name"), [("iptables", "way"), ("nftables", "no way")]
)
def test_a_directory_that_cannot_be_listed_is_not_empty(
    backend: str, name: str, measured: Callable[[str, float], None]
) -> None:
    """Where the kernel cannot say what is there, nothing is taken for gone: no event,
    no guest that needs what is about to be taken out."""
    tried, wrong = play_unlisted(backend, name)

    measured("points", tried)
    assert (tried > 5, wrong) == (True, [])
