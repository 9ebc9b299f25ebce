"""`vfwhooks apply`: a whole host from cold, and one changed line."""

from __future__ import annotations

from pathlib import Path

from .bed import CONFIG, NFT, STATUS, Bed, sh, write
from .guests import Guest, GuestsForwards, forwards_yaml, network_xml, plain
from .hosts import apply, configure, expect_forwarded, start, wipe_rules
from .lives import spawn
from .measure import in_turn
from .report import Section, Table, Verdict

GUESTS = 100
COLD, CHANGED = 60_000, 10_000
_RULES = Path("/run/rules.nft")


def measure(runs: int) -> Section:
    """apply of 60,000 forwards from cold beside `nft -f`, and of a changed line."""
    section = Section(
        "`vfwhooks apply`",
        f"The whole command, YAML and all, for {GUESTS} running guests; `nft -f` loads "
        "the same two tables from text into a kernel without them. Seconds, "
        "median (min–max); the ratio is that of pairs in turn.",
    )
    table = Table(("what", "s", "to `nft -f`"))
    section.tables.append(table)
    bed = Bed(NFT)
    bed.call(_fill, _forwards(COLD))
    bed.call(apply)
    bed.call(expect_forwarded, GUESTS)
    rules = bed.call(
        sh, "nft list table inet vfwhooks; nft list set ip libvirt_network vfwhooks"
    )
    bare = Bed(NFT)
    bare.call(write, _RULES, rules)
    found = in_turn(
        {
            "apply": lambda: bed.call(_cold, forwards_yaml(_forwards(COLD))),
            "nft": lambda: bare.call(_bare),
        },
        runs,
    )
    ratio = found["apply"].ratio(found["nft"])
    name = f"apply, {COLD:,} forwards from cold"
    table.rows.append((name, found["apply"].show(1, 2), f"{ratio:.2f}"))
    table.rows.append((f"`nft -f`, {COLD:,} elements", found["nft"].show(1, 2), ""))
    what = f"apply of {COLD:,} entries from cold ≤ 2 × `nft -f`"
    section.verdicts.append(Verdict(what, f"{ratio:.2f} ×", ratio <= 2))
    bed.close()
    bare.close()

    bed = Bed(NFT)
    bed.call(_fill, _forwards(CHANGED))
    bed.call(apply)
    ports = iter(range(30_000, 60_000))
    found = in_turn({"line": lambda: bed.call(_change, next(ports))}, runs)
    took = found["line"]
    name = f"apply, one line of {CHANGED:,} changed"
    table.rows.append((name, took.show(1, 2), ""))
    what = f"apply of one changed line in {CHANGED:,} ≤ 0.5 s"
    section.verdicts.append(Verdict(what, f"{took.median:.2f} s", took.median <= 0.5))
    bed.close()
    return section


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
