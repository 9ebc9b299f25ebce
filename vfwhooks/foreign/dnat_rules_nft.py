"""The parser for one table from `nft -j list table`, into rules of dnat_rules. Pure.

Rules that iptables has made appear as `xt` and cannot be parsed here: see `is_xtables`.
"""

from __future__ import annotations

from collections.abc import Collection

from ..firewall.nft_names import FAMILIES
from ..rulesets.nft_json_reader import read_nft_json
from .dnat_conditions import convert
from .dnat_rules import Rule
from .named_rules import Place, left


def parse_table(text: str, gone: Collection[Place] = ()) -> dict[str, list[Rule]]:
    """The table's chains with their rules, but those at these places. Raises ValueError
    for anything else."""
    read = read_nft_json(text)
    for problem in read.problems:
        raise ValueError(problem.why)
    found: dict[str, list[Rule]] = {}
    for table in read.tables:
        others = tuple(one.name for one in table.chains.values() if not one.hook)
        families = FAMILIES.get(table.family, "46")
        for chain in table.chains.values():
            rules = found.setdefault(chain.name, [])
            for rule in left(table, chain, gone):
                rules += convert(rule, families, others)
    return found


def is_xtables(text: str) -> bool:
    """Whether iptables has made any rule of the table."""
    return '"xt"' in text
