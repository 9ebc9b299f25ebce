"""`vfwhooks apply`: a whole host from cold, and one changed line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .bed import CONFIG, NFT, OWN, STATUS, Bed, sh, write
from .guests import Guest, GuestsForwards, forwards_yaml, network_xml, plain
from .hosts import apply, configure, expect_forwarded, start, wipe_rules
from .lives import spawn
from .measure import in_turn
from .report import Section, Table, Verdict

GUESTS = 100
COLD, CHANGED = 60_000, 10_000
TARGET_COLD, TARGET_CHANGED = 3, 0.5
_RULES = OWN / "rules.nft"


def measure(runs: int) -> Section:
    """apply of 60,000 forwards from cold, and of a changed line, beside `nft -f`."""
    section = Section(
        "`vfwhooks apply`",
        f"The whole command, YAML and all, for {GUESTS} running guests; `nft -f` loads "
        "the same two tables, all of them, from text into a kernel without them. "
        "Seconds, median (min–max); the ratio is that of pairs in turn.",
    )
    table = Table(("what", "s", "to `nft -f`"))
    section.tables.append(table)
    text = forwards_yaml(_forwards(COLD))
    _compare(section, COLD, "from cold", TARGET_COLD, runs, lambda: (_cold, text))
    ports = iter(range(30_000, 60_000))
    _compare(
        section,
        CHANGED,
        "with one line changed",
        TARGET_CHANGED,
        runs,
        lambda: (_change, next(ports)),
    )
    return section


def _compare(
    section: Section,
    count: int,
    how: str,
    target: float,
    runs: int,
    call: Callable[[], tuple[Callable[..., float], object]],
) -> None:
    """apply beside `nft -f` of as many."""
    bed, bare = Bed(NFT), Bed(NFT)
    bed.call(_fill, _forwards(count))
    bed.call(apply)
    bed.call(expect_forwarded, GUESTS)
    rules = bed.call(
        sh, "nft list table inet vfwhooks; nft list set ip libvirt_network vfwhooks"
    )
    bare.call(write, _RULES, rules)
    found = in_turn(
        {"apply": lambda: bed.call(*call()), "nft": lambda: bare.call(_bare)}, runs
    )
    bed.close()
    bare.close()
    ratio = found["apply"].ratio(found["nft"])
    name = f"apply of {count:,} forwards {how}"
    rows = section.tables[0].rows
    rows.append((name, found["apply"].show(1, 2), f"{ratio:.2f}"))
    rows.append((f"`nft -f`, {count:,} elements", found["nft"].show(1, 2), ""))
    what = f"{name} ≤ {target} × `nft -f` of all of them"
    section.verdicts.append(Verdict(what, f"{ratio:.2f} ×", ratio <= target))


def _forwards(count: int) -> GuestsForwards:
    each = count // GUESTS
    return {
        Guest(n + 1).name: plain(each, 1 + (n * each) % 60_000) for n in range(GUESTS)
    }


def _fill(forwards: GuestsForwards) -> None:
    """All guests run, with no forwards yet; then there are these."""
    configure(NFT, {"nobody": ["1:1"]}, GUESTS + 1)
    start(NFT, range(1, GUESTS + 1))
    configure(NFT, forwards, GUESTS + 1)


def _cold(text: str) -> float:
    """As after a boot: no rules of ours, nothing compiled."""
    wipe_rules(NFT)
    Path("/run/vfwhooks/compiled").unlink()
    write(CONFIG, text)
    return apply()


def _bare() -> float:
    sh("nft delete table inet vfwhooks 2>/dev/null || true")
    sh("nft flush set ip libvirt_network vfwhooks 2>/dev/null || true")
    return spawn(["/usr/sbin/nft", "-f", str(_RULES)])


def _change(port: int) -> float:
    """Another port for one guest."""
    forwards = _forwards(CHANGED)
    forwards[Guest(GUESTS).name][-1] = f"{port}:22"
    write(STATUS, network_xml(NFT, GUESTS + 1))
    write(CONFIG, forwards_yaml(forwards))
    return apply()
