"""The host's forwards and the service's counts in Prometheus' text format.

The number of series is bounded: the five states, the labels of sync_report's reasons,
the operations that this module lists, and two for each guest that runs here and has
forwards. Ports, addresses, messages and guests of other hosts are no labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from .. import __version__
from ..config import compiled_file, source_stamps
from ..installation.service_process import find_service
from ..reconcile.sync_report import LABELS, OTHER
from ..store import counts
from ..store.counts import BUCKETS, Counts, parse_counts
from ..store.state import State
from ..values.errors import show
from .overview import Overview, look

STATES = "active", "pending", "stopped", "conflict", "blocked"
OPERATIONS = "started", "reconnected", "stopped", "found", "moved", "away", "network"
REASONS = *dict.fromkeys(LABELS.values()), OTHER
GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"
_Sample = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True)
class Family:
    """One metric: its name without `vfwhooks_`, and each sample's suffix, labels and
    value."""

    name: str
    kind: str
    about: str
    samples: Sequence[_Sample]

    def lines(self) -> Iterator[str]:
        """Its lines in the text format."""
        yield f"# HELP vfwhooks_{self.name} {self.about}"
        yield f"# TYPE vfwhooks_{self.name} {self.kind}"
        for suffix, labels, value in self.samples:
            told = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
            told = f"{{{told}}}" if told else ""
            yield f"vfwhooks_{self.name}{suffix}{told} {_number(value)}"


def find_metrics(state: State, main: str, root: str = "") -> list[Family]:
    """All metrics of this host; libvirtd is not asked."""
    counted = parse_counts(state.read(counts.FILE))
    overview = look(state, main)
    taken = compiled_file.stamps_in_force(state.path)
    is_in_force = bool(taken) and source_stamps.is_current(taken, main)
    written = source_stamps.written_at(taken, main) / 1e9
    return [
        Family(
            "info",
            GAUGE,
            "The release, and the firewall backend in use.",
            [("", {"version": __version__, "backend": overview.backend}, 1)],
        ),
        _one("service_up", "Whether the service runs.", find_service(root) > 0),
        *_of_forwards(overview),
        _one("problems", "Problems in vfwhooks status.", len(overview.problems)),
        _one(
            "config_in_force",
            "Whether forwards.yaml and forwards.d are in force as they are.",
            is_in_force,
        ),
        _one(
            "config_last_good_timestamp_seconds",
            "When the newest of the files in force was written.",
            written,
        ),
        *_of_counts(counted),
    ]


def render_metrics(families: Sequence[Family]) -> str:
    """The text for a scrape, or for a file of the textfile collector."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _of_forwards(overview: Overview) -> Iterator[Family]:
    states = [row.state for row in overview.forwards]
    samples = [("", {"state": one}, states.count(one)) for one in STATES]
    yield Family("forwards", GAUGE, "Forwards of this host by state.", samples)
    running = {show(one.name) for one in overview.guests if one.state == "running"}
    idle: dict[str, float] = {}
    made: dict[str, float] = {}
    for row in overview.forwards:
        name = show(row.guest)
        if name in running:
            idle[name] = idle.get(name, 0) + (row.state != "active")
            made[name] = made.get(name, 0) + row.connections
    about = "Forwards of a running guest that are not active."
    yield Family("guest_forwards_inactive", GAUGE, about, _by("guest", idle))
    about = "Connections to a running guest's forwards since their rules were made."
    yield Family("guest_connections_total", COUNTER, about, _by("guest", made))


def _of_counts(counted: Counts) -> Iterator[Family]:
    def labelled(family: str, key: str, known: Sequence[str]) -> list[_Sample]:
        return _by(key, {one: counted.get((family, one), 0) for one in known})

    yield Family(
        "events_total",
        COUNTER,
        "Events of guests and networks that the service has carried out.",
        labelled(counts.EVENT, "operation", OPERATIONS),
    )
    buckets = accumulate(counted.get((counts.TOOK, one), 0) for one in BUCKETS)
    samples: list[_Sample] = [
        ("_bucket", {"le": one}, n) for one, n in zip(BUCKETS, buckets)
    ]
    samples.append(("_sum", {}, counted.get((counts.SECONDS, "all"), 0)))
    samples.append(("_count", {}, samples[len(BUCKETS) - 1][2]))
    about = "Time from an event until the kernel had its rules."
    yield Family("event_duration_seconds", HISTOGRAM, about, samples)
    yield Family(
        "full_syncs_total",
        COUNTER,
        "Comparisons of all rules with the kernel, by reason.",
        labelled(counts.CHECK, "reason", REASONS),
    )
    yield Family(
        "drift_healed_total",
        COUNTER,
        "Comparisons that found rules missing or changed, and restored them.",
        labelled(counts.HEALED, "reason", REASONS),
    )
    errors, last = counted.get((counts.ERROR, "all"), 0), (counts.LAST_ERROR, "all")
    yield _one("errors_total", "Errors in the service's work.", errors, COUNTER)
    yield _one(
        "last_error_timestamp_seconds",
        "When the service's work last met an error, 0 for never.",
        counted.get(last, 0),
    )


def _one(name: str, about: str, value: float, kind: str = GAUGE) -> Family:
    return Family(name, kind, about, [("", {}, value)])


def _by(key: str, values: Mapping[str, float]) -> list[_Sample]:
    return [("", {key: label}, value) for label, value in values.items()]


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """Whole numbers as such; others as short as they are exact."""
    return str(int(value)) if value == int(value) else repr(value)
