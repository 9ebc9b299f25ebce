"""`vfwhooks add --replace`: a new entry in the place of one that a guest has."""

from __future__ import annotations

from collections.abc import Sequence

from ..config.edited_text import add, change
from ..config.entry_spelling import entries_of, find_entries
from ..config.port_spellings import parse_entry
from ..config.yaml_nodes import Node, Pairs, Text
from ..config.yaml_tree import parse_tree
from ..values.errors import VfwError, show
from .edit_outcome import words_of_long


def with_entries(
    text: str, tree: Node | None, guest: str, port: str | None, entries: Sequence[str]
) -> str:
    """The file's text with the new entries; with one in place of that for this port.

    Raises VfwError where that would lose something.
    """
    if port is None:
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


def tell_opened(
    tree: Node | None, guest: str, port: str | None, entries: Sequence[str]
) -> str:
    """That the entry in place of that for this port is for more clients or on more
    addresses; '' where it is not."""
    if tree is None or port is None:
        return ""
    (number,) = find_entries(tree, guest, [port])
    had = _limits(entries_of(tree, guest)[number])
    gone = had - _limits(parse_tree(entries[0].encode(), "", []))
    keys = " and ".join(sorted(gone))
    what = f"the entry for {show(port)} of {show(guest)} had {keys}"
    return f"{what}, and the new one has not" if gone else ""


def _limits(entry: Node) -> set[str]:
    """Which keys keep an entry from being for everybody and on every address."""
    if isinstance(entry, Pairs):
        return {"allow_from", "host_ip"} & {key.value for key, _ in entry.nodes}
    is_bound = isinstance(entry, Text) and parse_entry(entry.value).host_ip
    return {"host_ip"} if is_bound else set()
