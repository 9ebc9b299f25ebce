"""The service's schedule: the work that is to be done, and when."""

import time
from collections.abc import Callable

_PATIENCE = 0.5


class Schedule:
    """Work is due when no more of its kind has come for a while."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._due: dict[str, float] = {}
        self._first: dict[str, float] = {}

    def add(self, what: str, delay: float, longest: float = _PATIENCE) -> None:
        """Have work done when no more has come for `delay` seconds, or `longest`
        seconds after the first request."""
        now = self._now()
        first = self._first.setdefault(what, now)
        self._due[what] = min(now + delay, first + max(delay, longest))

    def next(self) -> float:
        """When the next work is due (monotonic); infinite if there is none."""
        return min(self._due.values(), default=float("inf"))

    def take(self) -> set[str]:
        """Take the work that is due now out of the schedule."""
        now = self._now()
        ready = {what for what, when in self._due.items() if when <= now}
        for what in ready:
            del self._due[what], self._first[what]
        return ready
