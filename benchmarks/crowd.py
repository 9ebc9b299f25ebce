"""200 guests that start or stop at once: what waiting for each other adds."""

from __future__ import annotations

import os
import time
from functools import partial

from .bed import IPT, LIB, NFT, Bed
from .guests import Guest, plain
from .hosts import STARTED, daemon_of, expect_forwarded, prepare
from .lives import OURS, call, environment, open_input
from .measure import in_turn
from .report import Section, Table, Verdict

GUESTS, FORWARDS = 200, 10
TARGET = 0.010
_BARE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "import vfwhooks.hook, posix; posix._exit(0)"
)


def measure(runs: int) -> Section:
    """All hooks at once, beside as many that only start Python and import."""
    section = Section(
        f"{GUESTS} guests at once",
        f"{GUESTS} `started` or `stopped` hooks called at the same moment, {FORWARDS} "
        "forwards each; beside them as many processes that start Python and import the "
        "same, and do nothing. The difference is what the queue and the work add. "
        "Seconds until the last has ended, and after the stops the next guest's start, "
        "which waits for what goes on behind libvirt's back; median (min–max).",
    )
    heads = "backend", "event", "hooks", "Python alone", "added per guest, ms"
    table = Table(heads)
    section.tables.append(table)
    for backend in (NFT, IPT):
        bed = Bed(backend)
        forwards = {
            Guest(n).name: plain(FORWARDS, 2000 + n * FORWARDS)
            for n in range(1, GUESTS + 1)
        }
        bed.call(prepare, backend, forwards, 0, GUESTS + 1)
        found = in_turn(
            {
                "started": partial(bed.call, _starts, backend),
                "stopped": partial(bed.call, _stops, backend),
                "bare": partial(bed.call, _bare),
            },
            runs,
        )
        for event in ("started", "stopped"):
            added = (found[event].median - found["bare"].median) / GUESTS
            cells = found[event].show(1, 2), found["bare"].show(1, 2)
            table.rows.append((backend, event, *cells, f"{added * 1000:.1f}"))
            if (backend, event) == (NFT, "started"):
                what = f"{GUESTS} starts at once: the queue adds ≤ 10 ms a guest"
                last = f"{added * 1000:.1f} ms; the last one is done after "
                figure = f"{last}{found[event].median:.1f} s"
                section.verdicts.append(Verdict(what, figure, added <= TARGET))
        bed.close()
    return section


def _starts(backend: str) -> float:
    """All start; then, not counted, all stop."""
    took = _all(backend, "started")
    expect_forwarded(GUESTS)
    _all(backend, "stopped")
    return took


def _stops(backend: str) -> float:
    """All start, not counted; then all stop, and somebody else starts."""
    _all(backend, "started")
    expect_forwarded(GUESTS)
    took = _all(backend, "stopped")
    took += call(OURS, Guest(0), daemon_of(backend), STARTED)
    call(OURS, Guest(0), daemon_of(backend), ("qemu", "stopped"))
    return took


def _all(backend: str, operation: str) -> float:
    calls = []
    for number in range(1, GUESTS + 1):
        guest = Guest(number)
        argv = [str(OURS.path / "qemu"), guest.name, operation, "begin", "-"]
        calls.append((argv, guest.xml(f"qemu-{operation}", daemon_of(backend))))
    return _at_once(calls)


def _bare() -> float:
    argv = ["/usr/bin/python3", "-IX", "utf8", "-c", _BARE, str(LIB)]
    return _at_once([(argv, "")] * GUESTS)


def _at_once(calls: list[tuple[list[str], str]]) -> float:
    """Seconds until the last of them has ended."""
    inputs = [open_input(text) for _, text in calls]
    out = os.open("/dev/null", os.O_WRONLY)
    start = time.perf_counter()
    children = []
    for (argv, _), stdin in zip(calls, inputs):
        actions = [
            (os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate((stdin, out, out))
        ]
        children.append(
            os.posix_spawn(argv[0], argv, environment(), file_actions=actions)
        )
    for child in children:
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(f"a hook ended with status {status}")
    took = time.perf_counter() - start
    for fd in (*inputs, out):
        os.close(fd)
    return took
