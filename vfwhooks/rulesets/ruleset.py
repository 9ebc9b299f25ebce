"""A ruleset as values: tables, chains, rules, sets. Counters are left out. Pure.

Both of netfilter's languages become the same values: `-i virbr0` and `iifname "virbr0"`
are one condition. What is not known stays as text, and is never guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

HOOKS = "ingress", "prerouting", "input", "forward", "output", "postrouting", "egress"
PRIORITIES = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
}
REFUSING = "drop", "reject"
ENDING = (*REFUSING, "accept", "return", "queue", "goto")


class Match(NamedTuple):
    """A condition: one of the values, or (`is_not`) none of them.

    The fields: in, out, saddr, daddr, proto, sport, dport, state (dnat and snat among
    its values), direction, dsttype, srctype, family, mark, physin, physout, icmp, or
    several of them with " . " between; '' for a condition that is not known. A value
    with @ before it is the name of a set.
    """

    field: str
    values: tuple[str, ...]
    is_not: bool
    text: str


class Verdict(NamedTuple):
    """What a rule does: accept, drop, reject, return, queue, jump, goto, dnat, snat,
    masquerade, redirect, vmap, log, mark, '' (it only counts), or other.

    `target` is a chain, an address, an error, or a map; `key` has the fields that are
    looked up in a map.
    """

    kind: str
    target: str = ""
    key: str = ""


class Rule(NamedTuple):
    """One rule: how a person finds it (line 12, handle 5, rule 3), and its text without
    counters."""

    place: str
    text: str
    matches: tuple[Match, ...]
    verdict: Verdict
    comment: str = ""

    def values(self, field: str) -> tuple[str, ...]:
        """The values of a field that the rule asks for."""
        for match in self.matches:
            if match.field == field and not match.is_not:
                return match.values
        return ()


class Element(NamedTuple):
    """What a set or a map holds: the key's parts, and what it leads to."""

    key: tuple[str, ...]
    data: str
    comment: str


class Problem(NamedTuple):
    """A line that cannot be read, and why."""

    line: int
    text: str
    why: str


class Set:
    """A set or a map: elements to be found at once, and those that are ranges. Where it
    `is_passing`, they come and go by themselves."""

    __slots__ = ("exact", "is_passing", "name", "ranges")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_passing = False
        self.exact: dict[tuple[str, ...], Element] = {}
        self.ranges: list[Element] = []

    def add(self, element: Element) -> None:
        """Take an element in."""
        if any("-" in part or "/" in part or "*" in part for part in element.key):
            self.ranges.append(element)
        else:
            self.exact[element.key] = element

    def elements(self) -> Iterator[Element]:
        """All of them."""
        yield from self.exact.values()
        yield from self.ranges


class Chain:
    """A chain; a base chain has a hook, a priority, a policy and a kind (filter, nat,
    route)."""

    __slots__ = ("hook", "kind", "name", "policy", "priority", "rules")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rules: list[Rule] = []
        self.hook = self.policy = self.kind = ""
        self.priority = 0


class Table:
    """A table: its family as nft names it, and the tool whose rules are in it (nft,
    iptables, iptables-legacy). Chains of a dormant one have no hook."""

    __slots__ = ("chains", "family", "is_dormant", "name", "sets", "tool")

    def __init__(self, family: str, name: str, tool: str) -> None:
        self.family = family
        self.name = name
        self.tool = tool
        self.is_dormant = False
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, Set] = {}

    def chain(self, name: str) -> Chain:
        """The chain of this name, made where it is not there yet."""
        return self.chains.setdefault(name, Chain(name))

    def __str__(self) -> str:
        return f"{self.family} {self.name}"


class Ruleset:
    """Tables in the order in which they were read, and what could not be read."""

    __slots__ = ("problems", "tables")

    def __init__(self) -> None:
        self.tables: list[Table] = []
        self.problems: list[Problem] = []

    def table(self, family: str, name: str, tool: str) -> Table:
        """The table, made where it is not there yet."""
        for one in self.tables:
            if (one.family, one.name, one.tool) == (family, name, tool):
                return one
        self.tables.append(Table(family, name, tool))
        return self.tables[-1]

    def join(self, other: Ruleset) -> None:
        """Take in another one's tables."""
        self.tables += other.tables
        self.problems += other.problems

    def rules(self) -> Iterator[tuple[Table, Chain, Rule]]:
        """Every rule, with its table and chain."""
        for table in self.tables:
            for chain in table.chains.values():
                for rule in chain.rules:
                    yield table, chain, rule

    def base_chains(self, hook: str, families: tuple[str, ...]) -> list[BaseChain]:
        """The base chains of a hook in the order in which a packet meets them."""
        found = [
            (table, chain)
            for table in self.tables
            for chain in table.chains.values()
            if chain.hook == hook and table.family in families
        ]
        return sorted(found, key=lambda one: one[1].priority)


BaseChain = tuple[Table, Chain]
