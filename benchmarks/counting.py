"""What a hook does for one event, in counts that no other load changes."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from typing import NamedTuple

from .bed import OWN, SERVICES, Bed
from .guests import Guest, plain
from .hosts import await_idle, daemon_of, prepare, status_of
from .life import ours
from .lives import OURS, Event, call, spawn, told
from .report import Section, Table

_TRACE = OWN / "trace"
_CALL = re.compile(r"^\d+ +(\w+)\(")
_READ = re.compile(r"(?:^\d+ +|<\.\.\. )(?:read|pread64)[( ].* = (\d+)$")
EVENTS: tuple[Event, ...] = (
    ("qemu", "prepare"),
    ("network", "port-created"),
    ("qemu", "started"),
    ("qemu", "stopped"),
)
SERVED = EVENTS[2:]


class Counts(NamedTuple):
    """Programs executed, system calls of all processes, modules of ours imported, bytes
    read, and nf_tables transactions."""

    programs: int
    calls: int
    modules: int
    read: int
    transactions: int


def measure(backends: tuple[str, ...]) -> Section:
    """The counts of every kind of event, with 10 forwards."""
    section = Section(
        "In counts",
        "What one event makes the processes of its hook do, with 10 forwards, and the "
        "service, as strace sees it.",
    )
    table = Table(("hook", "event", *Counts._fields))
    for backend in backends:
        for is_served in (True, False):
            bed = Bed(backend)
            bed.call(prepare, backend, {Guest(0).name: plain(10)}, 0, 0, is_served)
            for event in EVENTS:
                counts = bed.call(trace, backend, event)
                name = ours(backend, is_served)
                table.rows.append((name, " ".join(event), *map(str, counts)))
            for event in SERVED if is_served else ():
                counts = bed.call(trace_service, backend, event)
                name = f"the service, {backend}"
                table.rows.append((name, " ".join(event), *map(str, counts)))
            bed.close()
    section.tables.append(table)
    return section


def trace(backend: str, event: Event) -> Counts:
    """On a host: guest 0's event, traced."""
    driver, operation = event
    guest, hook = Guest(0), OURS.file(driver)
    name = guest.name if driver == "qemu" else "default"
    argv = ["/usr/bin/strace", "-f", "-o", str(_TRACE), str(hook)]
    spawn(
        [*argv, name, operation, "begin", "-"], told(guest, daemon_of(backend), event)
    )
    return parse(_TRACE.read_text(errors="replace"))


def trace_service(backend: str, event: Event) -> Counts:
    """On a host: what the service does for guest 0's event, and because of it, until it
    rests."""
    (pid,) = SERVICES
    argv = ["/usr/bin/strace", "-f", "-o", str(_TRACE), "-p", str(pid)]
    strace = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    while not status_of(pid, "TracerPid"):
        time.sleep(0.01)
    call(OURS, Guest(0), daemon_of(backend), event)
    await_idle()
    strace.send_signal(signal.SIGINT)
    strace.wait()
    return parse(_TRACE.read_text(errors="replace"))


def parse(text: str) -> Counts:
    """The counts in strace's output."""
    lines = text.split("\n")
    calls = [found[1] for line in lines if (found := _CALL.match(line))]
    return Counts(
        sum("execve(" in line and " = -1" not in line for line in lines),
        len(calls),
        sum(
            "/vfwhooks/" in line and ".pyc" in line and "open" in line for line in lines
        ),
        sum(int(found[1]) for line in lines if (found := _READ.search(line))),
        text.count("type=NFNL_MSG_BATCH_BEGIN"),
    )
