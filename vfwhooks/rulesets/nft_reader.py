"""What `nft list ruleset` prints, as a Ruleset. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .nft_rule import RuleReader
from .nft_words import split_commas
from .ruleset import (
    HOOKS,
    PRIORITIES,
    Chain,
    Element,
    Problem,
    Rule,
    Ruleset,
    Set,
    Table,
)

_HANDLE = re.compile(r" # handle (\d+)$")
_BASE = re.compile(
    r"type (\S+) hook (\S+)(?: devices? .*)? priority (.+?);(?: policy (\w+);)?"
)
_COUNTER = re.compile(r"\bcounter(?: packets \d+ bytes \d+| name \S+)?\s*")
_COMMENT = re.compile(r'\bcomment "(?:[^"\\]|\\.)*"\s*')
_ELEMENT_NOISE = re.compile(
    r" (?:counter packets \d+ bytes \d+|counter|timeout \S+|expires \S+|"
    r'comment "[^"]*")'
)
_ELEMENT_COMMENT = re.compile(r' comment "([^"]*)"')
IPTABLES_TABLES = {"filter", "nat", "mangle", "raw", "security"}
_FAMILIES = {"ip", "ip6", "inet", "arp", "bridge", "netdev"}
_OF_TABLES = {"flags", "comment"}
PASSING = {"dynamic", "timeout"}  # of sets
_MOST_LINES = 100_000  # of one rule's or one set's elements


def read_nft(lines: Iterable[tuple[int, str]]) -> Ruleset:
    """Every table of `nft list ruleset`, with or without handles; each line with its
    number."""
    reader = _Reader()
    for number, line in lines:
        reader.line(number, line)
    reader.end()
    return reader.found


class _Reader:
    def __init__(self) -> None:
        self.found = Ruleset()
        self._path: list[str] = []  # the words at the open braces
        self._chain: Chain | None = None
        self._set: Set | None = None
        self._parts: list[str] = []  # of what goes on in the next line
        self._open = 0  # braces of that
        self._first = 0

    def line(self, number: int, line: str) -> None:
        """Read one; what cannot be read is noted."""
        line = line.strip()
        if not line or line[0] == "#":
            return
        try:
            self._read(number, line)
        except ValueError as error:
            self._parts, self._open = [], 0
            self.found.problems.append(Problem(number, line, str(error)))

    def end(self) -> None:
        """There are no more lines."""
        if self._path or self._parts:
            line = " ".join(self._path)
            self.found.problems.append(Problem(self._first, line, "it has no end"))

    def _read(self, number: int, line: str) -> None:
        if self._parts:
            self._go_on(line)
            return
        head = without_note(line)
        if head == "}":
            if not self._path:
                raise ValueError("nothing ends here")
            self._path.pop()
            self._chain = self._set = None
        elif len(self._path) < 2 and head.endswith("{"):
            self._begin(number, head[:-1].split())
        elif self._chain is not None or self._set is not None:
            self._first = number
            self._go_on(line)
        elif len(self._path) < 2 and head.split(" ")[0] not in _OF_TABLES:
            raise ValueError(f"it stands in no {'chain' if self._path else 'table'}")
        elif self._path and head.startswith("flags "):
            self._table.is_dormant = "dormant" in head

    def _begin(self, number: int, words: list[str]) -> None:
        self._first = number
        if not self._path:
            if words[:1] != ["table"] or len(words) not in (2, 3):
                raise ValueError("it is no table")
            family = words[1] if len(words) == 3 else "ip"
            if family not in _FAMILIES:
                raise ValueError(f"there is no family {family}")
            self._table = self.found.table(family, words[-1], "nft")
        elif words[:1] == ["chain"] and len(words) == 2:
            self._chain = self._table.chain(words[1])
        elif words[:1] in (["set"], ["map"]) and len(words) == 2:
            self._set = self._table.sets.setdefault(words[1], Set(words[1]))
        self._path.append(" ".join(words))

    def _go_on(self, line: str) -> None:
        """A rule or a set's elements, which may take several lines."""
        self._parts.append(line)
        if "{" in line or "}" in line:
            bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", line).partition(" # ")[0]
            self._open += bare.count("{") - bare.count("}")
        if self._open < 0 or len(self._parts) > _MOST_LINES:
            raise ValueError("its braces do not match")
        if self._open:
            return
        text, self._parts = " ".join(self._parts), []
        if self._set is not None:
            if text.startswith("elements = {"):
                add_elements(self._set, text[12:].rstrip("} "))
            elif text.startswith(("flags ", "timeout ")):
                self._set.is_passing |= not PASSING.isdisjoint(re.findall(r"\w+", text))
        elif self._chain and not (self._table.is_dormant and _BASE.match(text)):
            add_line(self._chain, self._first, text)


def without_counters(text: str) -> str:
    """A rule's text without its counters, and without its comment."""
    return _COUNTER.sub("", _COMMENT.sub("", text)).strip()


def without_note(line: str) -> str:
    """A line without what nft says of it behind a # (a handle, a program's name)."""
    head, sign, note = line.rpartition(" # ")
    return head.rstrip() if sign and '"' not in note else line


def is_of_iptables(table: Table) -> bool:
    """Whether iptables-nft has made it: nft does not show all of such rules."""
    is_named = table.name in IPTABLES_TABLES and table.family in ("ip", "ip6")
    return (
        table.tool == "nft"
        and is_named
        and any(chain.hook and chain.name.isupper() for chain in table.chains.values())
    )


def add_line(chain: Chain, number: int, text: str) -> None:
    """What stands in a chain: its head, or a rule."""
    base = _BASE.match(text)
    if base:
        kind, hook, priority, policy = base.groups()
        set_base(chain, kind, hook, priority, policy or "accept")
    elif not text.startswith('comment "'):
        handle = _HANDLE.search(text)
        text = text[: handle.start()] if handle else text
        place = f"handle {handle.group(1)}" if handle else f"line {number}"
        add_rule(chain, place, text)


def set_base(chain: Chain, kind: str, hook: str, priority: str, policy: str) -> None:
    """Make it a base chain. Raises ValueError for a hook that there is not."""
    if hook not in HOOKS:
        raise ValueError(f"there is no hook {hook}")
    chain.kind, chain.hook, chain.policy = kind, hook, policy
    name, *rest = priority.split(" ")
    chain.priority = PRIORITIES[name] if name in PRIORITIES else int(name)
    if len(rest) == 2:
        chain.priority += int(rest[0] + rest[1])


def add_rule(chain: Chain, place: str, text: str, is_sure: bool = False) -> None:
    """A rule as nft writes it. Raises ValueError for what is none, unless it `is_sure`
    that it is one."""
    rule = RuleReader(text.replace("# xt_", "xt match "))
    if not is_sure and not rule.is_rule():
        raise ValueError("it is no rule")
    rule.read()
    shown = without_counters(text)
    matches = tuple(rule.matches)
    chain.rules.append(Rule(place, shown, matches, rule.verdict, rule.comment))


def add_elements(one: Set, text: str) -> None:
    """Elements of a set or a map, as nft writes them."""
    for part in split_commas(text):
        part = f" {part.strip()}"
        comment = _ELEMENT_COMMENT.search(part)
        plain = _ELEMENT_NOISE.sub("", part).strip()
        if not plain:
            continue
        key, _, data = plain.partition(" : ")
        keys = tuple(word.strip().strip('"') for word in key.split(" . "))
        note = comment.group(1) if comment else ""
        one.add(Element(keys, data.strip(), note))
