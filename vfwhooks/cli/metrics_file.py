"""The metrics on standard output, or in a file of Prometheus' textfile collector."""

from __future__ import annotations

from pathlib import Path

from ..diagnosis.metrics import find_metrics, render_metrics
from ..store.state import State
from .safe_write import put_file

_FOR_ALL = 0o644  # the collector is another user


def show_metrics(state: State, main: str, output: Path | None) -> None:
    """Print the metrics, or put them into the file `output`: the collector reads it at
    any time, and only files whose name ends in .prom. Raises VfwError or OSError."""
    text = render_metrics(find_metrics(state, main))
    if output is None:
        print(text, end="")
    else:
        put_file(output, text.encode(), _FOR_ALL)
