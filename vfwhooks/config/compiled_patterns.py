"""Patterns in the compiled configuration, in the order in which they count. Pure.

One part has the patterns, each with the place where its lines begin and end in the
next part. So a guest without an entry of its own costs one read of all patterns, and
one of the lines of the first that matches.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..store.files import quote, unquote


def encode(patterns: Mapping[str, list[str]]) -> tuple[str, list[str]]:
    """The part with the patterns, and the lines of each for the next part."""
    rows, texts, at = [], [], 0
    for pattern, lines in patterns.items():
        text = "".join(f"{line}\n" for line in lines)
        size = len(text.encode("utf-8", "surrogateescape"))
        rows.append(f"{at} {at + size} {quote(pattern)}\n")
        texts.append(text)
        at += size
    return "".join(rows), texts


def list_patterns(rows: str) -> list[tuple[str, int, int]]:
    """Each pattern, and where its lines begin and end. Raises ValueError for a text
    that `encode` never made."""
    found = []
    for row in rows.split("\n")[:-1]:
        first, last, pattern = row.split(" ")
        found.append((unquote(pattern), int(first), int(last)))
    return found
