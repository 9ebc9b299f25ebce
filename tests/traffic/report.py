"""A pytest plugin: the matrix as it was found, printed at the end of a run.

A line a row, a column an origin; in each a mark for every backend, IPv4 and IPv6. The
cells travel in the tests' reports, from whichever process ran them.
"""

from __future__ import annotations

import pytest

from .cells import Cell, all_cells, is_left_out
from .table import BACKENDS, FAMILIES, ORIGINS, ROWS

PASSED, FAILED, LEFT_OUT, NOT_RUN = "+", "X", "-", "."
PROPERTY = "cell"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix, if any of it was asked."""
    marks = {
        Cell(*value): PASSED if report.passed else FAILED
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY and (report.when == "call" or report.failed)
    }
    if marks:
        terminalreporter.section("traffic")
        for line in matrix_lines(marks):
            terminalreporter.line(line)


def matrix_lines(marks: dict[Cell, str]) -> list[str]:
    """The matrix, and how many cells there are of each kind."""
    width = max(len(row.name) for row in ROWS) + 1
    order = ", ".join(f"{backend} {family}" for backend in BACKENDS for family in "46")
    lines = [
        f"marks: {order};"
        f" {PASSED} passed, {FAILED} failed, {LEFT_OUT} left out, {NOT_RUN} not run",
        " " * width + " ".join(f"{origin:9}" for origin in ORIGINS).rstrip(),
    ]
    for row in ROWS:
        columns = [_marks(row.name, origin, marks) for origin in ORIGINS]
        lines.append(f"{row.name:{width}}" + " ".join(columns).rstrip())
    everything = all_cells()
    counts = {
        "cells": len(everything),
        "passed": sum(mark == PASSED for mark in marks.values()),
        "failed": sum(mark == FAILED for mark in marks.values()),
        "left out": sum(map(is_left_out, everything)),
    }
    lines.append(", ".join(f"{name}: {count}" for name, count in counts.items()))
    return lines


def _marks(row: str, origin: str, marks: dict[Cell, str]) -> str:
    cells = [Cell(row, origin, b, f) for b in BACKENDS for f in FAMILIES]
    shown = [
        marks.get(cell, LEFT_OUT if is_left_out(cell) else NOT_RUN) for cell in cells
    ]
    return f"{''.join(shown):9}"
