"""Rules of others that an administrator has named, to be taken out for ours; and the
listings of the kernel's tools without them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..rulesets.ruleset import Chain, Rule, Table

NFT, LEGACY = "nft", "iptables-legacy"
_FAMILIES = {"ip": "4", "ip6": "6"}


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

    def __str__(self) -> str:
        is_told = self.tool == NFT or self.cure
        return f"{self.command}  # {self.text}" if is_told else self.command


Named = frozenset[NamedRule]
NONE: Named = frozenset()


def named(table: Table, chain: Chain, rule: Rule) -> NamedRule:
    """The rule as it stands in a live ruleset."""
    word, _, number = rule.place.partition(" ")
    handle = number if word == "handle" else ""
    where = table.family, table.name, chain.name
    return NamedRule(NFT if handle else table.tool, *where, handle, rule.text)


def without_listed(
    text: str, family: str, table: str, rules: Iterable[NamedRule]
) -> str:
    """What `nft -j list table` prints, without these rules."""
    gone = {
        (one.chain, one.handle)
        for one in rules
        if (one.tool, one.family, one.table) == (NFT, family, table)
    }
    if not gone:
        return text
    listed: dict[str, Any] = json.loads(text)
    kept = [one for one in listed["nftables"] if _place(one) not in gone]
    return json.dumps({**listed, "nftables": kept})


def _place(listed: Mapping[str, Any]) -> tuple[str, str]:
    rule = listed.get("rule", {})
    return str(rule.get("chain", "")), str(rule.get("handle", ""))


def without_saved(
    text: str, family: str, variant: str, rules: Iterable[NamedRule]
) -> str:
    """What iptables-save prints of the table nat, without these rules; `family` is 4
    or 6."""
    gone = {
        f"-A {one.chain} {one.text}"
        for one in rules
        if one.tool != NFT and (one.tool == LEGACY) == (variant == "legacy")
        if _FAMILIES[one.family] == family and one.table == "nat"
    }
    lines = text.split("\n") if gone else [text]
    return "\n".join(line for line in lines if line.strip() not in gone)
