"""The metrics on standard output, or in a file of Prometheus' textfile collector."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..diagnosis.metrics import find_metrics, render_metrics
from ..store.state import State

_FOR_ALL = 0o644  # the collector is another user


def show_metrics(state: State, main: str, output: Path | None) -> None:
    """Print the metrics, or put them into the file `output`. Raises OSError."""
    text = render_metrics(find_metrics(state, main))
    if output is None:
        print(text, end="")
    else:
        _replace(output, text)


def _replace(path: Path, text: str) -> None:
    """Write a file by rename: the collector reads it at any time, and only files whose
    name ends in .prom. A power cut may lose it: the next run writes it anew."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(fd)
    new = Path(name)
    try:
        new.write_text(text, encoding="utf-8")
        new.chmod(_FOR_ALL)
        new.replace(path)
    except BaseException:
        new.unlink()
        raise
