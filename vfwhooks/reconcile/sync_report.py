"""The report of a sync, for the log and for the caller."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..firewall.entry_delta import Named


# The log does not give this reason for a full sync: iptables-legacy is checked now and
# then, and on a host without forwards a full sync changes nothing.
NO_NEWS = "nothing is known to have changed"


class Report:
    """The result of a sync: lines for the log (`said`), problems, the entries that
    changed, each with its guest's name, and `named`, the lines about owners of
    published ports."""

    __slots__ = ("added", "named", "problems", "removed", "said")

    def __init__(self) -> None:
        self.said: list[str] = []
        self.problems: list[str] = []
        self.named: list[str] = []
        self.removed: Named = []
        self.added: Named = []
