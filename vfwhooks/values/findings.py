"""What a look at the host as a whole finds."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, WRONG = "ok", "note", "wrong"


@dataclass(frozen=True)
class Finding:
    """How something stands (ok, note or wrong), what it is, and the next step."""

    level: str
    what: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.level:5}  {self.what}" + (f"; {self.cure}" if self.cure else "")
