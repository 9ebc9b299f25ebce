"""`vfwhooks watch`: from an edit to rules in force, and what it costs while idle."""

from __future__ import annotations

import socket
import time

from .bed import CONFIG, IPT, NFT, SERVICES, Bed, write
from .guests import Guest, GuestsForwards, forwards_yaml, plain
from .hosts import await_idle, prepare, status_of
from .measure import Series
from .report import Section, Table, Verdict

EACH = 100
FEW, MANY = 100, 10_000
SETTLING = 0.2
RSS_LIMIT = 60 << 10
_NETFILTER, _NFTABLES_GROUP = 12, 1 << 6


def measure(runs: int, seconds: int) -> Section:
    """One line edited, again and again; then nothing, for so many seconds."""
    section = Section(
        "`vfwhooks watch`",
        f"From the moment an edited file is in place, {EACH} forwards a guest, to the "
        "kernel's news of the changed rules, less the "
        f"{SETTLING * 1000:.0f} ms for which the file has to be left alone; then "
        f"{seconds} s of idleness. Median (min–max).",
    )
    heads = "backend", "forwards", "edit to rules, ms", "RSS MB", "idle wake-ups"
    table = Table(heads)
    section.tables.append(table)
    for backend, count in ((NFT, FEW), (NFT, MANY), (IPT, FEW), (IPT, MANY)):
        bed = Bed(backend)
        guests = count // EACH
        bed.call(prepare, backend, _forwards(count), guests, 0, True)
        edits = [bed.call(_edit, count, 30_000 + n) for n in range(runs)]
        rss, woken = bed.call(_idle, seconds)
        bed.close()
        shown = Series(tuple(edits)).show(1000, 0)
        cells = f"{count:,}", shown, f"{rss / 1024:.1f}", str(woken)
        table.rows.append((backend, *cells))
        if count == MANY:
            which = f"the service beside {MANY:,} forwards, {backend}"
            what, figure = f"{which}: RSS ≤ 60 MB", f"{rss / 1024:.0f} MB"
            section.verdicts.append(Verdict(what, figure, rss <= RSS_LIMIT))
            what = f"{which}: no wake-up but the watchdog's"
            figure = f"{woken} in {seconds} s"
            section.verdicts.append(Verdict(what, figure, woken == 0))
    return section


def _forwards(count: int) -> GuestsForwards:
    return {
        Guest(n).name: plain(EACH, 1024 + n * EACH) for n in range(1, count // EACH + 1)
    }


def _edit(count: int, port: int) -> float:
    """Publish another port; how long that takes beyond the time to settle."""
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    news.bind((0, _NFTABLES_GROUP))
    news.settimeout(20)
    forwards = _forwards(count)
    forwards[Guest(1).name][-1] = f"{port}:22"
    text = forwards_yaml(forwards)
    begun = time.perf_counter()
    write(CONFIG, text)
    news.recv(1 << 16)
    took = time.perf_counter() - begun
    news.close()
    await_idle()
    return took - SETTLING


def _idle(seconds: int) -> tuple[int, int]:
    """KiB of RSS, and how often the service was woken meanwhile."""
    (pid,) = SERVICES
    await_idle()
    before = status_of(pid, "voluntary_ctxt_switches")
    time.sleep(seconds)
    woken = status_of(pid, "voluntary_ctxt_switches") - before
    return status_of(pid, "VmRSS"), woken
