"""hook: the client's part of an event, as the gate runs it: write it down, ring, wait
for the lock. What it means is for hookevents."""

from __future__ import annotations

import errno
import faulthandler
import os
import posix
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock, patch

import pytest

from unit.builders import ANY_PYTHON, CHECKOUT, RECORDED, files_of
from unit.test_doorbell import Service
from vfwhooks.service import hook
from vfwhooks.store import files, spool
from vfwhooks.store.lock import Lock

# As the gate runs it, but for what would be said to syslog, which is printed, and what
# carries events out, which only takes them away and says who came so far.
RUN = """
import sys, types
sys.path.insert(0, sys.argv[1])
alone = types.ModuleType("vfwhooks.service.hook_without_service")
def carry_out(state, config, mine, lock, until, detach):
    from vfwhooks.store import files; from vfwhooks.store import spool
    waiting = spool.waiting(state)
    for file, _ in waiting:
        files.remove(f"{state}/{file}")
    names = [event.name for _, event in waiting] + ([mine.name] if mine else [])
    return [f"alone with {'the' if lock else 'no'} lock: {' '.join(names)}"]
alone.carry_out = carry_out
sys.modules["vfwhooks.service.hook_without_service"] = alone
from vfwhooks.service import hook
sys.modules["syslog"] = types.SimpleNamespace(
    openlog=lambda *_: None, LOG_PID=0, LOG_DAEMON=0, LOG_NOTICE=0,
    syslog=lambda _, line: sys.stderr.write(line + "\\n"),
)
hook.RING_TIMEOUT, hook.LOCK_TIMEOUT = map(float, sys.argv[2:4])
hook.DEADLINE = 55.0
hook.main(sys.argv[4:])
"""
XML = (RECORDED / "libvirt-11.3" / "qemu-started.xml").read_bytes()


@pytest.fixture
def state(tmp_path: Path) -> str:
    """A state directory as some hook has made it."""
    for name in ("spool", "tmp"):
        (tmp_path / "state" / name).mkdir(parents=True)
    (tmp_path / "state").chmod(0o700)
    return f"{tmp_path}/state"


@pytest.fixture
def service(state: str) -> Iterator[Service]:
    """One that listens, until it has gone."""
    found = Service(state)
    yield found
    found.hooks.close()


def run(
    state: str,
    *event: str,
    stdin: bytes = XML,
    ring: float = 50,
    lock: float = 50,
) -> list[str]:
    """Call the hook; what it says. It ends well, with nothing on standard output."""
    argv = ["-ISX", "utf8", "-c", RUN, str(CHECKOUT), str(ring), str(lock)]
    done = subprocess.run(
        [ANY_PYTHON, *argv, *(event or ("qemu", "web1", "started"))],
        input=stdin,
        env={"VFWHOOKS_STATE": state},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    return done.stderr.decode().splitlines()


def waiting(state: str) -> list[str]:
    """The names of the events that nobody has carried out."""
    return [event.name for _, event in spool.waiting(state) if event]


def at_the_door(service: Service) -> list[tuple[str, str, bytes]]:
    """Answer the first one who rings, whose event is carried out; what it was."""
    found: list[tuple[str, str, bytes]] = []
    service.hear_all(until=service.hooks.is_rung)
    for file, event in spool.waiting(service.state):
        assert event
        found.append((event.name, event.operation, event.data))
        files.remove(f"{service.state}/{file}")
    service.hooks.answer()
    return found


def answered(state: str, service: Service, *event: str) -> object:
    """What the service was told by a hook, and what the hook says then."""
    told: list[object] = []
    thread = threading.Thread(target=lambda: told.extend(at_the_door(service)))
    thread.start()
    said = run(state, *event)
    thread.join()
    return told, said


def test_the_service_does_it(state: str, service: Service) -> None:
    """It has the event whole; the hook has nothing to do, and nothing to say."""
    found = answered(state, service, "qemu", "we\udcff b", "started")

    assert found == ([("we\udcff b", "started", XML)], [])


@pytest.mark.parametrize("operation", ["stopped", "release"])
def test_what_needs_no_xml(state: str, service: Service, operation: str) -> None:
    """None is read: libvirt may not have closed it."""
    found = answered(state, service, "qemu", "web1", operation)

    assert found == ([("web1", operation, b"")], [])


def test_without_a_service(state: str) -> None:
    """It does all that waits, with the lock."""
    hook.put(state, ("qemu", "other", "stopped", b"", 1))

    said = run(state)

    assert (said, waiting(state)) == (["alone with the lock: other web1"], [])


def test_a_service_that_is_silent(state: str, service: Service) -> None:
    """After a while the hook does it itself, and leaves a mark; the next one does not
    ring."""
    said = [run(state, ring=0.2), run(state)]

    assert said == [["alone with the lock: web1"]] * 2
    assert files.exists(f"{state}/{hook.DEAF}")
    service.hear_all(until=service.hooks.is_rung)
    assert service.waits() == 1


def test_a_service_that_could_not(state: str, service: Service) -> None:
    """The hook does it itself, at once."""

    def refuse() -> None:
        service.hear_all(until=service.hooks.is_rung)
        service.hooks.answer()

    thread = threading.Thread(target=refuse)
    thread.start()
    said = run(state)
    thread.join()

    assert said == ["alone with the lock: web1"]


def test_whose_event_somebody_has_carried_out(state: str) -> None:
    """Who had the lock did it: nothing is imported, nothing said."""
    lock = Lock(f"{state}/lock")

    def work() -> None:
        while not spool.has_any(state):
            time.sleep(0.01)
        time.sleep(0.3)  # it has come to wait for the lock, or is about to: both serve
        for file, _ in spool.waiting(state):
            files.remove(f"{state}/{file}")
        lock.close()

    thread = threading.Thread(target=work)
    thread.start()
    said = run(state)
    thread.join()

    assert said == []


def test_a_lock_that_is_not_given_back(state: str) -> None:
    """Its event is left, and a mark for the service; that is said."""
    lock = Lock(f"{state}/lock")

    said = run(state, lock=0.3)

    lock.close()
    why = "somebody else has the lock: left to whoever comes next"
    assert said == [f"web1 started: {why}"]
    assert waiting(state) == ["web1"]
    assert files.exists(f"{state}/late")
    assert not files.exists(f"{state}/full")


def test_who_waits_for_the_lock_imports_nothing_else(state: str) -> None:
    """Hundreds may wait at once."""
    lock = Lock(f"{state}/lock")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from vfwhooks.service import hook\n"
        "before = set(sys.modules)\n"
        "event = 'qemu', 'web1', 'stopped', b'', 1\n"
        "hook.carry_out(sys.argv[2], '', event, 0)\n"
        "print(*set(sys.modules) - before)"
    )
    argv = [ANY_PYTHON, "-ISX", "utf8", "-c", script, str(CHECKOUT), state]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    lock.close()

    assert set(done.stdout.split()) == {
        "fcntl",
        "vfwhooks.store",
        "vfwhooks.store.lock",
        "vfwhooks.values",
        "vfwhooks.values.errors",
    }


