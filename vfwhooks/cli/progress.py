"""What long work is at, on one line of a terminal that is written over. In a pipe or a
file nothing is written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..values.errors import show
from .terminal import is_terminal, size_of, takes_escapes


def tell(what: str | Callable[[], str]) -> None:
    """Write what begins now over what was there; a text that takes long to make is
    given as the function that makes it."""
    if _is_shown():
        text = what if isinstance(what, str) else what()
        line = show(text)[: size_of(sys.stderr)[0] - 5]
        print(f"\r\x1b[K{line} ...", end="", file=sys.stderr, flush=True)


def clear() -> None:
    """Make room for what is to stay."""
    if _is_shown():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def cleared() -> Iterator[None]:
    """Leave no line behind, however the work ends."""
    try:
        yield
    finally:
        clear()


def _is_shown() -> bool:
    return is_terminal(sys.stderr) and takes_escapes()
