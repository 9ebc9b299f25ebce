"""A guest's life: all events of it, by number of forwards, beside other hooks."""

from __future__ import annotations

from pathlib import Path

from .bed import IPT, LEGACY, NFT, Bed
from .guests import Guest, plain
from .hosts import configure, daemon_of, prepare
from .lives import LIFE, OURS, Hook, life
from .measure import Series, in_turn
from .plot import render
from .report import Section, Table, Verdict

HERE = Path(__file__).resolve().parent
TARGETS = {1: 1.3, 10: 0.2, 100: 0.025}
WIKI = "libvirt's wiki"
END = "to the end"


def measure(runs: int, peers: list[Path]) -> Section:
    """Hook time of a guest's life at 1, 10 and 100 forwards."""
    beds = {f"vfwhooks, {backend}": Bed(backend) for backend in (NFT, IPT, LEGACY)}
    hooks = dict.fromkeys(beds, OURS)
    ours = list(beds)
    for name, path, backend in (
        (f"{WIKI}, nft variant", HERE / "wiki-hook", IPT),
        (f"{WIKI}, legacy", HERE / "wiki-hook", LEGACY),
        *((path.name, path.resolve(), IPT) for path in peers),
    ):
        beds[name], hooks[name] = Bed(backend), Hook(name, path)
    section = Section(
        "A guest's life",
        "Milliseconds that libvirt waits for hooks in one guest's life: "
        + ", ".join(f"{driver} {operation}" for driver, operation in LIFE)
        + f". What is done {END} counts what goes on when libvirt has been let go as "
        "well: connections are cut, and the kernel's grace period is waited for. "
        f"Median (min–max); the ratio is that of pairs of runs in turn. {WIKI}'s "
        "script and other peers have a qemu hook only, and their rules are iptables'.",
    )
    lines: dict[str, list[tuple[float, float]]] = {}
    table = Table(("forwards", "hook", "ms", f"to {WIKI}'s, same kernel tables"))
    section.tables.append(table)
    for forwards in TARGETS:
        few = max(3, runs // (1 if forwards < 100 else 8))
        found = _round(beds, hooks, ours, forwards, few)
        for name, series in found.items():
            wiki = found[f"{WIKI}, {'legacy' if LEGACY in name else 'nft variant'}"]
            ratio = series.ratio(wiki)
            shown = "" if WIKI in name else f"{ratio:.3f}"
            table.rows.append((str(forwards), name, series.show(1000), shown))
            lines.setdefault(name, []).append((forwards, series.median * 1000))
        for backend in (NFT, IPT):
            for how in ("", f", {END}"):
                name = f"vfwhooks, {backend}{how}"
                ratio = found[name].ratio(found[f"{WIKI}, nft variant"])
                target = TARGETS[forwards]
                which = f"life with {forwards} forwards, {backend}{how}"
                what = f"{which} ≤ {target} × {WIKI}'s"
                is_met = ratio <= target
                section.verdicts.append(Verdict(what, f"{ratio:.3f} ×", is_met))
    section.tables.append(_by_event(beds, hooks, runs))
    title = "Hook time in a guest's life, by number of forwards"
    section.plots["hook-time.svg"] = render(title, "forwards", "ms", lines)
    for bed in beds.values():
        bed.close()
    return section


def _round(
    beds: dict[str, Bed],
    hooks: dict[str, Hook],
    ours: list[str],
    forwards: int,
    runs: int,
) -> dict[str, Series]:
    contenders = {}
    for name, bed in beds.items():
        if name in ours:
            bed.call(prepare, bed.backend, {Guest(0).name: plain(forwards)}, 0)
        hook = Hook(name, hooks[name].path, forwards)

        def once(bed: Bed = bed, hook: Hook = hook) -> float:
            return sum(_life(bed, hook))

        def whole(bed: Bed = bed, hook: Hook = hook) -> float:
            return sum(_life(bed, hook, True))

        once()
        contenders[name] = once
        if name in ours:
            contenders[f"{name}, {END}"] = whole
    return in_turn(contenders, runs, pause=0.05)


def _life(bed: Bed, hook: Hook, to_the_end: bool = False) -> list[float]:
    daemon = daemon_of(bed.backend)
    return bed.call(life, hook, Guest(0), daemon, LIFE, to_the_end)


def _by_event(beds: dict[str, Bed], hooks: dict[str, Hook], runs: int) -> Table:
    """Where the time goes, with one forward."""
    table = Table(("event, 1 forward, ms", *beds))
    costs: dict[str, list[list[float]]] = {}
    for name, bed in beds.items():
        if hooks[name] is OURS:
            forwards = {Guest(0).name: plain(1)}
            bed.call(configure, bed.backend, forwards, 1)
        hook = Hook(name, hooks[name].path, 1)
        _life(bed, hook)
        costs[name] = [_life(bed, hook) for _ in range(max(3, runs // 2))]
    for number, (driver, operation) in enumerate(LIFE):
        cells = []
        for name in beds:
            taken = [one[number] for one in costs[name]]
            cells.append(f"{Series(tuple(taken)).median * 1000:.1f}")
        table.rows.append((f"{driver} {operation}", *cells))
    return table
