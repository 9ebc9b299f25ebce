"""Events that are not ours, beside the least that any hook can cost."""

from __future__ import annotations

from functools import partial

from .bed import NFT, Bed
from .guests import Guest, plain
from .hosts import daemon_of, prepare
from .lives import OURS, Event, call, spawn
from .measure import in_turn
from .report import Section, Table, Verdict

FLOOR = "sh -c true"
EVENTS: tuple[Event, ...] = (
    ("qemu", "prepare"),
    ("qemu", "start"),
    ("qemu", "release"),
    ("network", "port-created"),
    ("network", "port-deleted"),
)
TARGET = 1.25


def measure(runs: int) -> Section:
    """Every event that the gate lets go, against `sh -c true`."""
    bed = Bed(NFT)
    bed.call(prepare, NFT, {Guest(1).name: plain(1)}, 1)
    contenders = {FLOOR: lambda: bed.call(spawn, ["/bin/sh", "-c", "true"])}
    for event in EVENTS:
        contenders[" ".join(event)] = partial(_once, bed, event)
    found = in_turn(contenders, runs)
    bed.close()
    section = Section(
        "An event that is not ours",
        "What a hook costs a guest without forwards: sh, and no other process. "
        "Milliseconds, median (min–max); the ratio is that of pairs in turn.",
    )
    table = Table(("event", "ms", f"to `{FLOOR}`"))
    floor = found[FLOOR]
    for name, series in found.items():
        shown = f"{series.ratio(floor):.2f}"
        table.rows.append((name, series.show(1000, 2), shown))
    section.tables.append(table)
    worst = max(found, key=lambda name: found[name].ratio(floor))
    ratio = found[worst].ratio(floor)
    what = f"an event that is not ours ≤ {TARGET} × `{FLOOR}`"
    figure = f"{ratio:.2f} × (the dearest, {worst})"
    section.verdicts.append(Verdict(what, figure, round(ratio, 2) <= TARGET))
    return section


def _once(bed: Bed, event: Event) -> float:
    return bed.call(call, OURS, Guest(0), daemon_of(NFT), event)
