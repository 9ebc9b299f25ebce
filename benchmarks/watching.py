"""`vfwhooks watch`: from an edit to rules in force, and what it costs while idle."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from pathlib import Path

from .bed import CONFIG, IPT, LIB, NFT, Bed, write
from .guests import Guest, forwards_yaml, plain
from .hosts import prepare
from .lives import environment
from .measure import Series
from .report import Section, Table, Verdict

FORWARDS = 100
SETTLING = 0.2
TARGET, RESIDENT = 0.1, 30 << 10
_NETFILTER, _NFTABLES_GROUP = 12, 1 << 6
_CODE = (
    "import sys; sys.path[:0] = [sys.argv[1]]; "
    "from vfwhooks.watch import main; main(*sys.argv[2:])"
)


def measure(runs: int, seconds: int) -> Section:
    """One line edited, again and again; then nothing, for so many seconds."""
    section = Section(
        "`vfwhooks watch`",
        f"From the moment an edited file with {FORWARDS} forwards is in place to the "
        "kernel's news of the changed rules, less the "
        f"{SETTLING * 1000:.0f} ms for which the file has to be left alone; then "
        f"{seconds} s of idleness. Median (min–max).",
    )
    table = Table(
        ("backend", "edit to rules, ms", "resident MB", "wake-ups while idle")
    )
    section.tables.append(table)
    for backend in (NFT, IPT):
        bed = Bed(backend)
        guest = {Guest(1).name: plain(FORWARDS)}
        bed.call(prepare, backend, guest, 1)
        pid = bed.call(_start)
        edits = Series(tuple(bed.call(_edit, 30_000 + n) for n in range(runs)))
        resident, woken = bed.call(_idle, pid, seconds)
        cells = edits.show(1000), f"{resident / 1024:.1f}", str(woken)
        table.rows.append((backend, *cells))
        if backend == NFT:
            took = edits.median
            what = "watch: edit to rules ≤ 100 ms beyond settling"
            section.verdicts.append(
                Verdict(what, f"{took * 1000:.0f} ms", took <= TARGET)
            )
            what, figure = "watch: resident ≤ 30 MB", f"{resident / 1024:.0f} MB"
            section.verdicts.append(Verdict(what, figure, resident <= RESIDENT))
            what = "watch: no wake-up but the watchdog's"
            figure = f"{woken} in {seconds} s"
            section.verdicts.append(Verdict(what, figure, woken == 0))
        bed.close()
    return section


def _start() -> int:
    """Run the watch until it is ready; its process id."""
    argv = ["/usr/bin/python3", "-IX", "utf8", "-c", _CODE]
    argv += [str(LIB), "/run/vfwhooks", str(CONFIG)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind("/run/ready")
        ready.settimeout(60)
        env = {**environment(), "NOTIFY_SOCKET": "/run/ready"}
        env["WATCHDOG_USEC"] = str(600_000_000)
        watch = subprocess.Popen(argv, env=env)
        ready.recv(4096)
    time.sleep(2)
    return watch.pid


def _edit(port: int) -> float:
    """Publish another port; how long that takes beyond the time to settle."""
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    news.bind((0, _NFTABLES_GROUP))
    news.settimeout(20)
    forwards = [*plain(FORWARDS - 1), f"{port}:22"]
    begun = time.perf_counter()
    write(CONFIG, forwards_yaml({Guest(1).name: forwards}))
    news.recv(1 << 16)
    took = time.perf_counter() - begun
    news.close()
    time.sleep(0.5)
    return took - SETTLING


def _idle(pid: int, seconds: int) -> tuple[int, int]:
    """KiB resident, and how often the process was woken meanwhile."""
    time.sleep(5)
    before = _status(pid, "voluntary_ctxt_switches")
    time.sleep(seconds)
    woken = _status(pid, "voluntary_ctxt_switches") - before
    resident = _status(pid, "VmRSS")
    os.kill(pid, 15)
    os.waitpid(pid, 0)
    return resident, woken


def _status(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
