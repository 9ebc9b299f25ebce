"""The lock, held by somebody who is stuck."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from unittest.mock import patch

import pytest
from standin import (
    BACKENDS,
    CONFIG,
    ENVIRONMENT,
    QUIET,
    STATE,
    alone,
    hook_argv,
    wait_for,
)

from faults.scenes import WEB0, WEB1, Stage
from faults.watched import watching
from vfwhooks.reconcile import reconciler
from vfwhooks.service import hook

EVENTS = {
    "started": (WEB0, WEB1),
    "stopped": (WEB0,),
}


def take_lock() -> int:
    """The lock, until this descriptor is closed."""
    lock = os.open(STATE / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


@pytest.mark.parametrize("operation", EVENTS)
@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_holder_that_is_stuck(backend: str, operation: str) -> None:
    """A hook waits no longer than its deadline, and ends well, with a word to the log;
    the next holder of the lock carries its event out, and nothing else."""
    stage = Stage(backend)
    stage.learn()
    if operation == "stopped":
        stage.host.event("qemu", "web1", "started", WEB1.xml())
    lock = take_lock()
    called = [stage.host.call("qemu", "web1", operation, WEB1.xml())]
    waiting = len(list(STATE.glob("spool/*")))
    marks = [(STATE / name).exists() for name in ("full", "late")]
    said = stage.host.syslog()
    os.close(lock)

    called.append(stage.host.call("qemu", "idle", "stopped"))

    wrong = stage.differs(EVENTS[operation], "the lock was free")
    assert (called, waiting, wrong) == ([QUIET] * 2, 1, [])
    assert (marks, stage.left_over()) == ([False, True], [])
    why = "somebody else has the lock: left to whoever comes next"
    assert said[-1] == f"web1 {operation}: {why}"


@alone
def test_a_holder_that_does_not_get_to_work() -> None:
    """The lock is given back: the watch lives on, and takes it again."""
    stage = Stage("nftables")
    stage.learn()

    with (
        patch.object(reconciler, "Netlink", side_effect=OSError("no descriptors")),
        pytest.raises(OSError, match="no descriptors"),
    ):
        stage.host.watch_looks()

    stage.host.watch_looks()
    assert stage.differs((WEB0,), "the second look") == []


@alone
def test_an_event_that_cannot_be_written_down_either() -> None:
    """Then it is lost, and the log says so, and why."""
    stage = Stage("nftables")
    stage.learn()
    take_lock()

    event = "qemu", "web1", "started", WEB1.xml().encode(), time.monotonic_ns()

    with patch.object(hook, "put", side_effect=OSError(28, "No space left")):
        until = time.monotonic() + 0.3
        said = hook.carry_out(str(STATE), str(CONFIG), event, until)

    why = "somebody else has the lock: it is lost, run vfwhooks apply"
    assert said == [f"{STATE}: No space left", f"web1 started: {why}"]


@alone
def test_the_watch_when_the_lock_is_free() -> None:
    """It carries out what was left, without another event."""
    stage = Stage("nftables")
    stage.learn()
    with watching():
        lock = take_lock()
        called = stage.host.call("qemu", "web1", "started", WEB1.xml())
        waiting = len(list(STATE.glob("spool/*")))
        os.close(lock)

        wait_for(lambda: not list(STATE.glob("spool/*")))
        wait_for(lambda: stage.differs((WEB0, WEB1), "the lock was free") == [])

    assert (called, waiting) == (QUIET, 1)


@alone
def test_a_stopped_process_with_the_lock() -> None:
    """A hook that is stopped in the middle of its work, and killed at last."""
    stage = Stage("nftables")
    stage.learn()
    lock = take_lock()
    stuck = subprocess.Popen(
        hook_argv("qemu", "web1", "started"),
        stdin=subprocess.PIPE,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert stuck.stdin
    stuck.stdin.write(WEB1.xml().encode())
    stuck.stdin.close()
    while not list(STATE.glob("spool/*")):
        pass
    os.killpg(stuck.pid, signal.SIGSTOP)
    os.close(lock)

    called = [stage.host.call("qemu", "web0", "reconnect", WEB0.xml())]
    os.killpg(stuck.pid, signal.SIGKILL)
    stuck.wait()
    called.append(stage.host.call("qemu", "idle", "stopped"))

    wrong = stage.differs((WEB0, WEB1), "the stuck one was killed")
    assert (called, wrong, stage.left_over()) == ([QUIET] * 2, [], [])
