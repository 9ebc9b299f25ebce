"""Findings about the host as a whole."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, WRONG = "ok", "note", "wrong"


@dataclass(frozen=True)
class Finding:
    """The level of a finding (ok, note or wrong), the finding, and the next step."""

    level: str
    what: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.level:5}  {self.what}" + (f"; {self.cure}" if self.cure else "")
