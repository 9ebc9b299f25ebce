"""Rules of others that an administrator has named, to be taken out for ours. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..rulesets.ruleset import Chain, Rule, Table

NFT, LEGACY = "nft", "iptables-legacy"
Place = tuple[str, ...]


@dataclass(frozen=True)
class NamedRule:
    """One rule in the kernel: the tool that lists it (nft, iptables, iptables-legacy),
    where it stands, nft's handle, and its text without counters. `cure` is the command
    of the program that has made it and keeps it, if that takes it out."""

    tool: str
    family: str
    table: str
    chain: str
    handle: str
    text: str
    cure: tuple[str, ...] = field(default=(), compare=False)

    @property
    def command(self) -> str:
        """What takes it out by hand."""
        if self.cure:
            return " ".join(self.cure)
        if self.tool == NFT:
            where = f"{self.family} {self.table} {self.chain}"
            return f"nft delete rule {where} handle {self.handle}"
        tool = self.tool.replace("ip", self.family, 1)
        return f"{tool} -t {self.table} -D {self.chain} {self.text}"

    @property
    def place(self) -> Place:
        """What tells it from all others, in a listing of one table by either tool."""
        where = self.tool, self.family, self.table, self.chain
        return (*where, self.handle or self.text)

    def __str__(self) -> str:
        is_told = self.tool == NFT or self.cure
        return f"{self.command}  # {self.text}" if is_told else self.command


Named = frozenset[NamedRule]
NONE: Named = frozenset()


def left(table: Table, chain: Chain, gone: Collection[Place]) -> list[Rule]:
    """The rules of a chain that are at none of these places."""
    rules = chain.rules
    if gone:
        rules = [one for one in rules if named(table, chain, one).place not in gone]
    return rules


def named(table: Table, chain: Chain, rule: Rule) -> NamedRule:
    """The rule as it stands in a live ruleset."""
    word, _, number = rule.place.partition(" ")
    handle = number if word == "handle" else ""
    where = table.family, table.name, chain.name
    return NamedRule(NFT if handle else table.tool, *where, handle, rule.text)