def test_an_event_that_cannot_be_written_down(state: str) -> None:
    """The reason is said, nobody is rung, and it is carried out from memory."""
    (Path(state) / "spool").rmdir()
    (Path(state) / "spool").write_text("")

    said = run(state)

    assert said == [f"{state}: Not a directory", "alone with the lock: web1"]


def test_one_that_is_lost(state: str) -> None:
    """It could not be written down, and the lock is not to be had: that is said."""
    (Path(state) / "spool").rmdir()
    (Path(state) / "spool").write_text("")
    lock = Lock(f"{state}/lock")

    said = run(state, lock=0.3)

    lock.close()
    why = "somebody else has the lock: it is lost, run vfwhooks apply"
    assert said == [f"{state}: Not a directory", f"web1 started: {why}"]


def test_the_first_event_of_a_host(tmp_path: Path) -> None:
    """There is no state directory yet."""
    said = run(f"{tmp_path}/state")

    assert said == ["alone with the lock: web1"]


def test_where_there_is_no_room_for_a_directory(tmp_path: Path) -> None:
    """Neither a file nor a lock: what can be done is."""
    said = run(f"{tmp_path}/nowhere/state")

    directory = f"{tmp_path}/nowhere/state"
    assert said == [
        f"{directory}: No such file or directory",
        "alone with no lock: web1",
    ]


def test_more_than_libvirt_writes(state: str) -> None:
    """It is refused, said, and not written down."""
    said = run(state, stdin=b" " * (17 << 20))

    assert said == ["web1 started: more than 16 MiB of XML on standard input"]
    assert files_of(Path(state)) == {}


def test_a_defect_of_ours(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of ours is named; the hook ends well."""
    said: list[str] = []

    class Ended(Exception):
        pass

    def end(lines: list[str]) -> None:
        said.extend(lines)
        raise Ended

    monkeypatch.setattr(hook, "end", end)
    monkeypatch.setattr(hook, "carry_out", lambda *_: 1 // 0)
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: 0)
    monkeypatch.setenv("VFWHOOKS_STATE", state)

    with pytest.raises(Ended):
        hook.main(["qemu", "web1", "stopped"])

    (line,) = said
    assert line.startswith("web1 stopped: <lambda>:")
    assert line.endswith("ZeroDivisionError('integer division or modulo by zero')")


def test_a_line_that_holds_anything(state: str) -> None:
    """A name is spelled out: one line for the log."""
    lock = Lock(f"{state}/lock")

    (line,) = run(state, "qemu", "we\nb\udcff", "stopped", lock=0.3)

    lock.close()
    assert line.isprintable()


def test_it_spells_what_is_shared_as_others_do() -> None:
    """It imports nothing to know it: the paths, and the format of the spool."""
    mine = hook._STATE, hook._CONFIG, hook._FORMAT

    assert mine == (files.STATE, files.CONFIG, spool.FORMAT)


def test_how_long_it_takes_at_most() -> None:
    """Until libvirt has its answer, whoever hangs: well below what libvirt's own
    clients wait; and there is time left to say why."""
    assert hook.RING_TIMEOUT < hook.LOCK_TIMEOUT < hook.DEADLINE
    assert hook.DEADLINE + hook.LAST_WORDS < 5


def test_without_room_for_a_child() -> None:
    """libvirt waits for what is left, and no longer than for any hook."""
    none = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    with (
        patch.object(hook, "faulthandler") as timer,
        patch.object(posix, "fork", side_effect=none),
        patch.object(posix, "dup2", Mock()),
    ):
        hook.detach(time.monotonic() + 0.5)

    seconds = timer.dump_traceback_later.call_args.args[0]
    assert 0 < seconds <= 0.5
