"""A guest's life: all events of it, by number of forwards, beside other hooks."""

from __future__ import annotations

from pathlib import Path

from .bed import IPT, LEGACY, NFT, Bed
from .guests import Guest, plain
from .hosts import daemon_of, prepare
from .lives import LIFE, OURS, Hook, life
from .measure import Series, in_turn
from .plot import render
from .report import Section, Table, Verdict

HERE = Path(__file__).resolve().parent
COUNTS = 1, 10, 100
TARGETS = {
    (1, NFT): 0.80,
    (1, IPT): 0.85,
    (1, LEGACY): 3.2,
    **dict.fromkeys([(10, NFT), (10, IPT)], 0.10),
    **dict.fromkeys([(100, NFT), (100, IPT)], 0.012),
}
TARGETS_TO_THE_END = {(1, NFT): 1.4, (1, IPT): 1.4}
TARGETS_ALONE = {(10, NFT): 0.65, (10, IPT): 0.65}
WIKI = "libvirt's wiki"
END = "to the end"
ALONE = "without the service"
Found = dict[int, dict[str, Series]]


def measure(runs: int, peers: list[Path]) -> Section:
    """Hook time of a guest's life at 1, 10 and 100 forwards."""
    beds: dict[str, Bed] = {}
    for backend in (NFT, IPT, LEGACY):
        for is_served in (True, False):
            beds[ours(backend, is_served)] = Bed(backend)
    hooks = dict.fromkeys(beds, OURS)
    for name, path, backend in (
        (f"{WIKI}, nft variant", HERE / "wiki-hook", IPT),
        (f"{WIKI}, legacy", HERE / "wiki-hook", LEGACY),
        *((path.name, path.resolve(), IPT) for path in peers),
    ):
        beds[name], hooks[name] = Bed(backend), Hook(name, path)
    found = {
        forwards: _round(beds, hooks, forwards, runs if forwards < 100 else runs // 8)
        for forwards in COUNTS
    }
    section = section_of(found, [path.name for path in peers])
    section.tables.append(_by_event(beds, hooks, runs))
    for bed in beds.values():
        bed.close()
    return section


def ours(backend: str, is_served: bool = True, to_the_end: bool = False) -> str:
    """The name of one of our rows."""
    return (
        "vfwhooks"
        + f" {ALONE}" * (not is_served)
        + f", {backend}"
        + (f", {END}" * to_the_end)
    )


def section_of(found: Found, peers: list[str]) -> Section:
    """The table, the plot and the targets of what was measured."""
    section = Section(
        "A guest's life",
        "Milliseconds that libvirt waits for hooks in one guest's life: "
        + ", ".join(f"{driver} {operation}" for driver, operation in LIFE)
        + f". What is done {END} counts what goes on when libvirt has been let go as "
        "well, until the lock is free and the service would answer the next hook: "
        "tools end, connections are cut, and the kernel's grace period is waited for. "
        f"{ALONE.capitalize()} hooks do all themselves, as on hosts without systemd. "
        f"Median (min–max); the ratio is that of pairs of runs in turn. {WIKI}'s "
        "script and other peers have a qemu hook only, and their rules are iptables'.",
    )
    lines: dict[str, list[tuple[float, float]]] = {}
    table = Table(("forwards", "hook", "ms", f"to {WIKI}'s, same kernel tables"))
    section.tables.append(table)
    for forwards, all_series in found.items():
        for name, series in all_series.items():
            ratio = series.ratio(_wiki(all_series, name))
            shown = "" if WIKI in name else f"{ratio:.3f}"
            table.rows.append((str(forwards), name, series.show(1000), shown))
            lines.setdefault(name, []).append((forwards, series.median * 1000))
        section.verdicts += _verdicts(forwards, all_series)
    for backend in (NFT, IPT) if peers else ():
        section.verdicts.append(_ahead(found, backend, peers))
    title = "Hook time in a guest's life, by number of forwards"
    section.plots["hook-time.svg"] = render(title, "forwards", "ms", lines)
    return section


def _verdicts(forwards: int, found: dict[str, Series]) -> list[Verdict]:
    """One for each target at so many forwards."""
    verdicts = []
    for targets, is_served, to_the_end in (
        (TARGETS, True, False),
        (TARGETS_TO_THE_END, True, True),
        (TARGETS_ALONE, False, False),
    ):
        for backend in (NFT, IPT, LEGACY):
            if target := targets.get((forwards, backend)):
                name = ours(backend, is_served, to_the_end)
                ratio = found[name].ratio(_wiki(found, name))
                which = f"life with {forwards} forwards{name.removeprefix('vfwhooks')}"
                figure = f"{ratio:.3f} ×"
                if not is_served:
                    figure += f", {found[name].median * 1000:.0f} ms"
                what = f"{which} ≤ {target} × {WIKI}'s"
                verdicts.append(Verdict(what, figure, ratio <= target))
    return verdicts


def _wiki(found: dict[str, Series], name: str) -> Series:
    """The wiki's script with the same kernel tables as what has the name."""
    return found[f"{WIKI}, {'legacy' if LEGACY in name else 'nft variant'}"]


def _ahead(found: Found, backend: str, peers: list[str]) -> Verdict:
    """Without the service, beside other hooks, at every count."""
    name = ours(backend, is_served=False)
    ratios = [
        (found[forwards][name].ratio(found[forwards][peer]), peer, forwards)
        for forwards in found
        for peer in peers
    ]
    ratio, peer, forwards = max(ratios)
    what = f"life {ALONE}, {backend} < 1 × every peer's, with any number of forwards"
    figure = f"{ratio:.3f} × (at most: {peer}'s with {forwards})"
    return Verdict(what, figure, ratio < 1)


def _round(
    beds: dict[str, Bed],
    hooks: dict[str, Hook],
    forwards: int,
    runs: int,
) -> dict[str, Series]:
    contenders = {}
    for name, bed in beds.items():
        if hooks[name] is OURS:
            mine = {Guest(0).name: plain(forwards)}
            bed.call(prepare, bed.backend, mine, 0, 0, ALONE not in name)
        hook = Hook(name, hooks[name].path, forwards)

        def once(bed: Bed = bed, hook: Hook = hook) -> float:
            return sum(_life(bed, hook))

        def whole(bed: Bed = bed, hook: Hook = hook) -> float:
            return sum(_life(bed, hook, True))

        once()
        contenders[name] = once
        if hooks[name] is OURS:
            contenders[f"{name}, {END}"] = whole
    return in_turn(contenders, max(3, runs), pause=0.05)


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
            bed.call(prepare, bed.backend, forwards, 0, 0, ALONE not in name)
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
