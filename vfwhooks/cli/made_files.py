"""The files made from the parser (completions and manual pages), for packages and
install.sh."""

from __future__ import annotations

from pathlib import Path

from .completions import render_completions
from .manual_pages import render_pages


def main(directory: str) -> None:
    """Write the files below `directory`: SHELL/vfwhooks and man8/vfwhooks-COMMAND.8."""
    made = {f"{shell}/vfwhooks": text for shell, text in render_completions().items()}
    made.update({f"man8/{name}": text for name, text in render_pages().items()})
    for place, text in made.items():
        path = Path(directory, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
