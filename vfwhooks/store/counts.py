"""What the service has done since the host's start, counted: as text and back. Pure.

Each count has a family and a label: `event started`, `took 0.05`, `check config`.
"""

from __future__ import annotations

from .records import seal, unseal

FILE = "counts"
# Families. `took` counts events by the first bound that holds their time, SECONDS adds
# their times up; `check` counts full syncs by reason, and `healed` those among them
# that found something else in the kernel than what was left there.
EVENT, TOOK, SECONDS, CHECK, HEALED = "event", "took", "seconds", "check", "healed"
ERROR, LAST_ERROR = "error", "last-error"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ABOVE = "+Inf"
BUCKETS = (*map(str, BOUNDS), _ABOVE)

Counts = dict[tuple[str, str], float]


def bucket_of(seconds: float) -> str:
    """The label of the bucket that a time belongs to."""
    return next((str(bound) for bound in BOUNDS if seconds <= bound), _ABOVE)


def format_counts(counts: Counts) -> str:
    """The text of the file."""
    lines = [f"{family} {label} {n!r}\n" for (family, label), n in counts.items()]
    return seal("".join(lines))


def parse_counts(text: str) -> Counts:
    """The counts in a text; none in a text that is not whole: they begin anew."""
    try:
        rows = [line.split(" ") for line in unseal(text).splitlines()]
        return {(family, label): float(n) for family, label, n in rows}
    except ValueError:
        return {}
