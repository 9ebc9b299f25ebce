"""What the watch is to do, and when."""

import time

if False:  # the annotations alone need it
    from collections.abc import Callable

_PATIENCE = 0.5


class Schedule:
    """Each thing is due when there has been no more of it for a while."""

    def __init__(self, now: "Callable[[], float]" = time.monotonic) -> None:
        self._now = now
        self._due: dict[str, float] = {}
        self._first: dict[str, float] = {}

    def add(self, what: str, delay: float, longest: float = _PATIENCE) -> None:
        """Have something done when all is quiet for `delay` seconds, or `longest` after
        it was first asked for."""
        now = self._now()
        first = self._first.setdefault(what, now)
        self._due[what] = min(now + delay, first + longest)

    def next(self) -> float:
        """When the next thing is due; infinite where nothing is."""
        return min(self._due.values(), default=float("inf"))

    def take(self) -> set[str]:
        """All that is due now, which is not waited for any more."""
        now = self._now()
        ready = {what for what, when in self._due.items() if when <= now}
        for what in ready:
            del self._due[what], self._first[what]
        return ready
