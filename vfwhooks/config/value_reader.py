"""Values from a YAML tree, and a problem for each bad value.

A user's mistake raises nothing: all problems are collected, so that one check shows
them all.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from ..values.errors import VfwError, show
from .forwards_keys import OPTIONS, PortOptions, parse_switch
from .unknown_keys import hint
from .value_syntax import Address
from .yaml_mistakes import find_bare_key, find_bare_name, slip_in
from .yaml_nodes import Items, Node, Pairs, Place, Problem, Text, listed

T = TypeVar("T")


class Values:
    """Reads nodes; `problems` are the problems so far."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, place: Place, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(place, message))

    def mapping(
        self, node: Node, name: str, keys: tuple[str, ...]
    ) -> dict[str, Node] | None:
        """The values of a mapping by key; None if the node is no mapping."""
        if not isinstance(node, Pairs):
            what = f"{name} is {kind_of(node)}"
            self.wrong(node.place, f"{what}, not a mapping of {', '.join(keys)}")
            return None
        for key, value in node.nodes:
            if key.value not in keys:
                instead = hint(key, value, keys, node)
                self.wrong(key.place, f"unknown key {show(key.value)}; {instead}")
        return {key.value: value for key, value in node.nodes if key.value in keys}

    def options(self, parts: dict[str, Node], above: PortOptions) -> PortOptions:
        """The options in `parts`; missing ones come from `above`."""
        given = {
            key: self.scalar(parts[key], parse)
            for key, parse in OPTIONS.items()
            if key in parts
        }
        known = {key: value for key, value in given.items() if value is not None}
        return replace(above, **known) if known else above

    def given(
        self,
        parts: dict[str, Node],
        key: str,
        parse: Callable[[str], T],
        above: tuple[T, ...],
    ) -> tuple[T, ...]:
        """The values of a key; without the key, `above`."""
        return self.several(parts[key], parse) if key in parts else above

    def switch(self, parts: dict[str, Node], key: str, above: bool) -> bool:
        """Whether a key is true; without the key, `above`. A bad value is false."""
        node = parts.get(key)
        return bool(self.scalar(node, parse_switch)) if node else above

    def several(self, node: Node, parse: Callable[[str], T]) -> tuple[T, ...]:
        """One value or a list of values, each once."""
        nodes = listed(node)
        found = [self.scalar(one, parse) for one in nodes]
        if not nodes:
            self.wrong(node.place, "an empty list; leave the key out")
        return tuple(dict.fromkeys(value for value in found if value is not None))

    def one_a_family(
        self, node: Node, parse: Callable[[str], Address]
    ) -> tuple[Address, ...]:
        """Addresses, at most one of each family."""
        found = self.several(node, parse)
        for version in (4, 6):
            both = [str(address) for address in found if address.version == version]
            if len(both) > 1:
                some = " and ".join(both)
                self.wrong(node.place, f"{some} are both IPv{version}; one a family")
        return found

    def scalar(self, node: Node, parse: Callable[[str], T]) -> T | None:
        """One value; None, and a problem, if it is bad."""
        if not isinstance(node, Text) or not node.value:
            self.wrong(node.place, f"{kind_of(node)}, where one value is needed")
            return None
        try:
            return parse(node.value)
        except VfwError as error:
            self.wrong(*_at_fault(node, parse, error.message))
            return None


def _at_fault(
    node: Text, parse: Callable[[str], object], message: str
) -> tuple[Place, str]:
    """The place and the message of a bad value; several lines may have become one
    value."""
    if node.lines:
        value, first = show(node.lines[1].value), node.lines[0].place.line
        what = f"{value} is read as one value with line {first}"
        cure = "begin each entry with a dash and a blank, all indented alike"
        return find_slip_of(node) or (node.lines[1].place, f"{what}; {cure}")
    bare = find_bare_key(node.value)
    if bare:
        return node.place, bare
    before, number, _ = node.value.partition("#")
    with suppress(VfwError):
        if number and before.strip():
            parse(before.strip())
            right = show(f"{before.strip()} #")
            return node.place, f"no blank before the #; write {right}"
    return node.place, message


def find_slip_of(node: Text) -> tuple[Place, str] | None:
    """A missing blank or colon that has turned one line, or several, into one value."""
    bare = find_bare_name([line.value for line in node.lines])
    if bare:
        return node.lines[0].place, bare
    for line in node.lines or (node,):
        found = slip_in(line.value)
        if found:
            place = line.place
            return Place(place.file, place.line, place.column + found[0]), found[1]
    return None


def kind_of(node: Node) -> str:
    """The kind of a node, for a problem's message."""
    if isinstance(node, Text):
        return repr(node.value) if node.value else "nothing"
    return "a list" if isinstance(node, Items) else "a mapping"
