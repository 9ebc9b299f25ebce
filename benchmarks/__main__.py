"""Measure everything and write docs/benchmarks.md; see benchmarks/run."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import applying, connections, counting, crowd, flat, gate, life, watching
from .bed import CHECKOUT, IPT, NFT, sh
from .report import Section, replace_measured, verdicts

DOCS = CHECKOUT / "docs"
PAGE = DOCS / "benchmarks.md"


def main() -> int:
    """Measure, print, and write the page unless only a part was measured."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs; writes nothing")
    parser.add_argument("--only", choices=list(topics(1, [])), help="one topic")
    parser.add_argument(
        "--peer",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="another qemu hook; it is to publish ports 1024 to 1023+$FORWARDS of "
        "guest web0 at 192.168.1.10",
    )
    arguments = parser.parse_args()
    runs = 5 if arguments.quick else 20
    sections = []
    for name, measure in topics(runs, arguments.peer).items():
        if arguments.only in (None, name):
            begun = time.monotonic()
            sections.append(measure())
            print(sections[-1].markdown(), flush=True)
            print(f"({name}: {time.monotonic() - begun:.0f} s)\n", file=sys.stderr)
    print(verdicts(sections).markdown())
    if not (arguments.quick or arguments.only):
        write_page(sections)
    return 0


def topics(runs: int, peers: list[Path]) -> dict[str, Callable[[], Section]]:
    """What can be measured, by name, in the order of the page."""
    return {
        "gate": lambda: gate.measure(runs * 5),
        "life": lambda: life.measure(runs, peers),
        "flat": lambda: flat.measure(runs, runs > 5),
        "apply": lambda: applying.measure(max(3, runs // 3)),
        "connections": lambda: connections.measure(runs * 2),
        "crowd": lambda: crowd.measure(max(2, runs // 5)),
        "counts": lambda: counting.measure((NFT, IPT)),
        "watch": lambda: watching.measure(max(3, runs // 2), 20 if runs > 5 else 5),
    }


def write_page(sections: list[Section]) -> None:
    """Write what was measured into the page, and the plots beside it."""
    machine = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, "
    machine += f"Python {sh('/usr/bin/python3 -V').split()[1]}, "
    machine += sh("nft -v").split(" (")[0].replace("nftables v", "nft ") + ", "
    machine += sh("iptables -V").split(" (")[0].replace("iptables v", "iptables ")
    parts = [f"Measured by `benchmarks/run` on {machine}.\n", "## Targets\n"]
    parts.append(verdicts(sections).markdown())
    parts += [section.markdown() for section in sections]
    DOCS.mkdir(exist_ok=True)
    text = PAGE.read_text() if PAGE.exists() else ""
    PAGE.write_text(replace_measured(text, "\n" + "\n".join(parts) + "\n"))
    for section in sections:
        for name, svg in section.plots.items():
            (DOCS / name).write_text(svg)


if __name__ == "__main__":
    sys.exit(main())
