"""Calls of iptables in a script: the added rules, and the forwards of them. Pure."""

from __future__ import annotations

from ..rulesets.ruleset import Rule, Table
from ..rulesets.save_rule import SaveRule
from .carried_rule import carried
from .imported import Imported, Left, Origin


def carried_call(
    words: list[str], origin: Origin, family: str
) -> list[Imported | Left]:
    """The forwards of a rule that is added to PREROUTING."""
    chain, rest = added_rule(words)
    if not chain:
        return []
    if chain != ["PREROUTING"]:
        return [Left(origin, f"it is a rule of the chain {' '.join(chain)}")]
    try:
        rule = SaveRule(rest, ()).read()
    except ValueError as error:
        return [Left(origin, str(error))]
    matches = tuple(rule.matches)
    one = Rule("", origin.text, matches, rule.verdict)
    return carried((), one, Table(family, "nat", "iptables"), origin)


def added_rule(words: list[str]) -> tuple[list[str], list[str]]:
    """The chain to which a rule is added, and the rule."""
    for at, word in enumerate(words):
        if word in ("-A", "-I", "--append", "--insert"):
            skipped = 3 if words[at + 2 : at + 3] and words[at + 2].isdigit() else 2
            rest = words[:at] + words[at + skipped :]
            return words[at + 1 : at + 2], _without_table(rest)
    return [], words


def _without_table(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in ("-t", "--table"):
            skip = True
        elif word not in ("-w", "--wait"):
            kept.append(word)
    return kept
