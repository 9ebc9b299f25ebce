"""The same events on hosts with ever more other forwards."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .bed import IPT, LEGACY, NFT, Bed
from .guests import Guest, others, plain
from .hosts import daemon_of, others_rules, prepare
from .life import ours
from .lives import LIFE, OURS, Hook, life, peak
from .measure import Series, in_turn
from .plot import render
from .report import Section, Table, Verdict

TARGET = 1.2
HELD = NFT, IPT  # legacy replaces a whole table at every change, whoever makes it
WIKI = Path(__file__).resolve().parent / "wiki-hook"
MOST = 10_000
RESERVATIONS = 101
PEAK = 40 << 10
Lines = dict[str, list[tuple[float, float]]]


def measure(runs: int, is_whole: bool) -> Section:
    """A guest's start and stop with 10 forwards, alone and beside up to 10,000."""
    section = Section(
        "Flat, however large the host",
        "All seven events, in ms, of a guest with 10 forwards on a network with "
        f"{RESERVATIONS} reservations, beside so many forwards of other guests, a "
        "tenth of them with allow_from and one in a hundred a range. Alone and beside "
        "others in turn on two hosts; the ratio is that of the pairs. Peak is the "
        "largest process of the hook.",
    )
    table = Table(("hook, backend", "others", "ms", "to alone", "peak MB"))
    section.tables.append(table)
    lines: Lines = {}
    for backend in (NFT, IPT, LEGACY):
        few = runs if backend in HELD else max(3, runs // 2)
        sizes = (100, 1_000, MOST) if is_whole else (MOST,)
        _ours(section, lines, backend, True, sizes, few)
        if backend in HELD:
            _ours(section, lines, backend, False, (MOST,), few)
    if is_whole:
        _peers(lines, table)
    title = "A guest's life, 10 forwards, by size of the host"
    svg = render(title, "other forwards on the host", "ms", lines)
    section.plots["event-cost.svg"] = svg
    return section


def _ours(
    section: Section,
    lines: Lines,
    backend: str,
    is_served: bool,
    sizes: tuple[int, ...],
    runs: int,
) -> None:
    """With the service, or without it, beside so many."""
    name, table = ours(backend, is_served), section.tables[0]
    alone = Bed(backend)
    mine = {Guest(0).name: plain(10)}
    alone.call(prepare, backend, mine, 0, RESERVATIONS, is_served)
    for size in sizes:
        full = Bed(backend)
        guests = size // 100
        both = {**mine, **others(guests)}
        full.call(prepare, backend, both, guests, RESERVATIONS, is_served)
        ratio, most = _compare(alone, full, OURS, runs, table, lines, name, size)
        full.close()
    alone.close()
    if backend in HELD:
        which = name.removeprefix("vfwhooks")
        what = f"beside {MOST:,} forwards ≤ {TARGET} × alone{which}"
        section.verdicts.append(Verdict(what, f"{ratio:.2f} ×", ratio <= TARGET))
    if backend == NFT and not is_served:
        what, figure = "peak memory of a hook ≤ 40 MB", f"{most / 1024:.0f} MB"
        section.verdicts.append(Verdict(what, figure, most <= PEAK))


def _peers(lines: Lines, table: Table) -> None:
    """The wiki's script beside as many rules of its own kind."""
    for backend in (IPT, LEGACY):
        hook = Hook("wiki", WIKI, 10)
        alone = Bed(backend)
        for size in (100, 1_000, MOST):
            full = Bed(backend)
            full.call(others_rules, size)
            name = f"libvirt's wiki, {backend}"
            _compare(alone, full, hook, 3, table, lines, name, size)
            full.close()
        alone.close()


def _compare(
    alone: Bed,
    full: Bed,
    hook: Hook,
    runs: int,
    table: Table,
    lines: Lines,
    name: str,
    size: int,
) -> tuple[float, int]:
    contenders = {
        "alone": partial(_once, alone, hook),
        "full": partial(_once, full, hook),
    }
    for once in contenders.values():
        once()
    found = in_turn(contenders, runs, pause=0.05)
    ratio = found["full"].ratio(found["alone"])
    if name not in lines:
        _row(table, name, "none", found["alone"], "", _peak(alone, hook))
        lines[name] = [(10, found["alone"].median * 1000)]
    most = _peak(full, hook)
    _row(table, name, f"{size:,}", found["full"], f"{ratio:.2f}", most)
    lines[name].append((size, found["full"].median * 1000))
    return ratio, most


def _row(
    table: Table, name: str, size: str, series: Series, ratio: str, most: int
) -> None:
    table.rows.append((name, size, series.show(1000), ratio, f"{most / 1024:.0f}"))


def _once(bed: Bed, hook: Hook) -> float:
    return sum(bed.call(life, hook, Guest(0), daemon_of(bed.backend), LIFE))


def _peak(bed: Bed, hook: Hook) -> int:
    daemon = daemon_of(bed.backend)
    return max(bed.call(peak, hook, Guest(0), daemon, event) for event in LIFE)
