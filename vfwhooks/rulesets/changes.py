"""What changed from one ruleset to another, in words. Counters, handles and the numbers
of lines are no change. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from ..values.errors import show
from .context import Context, Names
from .makers import find_maker
from .ruleset import Chain, Rule, Ruleset, Set, Table
from .sentences import sentence

Meaning = tuple[object, ...]


def find_changes(old: Ruleset, new: Ruleset, names: Names) -> Iterator[str]:
    """A line each, or a few for a rule."""
    befores, afters = _by_name(old), _by_name(new)
    before, after = Context(old, names), Context(new, names)
    for key in dict.fromkeys([*befores, *afters]):
        was, now = befores.get(key), afters.get(key)
        if was is None and now is not None:
            yield f"+ table {_name(now)} is new"
        if now is None and was is not None:
            yield f"- table {_name(was)} is gone"
        was = was or Table(*key)
        now = now or Table(*key)
        for name in dict.fromkeys([*was.chains, *now.chains]):
            one = was.chains.get(name, Chain(name))
            other = now.chains.get(name, Chain(name))
            yield from _chain(before, after, was, now, one, other)
        for name in dict.fromkeys([*was.sets, *now.sets]):
            yield from _set(
                now, was.sets.get(name, Set(name)), now.sets.get(name, Set(name)), after
            )


def _by_name(ruleset: Ruleset) -> dict[tuple[str, str, str], Table]:
    return {(one.family, one.name, one.tool): one for one in ruleset.tables}


def _name(table: Table) -> str:
    legacy = "iptables-legacy " if table.tool == "iptables-legacy" else ""
    return f"{legacy}{show(str(table))}"


def _chain(
    before: Context, after: Context, was: Table, now: Table, one: Chain, other: Chain
) -> Iterator[str]:
    where = f"{_name(now)}, chain {show(one.name)}"
    if one.policy != other.policy and one.policy and other.policy:
        ends = {"accept": "accepted", "drop": "dropped"}
        yield (
            f"~ {where}: the policy was {one.policy.upper()} and is "
            f"{other.policy.upper()}: what no rule takes is "
            f"{ends.get(other.policy, other.policy)}"
        )
    was_at, is_at = f"{one.hook} {one.priority}", f"{other.hook} {other.priority}"
    if one.hook and other.hook and was_at != is_at:
        yield f"~ {where}: it was at {was_at} and is at {is_at}"
    mine, theirs = list(map(_meaning, one.rules)), list(map(_meaning, other.rules))
    gone, come = Counter(mine), Counter(theirs)
    kept = gone & come
    for rule in _left(one.rules, mine, Counter(kept)):
        yield from _rule("-", where, before, was, one, rule)
    for rule in _left(other.rules, theirs, Counter(kept)):
        yield from _rule("+", where, after, now, other, rule)
    for rule in _moved(other.rules, mine, theirs, kept):
        yield f"~ {where}: {rule.place} stands in another place than before"
        yield f"    {show(rule.text)}"


def _meaning(rule: Rule) -> Meaning:
    """What makes two rules the same."""
    matches = tuple(one.meaning if one.field else one for one in rule.matches)
    text = rule.text if rule.verdict.kind in ("other", "mark", "log") else ""
    return matches, rule.verdict, rule.comment, text


def _left(
    rules: Sequence[Rule], meanings: Sequence[Meaning], kept: Counter[Meaning]
) -> Iterator[Rule]:
    """The rules that are in one ruleset alone."""
    for rule, meaning in zip(rules, meanings):
        if kept[meaning]:
            kept[meaning] -= 1
        else:
            yield rule


def _moved(
    rules: Sequence[Rule],
    mine: Sequence[Meaning],
    theirs: Sequence[Meaning],
    kept: Counter[Meaning],
) -> list[Rule]:
    """The fewest kept rules that have to move to make the old order the new one."""
    places = {key: at for at, key in _counted(mine, kept)}
    found = [(places[key], rules[at]) for at, key in _counted(theirs, kept)]
    ends: list[int] = []  # of the longest runs that are in order, by their length
    lengths = []
    for place, _ in found:
        at = bisect_left(ends, place)
        ends[at : at + 1] = [place]
        lengths.append(at)
    need, moved = len(ends) - 1, []
    limit = len(mine)
    for (place, rule), length in zip(reversed(found), reversed(lengths)):
        if length == need and place < limit:
            need, limit = need - 1, place
        else:
            moved.append(rule)
    return moved[::-1]


def _counted(
    meanings: Sequence[Meaning], kept: Counter[Meaning]
) -> Iterator[tuple[int, tuple[Meaning, int]]]:
    """The places of the kept rules, each with its meaning and its number among the
    rules with the same meaning."""
    seen: Counter[Meaning] = Counter()
    for at, one in enumerate(meanings):
        if seen[one] < kept[one]:
            yield at, (one, seen[one])
            seen[one] += 1


def _rule(
    sign: str, where: str, known: Context, table: Table, chain: Chain, rule: Rule
) -> Iterator[str]:
    yield f"{sign} {where}, {rule.place}: {show(rule.text)}"
    maker = find_maker(known, table, chain, rule)
    yield f"    {show(sentence(chain, rule))} (made by {show(str(maker))})"


def _set(table: Table, old: Set, new: Set, known: Context) -> Iterator[str]:
    was = {(one.key, one.data): one for one in old.elements()}
    now = {(one.key, one.data): one for one in new.elements()}
    where = f"{_name(table)}, set {show(old.name)}"
    for sign, some, others in (("-", was, now), ("+", now, was)):
        for key, element in some.items():
            if key not in others:
                yield f"{sign} {where}: {known.describe(element)}"
