"""Rules of others that an administrator has named are taken out here, and nowhere else:
each by its own handle or its own words, as long as it is still the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby

from ..firewall.iptables_tools import Tools
from ..firewall.nft_names import FAMILIES
from ..rulesets.ruleset import Ruleset
from ..values.errors import VfwError
from .named_rules import LEGACY, NFT, NamedRule, named

_CHANGED = "it is not there any more as it was"
_STILL = "it is still there after that"
Left = dict[NamedRule, str]


def take_out(
    rules: Sequence[NamedRule], live: Callable[[], Ruleset], tools: Tools
) -> Left:
    """Take the rules out, those of one table at once, and those that a program keeps by
    its own command. Returns those that are left, each with the reason; `live` lists
    what is there now."""
    there = Counter(named(*found) for found in live().rules())
    left = {one: _CHANGED for one in rules if one not in there}
    found = sorted((one for one in rules if one in there), key=_table)
    for _, some in groupby((one for one in found if not one.cure), key=_table):
        left.update(_delete(list(some), there, tools))
    kept = [one for one in found if one.cure]
    for one in kept:
        left.update(_ask_its_program(one, tools))
    if kept:
        still = {named(*found) for found in live().rules()}
        left.update({one: _STILL for one in kept if one in still and one not in left})
    return left


def _ask_its_program(rule: NamedRule, tools: Tools) -> Left:
    try:
        tools.run([*rule.cure])
    except VfwError as error:
        return {rule: str(error)}
    return {}


def _table(rule: NamedRule) -> tuple[str, str, str]:
    return rule.tool, rule.family, rule.table


def _delete(rules: list[NamedRule], there: Counter[NamedRule], tools: Tools) -> Left:
    """Delete rules of one table: all in one transaction, or else one by one."""
    try:
        _carry_out(rules, there, tools)
    except VfwError as error:
        if len(rules) == 1:
            return {rules[0]: str(error)}
        left: Left = {}
        for one in rules:
            left.update(_delete([one], there, tools))
        return left
    return {}


def _carry_out(rules: list[NamedRule], there: Counter[NamedRule], tools: Tools) -> None:
    first = rules[0]
    if first.tool == NFT:
        lines = [f"{one.command.partition(' ')[2]}\n" for one in rules]
        tools.run(["nft", "-f", "-"], "".join(lines))
        return
    lines = [f"-D {r.chain} {r.text}\n" for r in rules for _ in range(there[r])]
    text = f"*{first.table}\n{''.join(lines)}COMMIT\n"
    variant = "legacy" if first.tool == LEGACY else "nft"
    tools.restore_text(FAMILIES[first.family], variant, text)
