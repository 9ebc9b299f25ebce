"""Calls of iptables in a script: the added rules, and the forwards of them. Pure."""

from __future__ import annotations

import re

from ..rulesets.ruleset import Rule, Table
from ..rulesets.save_rule import SaveRule
from .carried_rule import carried
from .imported import Imported, Left, Origin

_TABLE = "-t", "--table"
_WAITS = "-w", "--wait", "-W", "--wait-interval"
_WAIT = re.compile("(?:-[wW]|--wait(?:-interval)?)=?[0-9]*")


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
    """A rule without what is about the call: the table, and how long it may wait."""
    kept: list[str] = []
    before = ""
    for word in words:
        if before in _TABLE or (before in _WAITS and word.isdigit()):
            before = ""
            continue
        before = word
        if word not in _TABLE and not _WAIT.fullmatch(word):
            kept.append(word)
    return kept
