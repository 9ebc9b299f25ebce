"""`vfwhooks add --replace`: a new entry in the place of one that a guest has."""

from __future__ import annotations

from collections.abc import Sequence

from ..config.edited_text import add, change
from ..config.entry_spelling import entries_of, find_entries
from ..config.yaml_nodes import Node, Pairs
from ..values.errors import VfwError, show
from .edit_outcome import words_of_long


def with_entries(
    text: str, tree: Node | None, guest: str, port: str | None, entries: Sequence[str]
) -> str:
    """The file's text with the new entries; with one in place of that for this port.

    Raises VfwError where that would lose something.
    """
    if not port:
        return add(text, guest, entries)
    if len(entries) != 1:
        raise VfwError("--replace takes one entry for another one")
    if tree is None:
        raise VfwError(f"{show(guest)} is not in forwards.yaml")
    (number,) = find_entries(tree, guest, [port])
    old = entries_of(tree, guest)[number]
    if isinstance(old, Pairs) and words_of_long(old) is None:
        what = f"the entry for {show(port)} of {show(guest)} has more keys"
        raise VfwError(f"{what} than this can write", "vfwhooks edit changes it")
    return change(text, guest, number, entries[0])
