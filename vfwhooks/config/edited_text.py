"""Edits in the text of forwards.yaml: an entry is added or removed, and all other text
stays byte for byte. Pure.

The edit is made where yaml_tree says that things are written. What comes of it is read
again, and has to be the old tree with that entry more or less: else it is refused.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Sequence

from ..values.errors import VfwError, show
from .edited_tree import with_entries, with_entry, without_entry
from .entry_spelling import format_key
from .yaml_nodes import Items, Node, Pairs, Plain, Problem, Spans, Text, plain
from .yaml_tree import NotRead, parse_tree

Splice = tuple[int, int, str]
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_REST = re.compile(r"[ \t]*(,?)[ \t]*(#.*)?")
_BOM = "\ufeff"


def add(text: str, guest: str, entries: Sequence[str]) -> str:
    """The text with these entries more for the guest; they are YAML in flow style.

    Raises VfwError with what to write by hand.
    """
    line = f"{format_key(guest)}: [{', '.join(entries)}]"
    by_hand = f"write by hand, below guests: {show(line)}"
    page = _Page(text, by_hand)
    return page.edited(
        _adding(page, guest, line, entries), with_entries(page.tree, guest, entries)
    )


def remove(text: str, guest: str, doomed: Collection[int] = ()) -> str:
    """The text without these of the guest's entries; without the guest, if there are
    none of them to go, or none to stay.

    Raises VfwError with what to take out by hand.
    """
    for number in sorted(doomed, reverse=True):
        page = _Page(text, f"take entry {number + 1} of {show(guest)} out by hand")
        key, node, ports = page.entries_of(guest)
        if not isinstance(ports, Items) or len(ports.nodes) == 1:
            break
        wanted = without_entry(page.tree, guest, number)
        text = page.edited(page.without_item(ports, number), wanted)
    else:
        if doomed:
            return text
    page = _Page(text, f"take {show(guest)} out by hand")
    key, node, _ = page.entries_of(guest)
    guests = page.find(page.tree, "guests")
    assert guests and isinstance(guests[1], Pairs)
    wanted = without_entry(page.tree, guest, None)
    return page.edited(page.without_pair(guests[0], guests[1], key, node), wanted)


def change(text: str, guest: str, number: int, entry: str) -> str:
    """The text with this entry, YAML in flow style, in place of that one of the
    guest's. Raises VfwError with what to write by hand."""
    page = _Page(text, f"write by hand, for {show(guest)}: {show(entry)}")
    ports = page.entries_of(guest)[2]
    old = ports.nodes[number] if isinstance(ports, Items) else ports
    wanted = with_entry(page.tree, guest, number, entry)
    return page.edited([page.instead(old, entry)], wanted)


def _adding(page: _Page, guest: str, line: str, entries: Sequence[str]) -> list[Splice]:
    """Where the guest's entries go."""
    top = page.tree
    if isinstance(top, Text) and not top.value:
        return page.at_end(["guests:", f"  {line}"])
    above = page.find(top, "guests")
    if not above:
        return page.new_pair(top, [f"guests: {{{line}}}"], ["guests:", f"  {line}"])
    key, guests = above
    if not page.is_flow(top) and page.is_empty(guests):
        return page.first_below(key, guests, line)
    found = page.find(guests, guest)
    if not found:
        return page.new_pair(guests, [line], [line])
    key, value = found
    if isinstance(value, Pairs):
        ports = page.find(value, "ports")
        if not ports:
            listed = f"ports: [{', '.join(entries)}]"
            return page.new_pair(value, [listed], [listed])
        key, value = ports
    return page.more(value, entries)


