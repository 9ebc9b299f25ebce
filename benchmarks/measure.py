"""Figures of what is measured in turn, A B A B, and how two of them compare. Pure but
for the runs themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Series:
    """What one of several contenders took, run by run."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of all runs."""
        return median(self.values)

    def show(self, scale: float = 1.0, digits: int = 1) -> str:
        """Median (min–max), multiplied by `scale`."""
        numbers = self.median, min(self.values), max(self.values)
        middle, low, high = (f"{n * scale:,.{digits}f}" for n in numbers)
        return f"{middle} ({low}–{high})"

    def ratio(self, other: Series) -> float:
        """The median of the ratios to another, pair by pair."""
        return median(a / b for a, b in zip(self.values, other.values))


def in_turn(
    contenders: Mapping[str, Callable[[], float]], runs: int, pause: float = 0.0
) -> dict[str, Series]:
    """Run every contender once a round, for so many rounds."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, run in contenders.items():
            found[name].append(run())
            time.sleep(pause)
    return {name: Series(tuple(values)) for name, values in found.items()}
