"""Rows of `status` for patterns of forwards.yaml that match no running guest, and for
guests that are not running and have no entry of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..config import compiled_file
from ..config.compiled_lines import parse_settings
from .status import by_pattern, stopped_statuses, unplaced_statuses
from .status_rows import ForwardStatus

_NOBODY = "no guest runs that has its forwards by this pattern"


def unmatched(pattern: str, lines: Sequence[str]) -> list[ForwardStatus]:
    """The forwards of a pattern, which nobody has."""
    return [replace(row, reason=_NOBODY) for row in _rows(pattern, lines)]


def is_of_nobody(row: ForwardStatus) -> bool:
    """Whether it is such a row: the pattern stands in the place of a guest."""
    return row.reason == _NOBODY


def rows_when_started(state: str, name: str) -> list[ForwardStatus]:
    """The forwards that a guest which does not run has by a pattern, when it runs;
    none for a guest with an entry of its own."""
    config = compiled_file.load(state)
    return _rows(name, config.lines_of(name, "") if config else [])


def _rows(name: str, lines: Sequence[str]) -> list[ForwardStatus]:
    settings = parse_settings(lines)
    if not settings.pattern:
        return []
    rows = stopped_statuses(name, settings.forwards, None, {})
    rows += unplaced_statuses(name, settings.unplaced, is_stopped=True)
    return by_pattern(rows, settings.pattern)