class _Page:
    """A text and its tree; `by_hand` is what is left to do if it cannot be edited."""

    def __init__(self, text: str, by_hand: str) -> None:
        self.bom = _BOM if text.startswith(_BOM) else ""
        self.text = text[len(self.bom) :]
        self.by_hand = by_hand
        self._spans: Spans = {}
        problems: list[Problem] = []
        try:
            self.tree = parse_tree(self.text.encode(), "", problems, self._spans)
        except NotRead as error:
            problems.append(error.problem)
        if problems:
            raise VfwError(f"line {problems[0].place.line}: {problems[0].message}")
        breaks = list(_BREAK.finditer(self.text))
        self._starts = [0, *(found.end() for found in breaks)]
        self._ends = [*(found.start() for found in breaks), len(self.text)]
        self._newline = breaks[0][0] if breaks else "\n"

    def edited(self, splices: list[Splice], wanted: Plain) -> str:
        """The text with the splices, if it says what is wanted."""
        text = self.text
        for first, last, new in sorted(splices, key=lambda one: one[0])[::-1]:
            text = text[:first] + new + text[last:]
        problems: list[Problem] = []
        try:
            found = plain(parse_tree(text.encode(), "", problems))
        except NotRead:
            raise self.refusal() from None
        if problems or repr(found) != repr(wanted):
            raise self.refusal()
        return self.bom + text

    def refusal(self) -> VfwError:
        """What is said where the edit has no place."""
        return VfwError("this entry cannot be edited where it stands", self.by_hand)

    def find(self, node: Node, key: str) -> tuple[Text, Node] | None:
        """A key of a mapping, and its value."""
        if not isinstance(node, Pairs):
            raise self.refusal()
        return next((pair for pair in node.nodes if pair[0].value == key), None)

    def entries_of(self, guest: str) -> tuple[Text, Node, Node]:
        """The guest's key, what stands behind it, and its ports among that."""
        guests = self.find(self.tree, "guests")
        found = self.find(guests[1], guest) if guests else None
        if not found:
            raise VfwError(f"{show(guest)} is not in the file")
        key, node = found
        ports = self.find(node, "ports") if isinstance(node, Pairs) else found
        return key, node, ports[1] if ports else node

    def is_flow(self, node: Node) -> bool:
        """Whether it stands in brackets or braces."""
        span = self._spans.get(id(node))
        return bool(span and span.is_flow)

    def is_empty(self, node: Node) -> bool:
        """Whether it is nothing, or {} and no more."""
        if isinstance(node, Text):
            return not node.value and self._first(node) == self._last(node)
        return self.text[self._first(node) : self._last(node)] == "{}"

    def _at(self, mark: tuple[int, int]) -> int:
        return self._starts[mark[0]] + mark[1]

    def _first(self, node: Node) -> int:
        return self._at(self._spans[id(node)].first)

    def _last(self, node: Node) -> int:
        if isinstance(node, Items) and node.nodes and not self.is_flow(node):
            return self._last(node.nodes[-1])
        if isinstance(node, Pairs) and node.nodes and not self.is_flow(node):
            return self._last(node.nodes[-1][1])
        return self._at(self._spans[id(node)].last)

    def _line(self, at: int) -> int:
        return bisect_right(self._starts, at) - 1

    def _last_line(self, node: Node) -> int:
        """The line that a node ends in; text behind | or > ends where one begins."""
        last = self._last(node)
        line = self._line(last)
        return line - (last == self._starts[line] and last > self._first(node))

    def _before(self, at: int) -> str:
        """What stands before it in its line."""
        return self.text[self._starts[self._line(at)] : at]

    def _below(self, node: Node, column: int, line: str) -> list[Splice]:
        """A line more below the node, and below comments that stand further right."""
        number = self._last_line(node)
        for later in range(number + 1, len(self._starts)):
            text = self.text[self._starts[later] : self._ends[later]]
            indent = len(text) - len(text.lstrip(" "))
            if not text.lstrip(" ").startswith("#") or indent <= column:
                break
            number = later
        at = self._ends[number]
        return [(at, at, f"{self._newline}{line}")]

    def at_end(self, lines: list[str]) -> list[Splice]:
        """Lines more at the end of the file."""
        is_open = self._starts[-1] < len(self.text)
        new = "".join(f"{line}{self._newline}" for line in lines)
        at = len(self.text)
        return [(at, at, (self._newline if is_open else "") + new)]

    def first_below(self, key: Text, node: Node, line: str) -> list[Splice]:
        """The first line of a mapping that was empty, {} or not."""
        first, last = self._first(node), self._last(node)
        if self._line(first) != self._line(self._first(key)):
            raise self.refusal()
        while self.text[first - 1] in " \t":
            first -= 1
        indent = " " * (key.place.column + 1)
        at = self._ends[self._line(last)]
        gap = " " if self.text[last : last + 1] == "#" else ""
        return [(first, last, gap), (at, at, f"{self._newline}{indent}{line}")]

    def new_pair(self, node: Node, flow: list[str], block: list[str]) -> list[Splice]:
        """A pair more at the end of a mapping."""
        if not isinstance(node, Pairs):
            raise self.refusal()
        if self.is_flow(node):
            children = [(self._first(k), self._last(v)) for k, v in node.nodes]
            return self._into_flow(node, children, ", ".join(flow))
        column = node.place.column - 1
        between = f"{self._newline}{' ' * column}"
        return self._below(node, column, " " * column + between.join(block))

    def more(self, value: Node, entries: Sequence[str]) -> list[Splice]:
        """Entries more where a guest has its ports."""
        new = ", ".join(entries)
        first, last = self._first(value), self._last(value)
        if isinstance(value, Text):
            if value.value:
                return [(first, first, "["), (last, last, f", {new}]")]
            return [(first, first, f" [{new}]")]
        if not isinstance(value, Items):
            raise self.refusal()
        if self.is_flow(value):
            children = [(self._first(one), self._last(one)) for one in value.nodes]
            return self._into_flow(value, children, new)
        column = value.place.column - 1
        before = self._before(self._first(value.nodes[-1]))
        if not re.fullmatch(r" *-[ \t]+", before):
            before = " " * column + "- "
        between = self._newline
        return self._below(value, column, between.join(before + e for e in entries))

    def _into_flow(
        self, node: Node, children: list[tuple[int, int]], new: str
    ) -> list[Splice]:
        if not children:
            at = self._last(node) - 1
            return [(at, at, new)]
        first, last = children[-1]
        rest = self._rest(first, last)
        if not rest:
            return [(last, last, f", {new}")]
        at = self._ends[self._line(last)]
        line = f"{self._newline}{self._before(first)}{new}{rest[1]}"
        return [(last, last, "" if rest[1] else ","), (at, at, line)]

    def _rest(self, first: int, last: int) -> re.Match[str] | None:
        """What ends the line of something in brackets that has its lines to itself."""
        if self._before(first).strip():
            return None
        return _REST.fullmatch(self.text, last, self._ends[self._line(last)])

    def _lines(self, first: int, node: Node) -> Splice:
        """The lines of something, to be cut out."""
        last = self._last_line(node) + 1
        end = self._starts[last] if last < len(self._starts) else len(self.text)
        return self._starts[self._line(first)], end, ""

    def instead(self, node: Node, new: str) -> Splice:
        """Something else in its place; a comment in it would be lost."""
        first, last = self._first(node), self._last(node)
        if not isinstance(node, Text) and "#" in self.text[first:last]:
            raise self.refusal()
        return first, last, new

    def without_item(self, node: Items, number: int) -> list[Splice]:
        """An item less in a list of several."""
        if self.is_flow(node):
            children = [(self._first(one), self._last(one)) for one in node.nodes]
            return [self._out_of_flow(children, number)]
        item = node.nodes[number]
        if not re.fullmatch(r" *-[ \t]+", self._before(self._first(item))):
            raise self.refusal()
        return [self._lines(self._first(item), item)]

    def without_pair(
        self, above: Text, node: Pairs, key: Text, value: Node
    ) -> list[Splice]:
        """A pair less in a mapping; where none is left stands {}."""
        if self.is_flow(node):
            children = [(self._first(k), self._last(v)) for k, v in node.nodes]
            number = [pair[0] for pair in node.nodes].index(key)
            return [self._out_of_flow(children, number)]
        if self._before(self._first(key)).strip():
            raise self.refusal()
        cut = self._lines(self._first(key), value)
        if len(node.nodes) > 1:
            return [cut]
        colon = re.compile(r"[ \t]*:").match(self.text, self._last(above))
        if not colon:
            raise self.refusal()
        return [cut, (colon.end(), colon.end(), " {}")]

    def _out_of_flow(self, children: list[tuple[int, int]], number: int) -> Splice:
        first, last = children[number]
        if self._rest(first, last):
            line = self._line(last) + 1
            return self._starts[self._line(first)], self._starts[line], ""
        behind = re.compile(r"[ \t]*,[ \t]*").match(self.text, last)
        if behind:
            return first, behind.end(), ""
        before = re.search(r",[ \t]*$", self.text[:first]) if number else None
        return (before.start() if before else first), last, ""
