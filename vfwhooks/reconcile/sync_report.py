"""The report of a sync for the log and the caller, and the reasons of full syncs."""

from __future__ import annotations

from ..firewall.entry_delta import Named, SyncResult, deltas_of, modes
from ..store.records import Record

# The reasons of full syncs that have a label of their own in `vfwhooks metrics`, in its
# order. Prometheus keeps a series for each label.
LABELS: dict[str, str] = {}
OTHER = "other"


def _reason(label: str, why: str) -> str:
    LABELS[why] = label
    return why


FIRST = _reason("boot", "it is the first since the host's start")
EDITED = _reason("config", "forwards.yaml has changed")
# Reasons that are drift, whatever entries the kernel still has.
NOT_INTACT = _reason("rules", "our base ruleset is not as it was left")
DISTURBED = _reason("rules", "the rules around ours have changed")
NEWS = _reason("rules", "rules, records or forwards.yaml have changed")
OTHERS_PORTS = _reason("foreign_rules", "rules of others take other ports now")
BACKEND = _reason("backend", "libvirt uses another firewall backend now")
FIRST_NETWORK = _reason("network", "the first network has come, or the last has gone")
BRIDGE = _reason("network", "a bridge in forwards.yaml may be this network's")
ADDRESSES = _reason(
    "network", "the host has other addresses, or the world knows it by another one"
)
WAITING = _reason("guest", "another guest may be waiting for this")
RETURN_ROUTES = _reason("guest", "answers of guests leave by ways of their own")
LEFT = _reason("guest", "a guest has stopped, and is not taken out yet")
FREE = _reason("guest", "a port that stays rejected has come free")
PROBLEM = _reason("retry", "the last sync has met a problem")
KILLED = _reason("retry", "whoever was at work has been ended")
ASKED = _reason("asked", "it was asked for")
# The log does not give this reason: iptables-legacy is checked now and then, and on a
# host without forwards a full sync changes nothing.
NO_NEWS = _reason("poll", "nothing is known to have changed")


class Report:
    """The result of a sync: lines for the log (`said`), problems, the entries that
    changed, each with its guest's name, and `named`, the lines about owners of
    published ports. For the counts: `carried` has each event's operation, and the
    seconds until the kernel had its rules; `checks` the reason of each full sync, and
    whether the kernel held something else than what had been left there."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.problems: list[str] = []
        self.named: list[str] = []
        self.removed: Named = []
        self.added: Named = []
        self.carried: list[tuple[str, float]] = []
        self.checks: list[tuple[str, bool]] = []

    def note_change(self, old: Record | None, new: Record | None) -> None:
        """Note the entries and the hairpin modes that change with a guest's record."""
        name = new.guest.name if new else old.guest.name if old else ""
        for delta in deltas_of(old, new):
            self.removed += [(name, one) for one in delta.removed()]
            self.added += [(name, one) for one in delta.added()]
        if new:
            self.added += modes(new, old)
            self.removed += modes(old, new) if old else []

    def note_check(
        self, why: str, result: SyncResult, removed: int, added: int
    ) -> None:
        """Note a full sync; `removed` and `added` entries were to change by what had
        been written down: more than that is drift."""
        is_more = len(result.removed) > removed or len(result.added) > added
        self.checks.append((why, is_more or why in (NOT_INTACT, DISTURBED)))
