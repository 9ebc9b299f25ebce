"""Counts of what the service does, for `vfwhooks metrics`.

They are kept in memory and written at the service's beat: an event costs no file and no
system call more. A hook without a service counts nothing.
"""

from __future__ import annotations

import time

from ..reconcile.sync_report import LABELS, OTHER, Report
from ..store import counts
from ..store.counts import bucket_of, format_counts, parse_counts
from ..store.state import State


class EventCounter:
    """The counts since the host's start, as far as the service has done the work."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._counts = parse_counts(state.read(counts.FILE))
        self._is_new = False

    def take(self, report: Report) -> list[str]:
        """Count what a holder of the lock has done; its lines for the log."""
        for operation, seconds in report.carried:
            self._add(counts.EVENT, operation)
            self._add(counts.TOOK, bucket_of(seconds))
            self._add(counts.SECONDS, "all", seconds)
        for why, is_healed in report.checks:
            reason = LABELS.get(why, OTHER)
            self._add(counts.CHECK, reason)
            if is_healed:
                self._add(counts.HEALED, reason)
        problems, self._state.problems = self._state.problems, []
        problems += report.problems
        self._note_errors(len(problems))
        return problems + report.said

    def fail(self, error: Exception) -> list[str]:
        """Count an error that has ended the work; its line for the log."""
        self._note_errors(1)
        return [str(error)]

    def keep(self) -> None:
        """Write the counts if there are new ones; without room they wait."""
        if self._is_new:
            try:
                self._state.write(counts.FILE, format_counts(self._counts))
                self._is_new = False
            except OSError:
                pass

    def _note_errors(self, many: int) -> None:
        if many:
            self._add(counts.ERROR, "all", many)
            self._counts[counts.LAST_ERROR, "all"] = round(time.time(), 3)

    def _add(self, family: str, label: str, n: float = 1) -> None:
        self._counts[family, label] = self._counts.get((family, label), 0) + n
        self._is_new = True
