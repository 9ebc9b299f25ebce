"""The report of a sync, for the log and for the caller."""

from __future__ import annotations

from ..firewall.entry_delta import Named, SyncResult

# The log does not give this reason for a full sync: iptables-legacy is checked now and
# then, and on a host without forwards a full sync changes nothing.
NO_NEWS = "nothing is known to have changed"
# Reasons that are drift, whatever entries the kernel still has.
NOT_INTACT = "our base ruleset is not as it was left"
DISTURBED = "the rules around ours have changed"


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

    def note_check(
        self, why: str, result: SyncResult, removed: int, added: int
    ) -> None:
        """Note a full sync; `removed` and `added` entries were to change by what had
        been written down: more than that is drift."""
        is_more = len(result.removed) > removed or len(result.added) > added
        self.checks.append((why, is_more or why in (NOT_INTACT, DISTURBED)))
