"""A command that there is not: which one may be meant."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from ..values.errors import show
from .parser import make_parser


def refuse_unknown(argv: Sequence[str] | None, commands: Iterable[str]) -> bool:
    """Whether there is no such command; then it is said which one may be meant, or,
    without a word, what commands there are."""
    words = sys.argv[1:] if argv is None else argv
    if not words:
        make_parser().print_help(sys.stderr)
        return True
    shown = [name for name in commands if name != "complete"]
    if words[0][:1] == "-" or words[0] in (*shown, "complete"):
        return False
    from difflib import get_close_matches  # a mistake alone needs it

    near = get_close_matches(words[0], shown, 1)
    hint = f"did you mean {near[0]}" if near else f"there are {', '.join(shown)}"
    print(f"vfwhooks: there is no command {show(words[0])}\n  {hint}", file=sys.stderr)
    return True
