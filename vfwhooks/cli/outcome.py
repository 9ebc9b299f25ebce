"""What comes of a command: the exit status, and of `apply` the result."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..values.entries import Kept

DONE, FAILED, BAD = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    """The result of a sync: the guests and entries that it removes and adds, the
    problems, and the users of published ports."""

    removed: list[tuple[str, Kept]]
    added: list[tuple[str, Kept]]
    problems: list[str]
    named: list[str] = field(default_factory=list)
