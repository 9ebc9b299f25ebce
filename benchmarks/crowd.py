"""200 guests that start or stop at once: what waiting for each other adds."""

from __future__ import annotations

import os
import time
from functools import partial

from .bed import IPT, LIB, NFT, Bed
from .guests import Guest, plain
from .hosts import STARTED, daemon_of, expect_forwarded, prepare
from .life import ours
from .lives import OURS, call, environment, open_input
from .measure import in_turn
from .report import Section, Table, Verdict

GUESTS, FORWARDS = 200, 10
TARGET = 0.005
_BARE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "import vfwhooks.service.hook, posix; posix._exit(0)"
)


def measure(runs: int) -> Section:
    """All hooks at once, with the service and without it, beside as many clients that
    do nothing."""
    section = Section(
        f"{GUESTS} guests at once",
        f"{GUESTS} `started` or `stopped` hooks called at the same moment, {FORWARDS} "
        "forwards each; beside them as many processes that start Python, import what a "
        "hook does while it waits for its turn, and do nothing. The difference is what "
        "the queue and the work add. Seconds until the last has ended, and after the "
        "stops the next guest's start, which waits for what goes on behind libvirt's "
        "back; median (min–max).",
    )
    heads = "hooks", "event", "hooks, s", "doing nothing, s", "added per guest, ms"
    section.tables.append(Table(heads))
    for backend in (NFT, IPT):
        for is_served in (True, False):
            _measure(section, backend, is_served, runs)
    return section


def _measure(section: Section, backend: str, is_served: bool, runs: int) -> None:
    bed = Bed(backend)
    forwards = {
        Guest(n).name: plain(FORWARDS, 2000 + n * FORWARDS)
        for n in range(1, GUESTS + 1)
    }
    bed.call(prepare, backend, forwards, 0, GUESTS + 1, is_served)
    found = in_turn(
        {
            "started": partial(bed.call, _starts, backend),
            "stopped": partial(bed.call, _stops, backend),
            "bare": partial(bed.call, _bare),
        },
        runs,
    )
    bed.close()
    bare = found["bare"]
    for event in ("started", "stopped"):
        added = (found[event].median - bare.median) / GUESTS
        cells = found[event].show(1, 2), bare.show(1, 2), f"{added * 1000:.1f}"
        section.tables[0].rows.append((ours(backend, is_served), event, *cells))
        if is_served:
            which = f"{GUESTS} at once {event}, {backend}"
            what = f"{which}: the queue adds ≤ {TARGET * 1000:.0f} ms a guest"
            last = f"the last one is done after {found[event].median:.1f} s"
            figure = f"{added * 1000:.1f} ms; {last}"
            section.verdicts.append(Verdict(what, figure, added <= TARGET))


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
