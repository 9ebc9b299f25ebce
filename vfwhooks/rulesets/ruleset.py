"""A ruleset as values: tables, chains, rules, sets. Counters are left out. Pure.

Both of netfilter's languages become the same values: `-i virbr0` and `iifname "virbr0"`
are one condition. What is not known stays as text, and is never guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

HOOKS = "ingress", "prerouting", "input", "forward", "output", "postrouting", "egress"
PRIORITIES = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
    "out": 100,  # of ebtables' table nat, in the family bridge
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

    @property
    def meaning(self) -> Match:
        """The condition without its text."""
        return self._replace(text="")


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


@dataclass(eq=False)
class Set:
    """A set or a map: elements to be found at once, and those that are ranges. Where it
    `is_passing`, they come and go by themselves."""

    name: str
    is_passing: bool = False
    exact: dict[tuple[str, ...], Element] = field(default_factory=dict)
    ranges: list[Element] = field(default_factory=list)

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


@dataclass(eq=False)
class Chain:
    """A chain; a base chain has a hook, a priority, a policy and a kind (filter, nat,
    route)."""

    name: str
    rules: list[Rule] = field(default_factory=list)
    hook: str = ""
    policy: str = ""
    kind: str = ""
    priority: int = 0


@dataclass(eq=False)
class Table:
    """A table: its family as nft names it, and the tool whose rules are in it (nft,
    iptables, iptables-legacy). Chains of a dormant one have no hook."""

    family: str
    name: str
    tool: str
    is_dormant: bool = False
    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, Set] = field(default_factory=dict)

    def chain(self, name: str) -> Chain:
        """The chain of this name, made where it is not there yet."""
        return self.chains.setdefault(name, Chain(name))

    def __str__(self) -> str:
        return f"{self.family} {self.name}"


@dataclass(eq=False)
class Ruleset:
    """Tables in the order in which they were read, and what could not be read."""

    tables: list[Table] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

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
