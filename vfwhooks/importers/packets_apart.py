"""Whether two rules can meet the same packet, and rules that take packets and cannot be
carried over. Pure."""

from __future__ import annotations

import re

from ..rulesets.ruleset import Match, Rule, Table, Verdict

_EXACT = ("in", "proto", "dport", "daddr", "family")
_OF_FAMILY = re.compile(r"\b(?:dnat|redirect) (ip6?) ")
_FAMILIES = frozenset(("ip", "ip6"))
_NAMES = {"ipv4": "ip", "ipv6": "ip6"}
Conditions = tuple[Match, ...]
Key = tuple[str, str]
_Taking = tuple[frozenset[str], Conditions, Verdict, str]


class Taken:
    """What rules take that cannot be carried over: no later rule gets it. A rule for
    one address counts only for later rules for this address."""

    def __init__(self) -> None:
        self._by_key: dict[Key, list[_Taking]] = {}

    def add(self, table: Table, rule: Rule, way: Conditions, where: str) -> None:
        """Take a rule in, with all conditions on the way to it, and its place. Of what
        a verdict map leads to it, nobody knows the rest."""
        if any(" vmap " in one.text for one in way if not one.field):
            return
        one = _families(table, rule, way), way, rule.verdict, where
        self._by_key.setdefault(_key(way), []).append(one)

    def find(self, table: Table, rule: Rule, way: Conditions) -> str:
        """The place of a rule that leads some of a later one's packets elsewhere; ''
        for none."""
        host, port = _key(way)
        keys = [(host, port), (host, ""), ("", port), ("", "")]
        if not port:  # it has several
            keys = [key for key in self._by_key if key[0] in (host, "")]
        mine = _families(table, rule, way)
        for key in dict.fromkeys(keys):
            for families, conditions, verdict, where in self._by_key.get(key, ()):
                is_elsewhere = verdict != rule.verdict and families & mine
                if is_elsewhere and not are_apart(conditions, way):
                    return where
        return ""


def _key(way: Conditions) -> Key:
    """The one address and the one port that a rule is for; '' for more."""
    return _single(way, "daddr"), _single(way, "dport")


def _single(way: Conditions, field: str) -> str:
    some = {v for m in way if m.field == field and not m.is_not for v in m.values}
    value = some.pop() if len(some) == 1 else ""
    return "" if value[:1] == "@" or "-" in value or "/" in value else value


def _families(table: Table, rule: Rule, way: Conditions) -> frozenset[str]:
    """The families of a rule's packets, as far as is sure."""
    of = _OF_FAMILY.search(rule.text)
    words = [table.family, of[1] if of else ""]
    words += [one.text[:3].strip() for one in way]  # ip daddr, ip6 daddr
    for one in way:
        if one.field == "family" and not one.is_not and len(one.values) == 1:
            words.append(_NAMES.get(one.values[0], ""))
    return frozenset(words) & _FAMILIES or _FAMILIES


def are_apart(stop: Conditions, way: Conditions) -> bool:
    """Whether no packet meets both, as far as is sure."""
    return any(
        one.field == other.field and one.field in _EXACT and _excludes(one, other)
        for one in stop
        for other in way
    )


def _excludes(one: Match, other: Match) -> bool:
    plain = not any("@" in v or "/" in v or "*" in v for v in one.values + other.values)
    if not plain or (one.is_not and other.is_not):
        return False
    if one.is_not or other.is_not:
        outside, inside = (one, other) if one.is_not else (other, one)
        return set(inside.values) <= set(outside.values)
    if one.field == "dport":
        return not any(_overlap(a, b) for a in one.values for b in other.values)
    return not set(one.values) & set(other.values)


def _overlap(one: str, other: str) -> bool:
    try:
        first, second = _ends(one), _ends(other)
    except ValueError:
        return True
    return first[0] <= second[1] and second[0] <= first[1]


def _ends(ports: str) -> tuple[int, int]:
    first, dash, last = ports.partition("-")
    return int(first), int(last if dash else first)
