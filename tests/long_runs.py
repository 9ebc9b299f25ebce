#!/usr/bin/env python3
"""The long forms of the tests, part by part, each with its line for docs/long-runs.md.

    tests/run --long [--record FILE] [PART…]

A part is a pytest run of its own with VFWHOOKS_LONG and the sizes of the table below;
a variable that is set already keeps its value. A test that stands in no part's files
but in a directory above them is run by the part of that directory: all parts together
run every test once.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent
HEAD = """\
| part | sizes | result | minutes | date | commit |
|---|---|---|---|---|---|
"""


class Part(NamedTuple):
    """What one pytest run is given, and the figure of it that is summed up."""

    name: str
    path: str
    sizes: Mapping[str, str] = {}
    figure: str = ""
    options: str = "--dist load"


PARTS = (
    Part(
        "points",
        "tests/faults/test_points.py",
        {"VFWHOOKS_FAULT_POINTS": "250"},
        "points",
    ),
    Part(
        "service-points",
        "tests/faults/test_service_points.py",
        {"VFWHOOKS_FAULT_POINTS": "110"},
        "points",
    ),
    Part(
        "crowd",
        "tests/faults/test_crowd.py",
        {"VFWHOOKS_CROWD": "200"},
        "guests started",
    ),
    Part(
        "model",
        "tests/model",
        {"VFWHOOKS_MODEL_STEPS": "100000", "VFWHOOKS_MODEL_PARTS": "3"},
        "steps",
    ),
    Part("fuzz", "tests/fuzz", {"VFWHOOKS_FUZZ_INPUTS": "1000000"}, "inputs"),
    Part("soak", "tests/soak", {"VFWHOOKS_SOAK_MINUTES": "20"}, "guests started"),
    Part(
        "edits",
        "tests/e2e/test_thousand_edits.py",
        {"VFWHOOKS_EDITS": "1000"},
        "edits",
    ),
    Part(
        "idle",
        "tests/e2e/test_idle.py",
        {"VFWHOOKS_IDLE_SECONDS": "60", "VFWHOOKS_ALL_KINDS": "1"},
        "foreign changes",
    ),
    Part("migration", "tests/e2e/test_migration.py", {}, "migrations"),
    Part(
        "upgrade",
        "tests/e2e/test_former_release.py",
        {},
        "datagrams",
        options="--dist loadfile",
    ),
    Part(
        "e2e",
        "tests/e2e",
        {"VFWHOOKS_ALL_KINDS": "1", "VFWHOOKS_STAYS_SECONDS": "60"},
        options="--dist loadfile",
    ),
    Part("rest", "tests", {"VFWHOOKS_ALL_KINDS": "1"}, options="--dist loadfile"),
)


def main(argv: list[str]) -> int:
    """Run the parts in turn; 1 if one of them failed."""
    options = parse(argv)
    named = [part for part in PARTS if part.name in options.part or not options.part]
    failed = []
    for part in named:
        sizes = find_sizes(part, os.environ)
        begun = time.monotonic()
        status, output = run(part, sizes)
        result = find_result(part, status, output)
        minutes = f"{(time.monotonic() - begun) / 60:.1f}"
        shown = ", ".join(f"`{name}={size}`" for name, size in sizes.items())
        row = render_row(
            part.name, shown, result, minutes, time.strftime("%Y-%m-%d"), commit()
        )
        sys.stdout.write(row)
        if options.record:
            record(options.record, row)
        if status:
            failed.append(part.name)
    if failed:
        print(f"tests/run --long: failed: {' '.join(failed)}")
    return 1 if failed else 0


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser("tests/run --long")
    parser.add_argument("part", nargs="*", metavar="PART", help=" ".join(names))
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="put each result into its table"
    )
    options = parser.parse_args(argv)
    for name in options.part:
        if name not in names:
            parser.error(f"there is no part {name}: {' '.join(names)}")
    return options


def find_sizes(part: Part, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a part; one that is set by hand counts."""
    return {name: environment.get(name, size) for name, size in part.sizes.items()}


def find_others(part: Part) -> list[str]:
    """The paths below this part's that have parts of their own."""
    paths = (other.path for other in PARTS)
    return [path for path in paths if path.startswith(f"{part.path}/")]


def run(part: Part, sizes: Mapping[str, str]) -> tuple[int, str]:
    """The status of a part's run, and what it printed, which is shown as well."""
    argv = [str(CHECKOUT / "tests/run"), part.path, *part.options.split()]
    argv += [f"--ignore={path}" for path in find_others(part)]
    env = {**os.environ, **sizes, "VFWHOOKS_LONG": "1"}
    print(f"tests/run --long: {part.name}", flush=True)
    lines = []
    with subprocess.Popen(
        argv,
        cwd=CHECKOUT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout
        for line in child.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    return child.returncode, "".join(lines)


def find_result(part: Part, status: int, output: str) -> str:
    """The sum of the part's figure, then pytest's own count of tests."""
    counts = re.findall(r"(?m)^=* ?(\d+ \w+(?:, \d+ \w+)*) in [\d.]+s", output)
    result = counts[-1] if counts else f"ended with status {status}"
    if status and "failed" not in result and "error" not in result:
        result = f"failed: {result}"
    figures = re.findall(rf"(?m): {re.escape(part.figure)}: ([\d.,]+)$", output)
    if not part.figure or not figures:
        return result
    total = sum(float(figure.replace(",", "")) for figure in figures)
    return f"{total:,.0f} {part.figure}; {result}"


def render_row(*cells: str) -> str:
    """A row of the table."""
    return f"| {' | '.join(cells)} |\n"


def record(file: Path, row: str) -> None:
    """Put a row into a file's table, in place of what the part had there."""
    text = file.read_text() if file.exists() else HEAD
    file.write_text(put_row(text, row))


def put_row(text: str, row: str) -> str:
    """The text with the row: in place of its part's, else behind the table's last."""
    lines = text.splitlines(keepends=True)
    first = f"| {row.split(' | ')[0][2:]} | "
    own = [number for number, line in enumerate(lines) if line.startswith(first)]
    if own:
        lines[own[0]] = row
        return "".join(lines)
    if HEAD not in text:
        return f"{text}\n{HEAD}{row}"
    end = text[: text.index(HEAD)].count("\n")
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    return "".join([*lines[:end], row, *lines[end:]])


def commit() -> str:
    """The commit that is tested; + with changes of the checkout's own."""
    argv = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(
            argv, capture_output=True, check=True, cwd=CHECKOUT, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "not known"
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
