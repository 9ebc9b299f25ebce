"""A ruleset told to a person, rule by rule in the order in which a packet meets them:
its maker, what it does, why, and what is lost with it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..values.errors import show
from .context import Context, Names, all_targets
from .makers import Maker, find_maker
from .purposes import find_purpose
from .ruleset import ENDING, HOOKS, Chain, Match, Rule, Ruleset, Table
from .sentences import sentence

Makers = dict[tuple[int, str], list[Maker]]
_MOST_HELD = 20  # elements of a set that are told one by one
_WAYS = {
    "ingress": "before anything else, as the packet comes in",
    "prerouting": "before routing: every packet that comes in",
    "input": "packets to the host itself",
    "forward": "packets that the host passes on",
    "output": "packets from the host itself",
    "postrouting": "after routing: every packet that leaves",
    "egress": "at the very end, as the packet leaves",
}


def tell(ruleset: Ruleset, names: Names) -> Iterator[str]:
    """The lines about all of it."""
    known = Context(ruleset, names)
    makers = _find_makers(known)
    yield from _summary(makers)
    for problem in ruleset.problems:
        where = f"line {problem.line}: " if problem.line else ""
        yield f"not read: {where}{show(problem.text[:80])}: {problem.why}"
    told: set[tuple[int, str]] = set()
    for hook in HOOKS:
        for table, chain in _in_order(ruleset, hook):
            yield from _chain(known, table, chain, makers, told)
    for table in ruleset.tables:
        for chain in table.chains.values():
            yield from _chain(known, table, chain, makers, told)


def _in_order(ruleset: Ruleset, hook: str) -> list[tuple[Table, Chain]]:
    families = tuple({table.family for table in ruleset.tables})
    return ruleset.base_chains(hook, families)


def _summary(makers: Makers) -> Iterator[str]:
    numbers = Counter(one.program for some in makers.values() for one in some)
    count = sum(numbers.values())
    yield f"{count} rule{'' if count == 1 else 's'}"
    for program, number in numbers.most_common():
        yield f"  {number} of {program}"


def _find_makers(known: Context) -> Makers:
    found: Makers = {}
    for table in known.ruleset.tables:
        for chain in table.chains.values():
            found[id(table), chain.name] = [
                find_maker(known, table, chain, rule) for rule in chain.rules
            ]
    return found


def _chain(
    known: Context,
    table: Table,
    chain: Chain,
    makers: Makers,
    told: set[tuple[int, str]],
) -> Iterator[str]:
    """A chain and those that it leads to, each told once."""
    ahead = [chain]
    while ahead:
        one = ahead.pop()
        if (id(table), one.name) in told:
            continue
        told.add((id(table), one.name))
        if one.rules or (one.hook and one.policy == "drop"):
            yield ""
            yield _head(known, table, one)
            yield from _rules(known, table, one, makers[id(table), one.name])
        names = dict.fromkeys(
            name for rule in one.rules for name in all_targets(table, rule)
        )
        ahead += [
            table.chains[name] for name in reversed(names) if name in table.chains
        ]


def _head(known: Context, table: Table, chain: Chain) -> str:
    name = f"{show(str(table))}, chain {show(chain.name)}"
    if table.tool == "iptables-legacy":
        name = f"iptables-legacy {name}"
    if chain.hook:
        way = _WAYS.get(chain.hook, chain.hook)
        return f"{name} ({way}; policy {chain.policy.upper()})"
    hooks = [hook for hook in HOOKS if hook in known.hooks_of(table, chain)]
    return (
        f"{name} (by {', '.join(hooks)})" if hooks else f"{name} (no rule leads here)"
    )


def _rules(
    known: Context, table: Table, chain: Chain, makers: list[Maker]
) -> Iterator[str]:
    dead: dict[frozenset[Match], str] = {}
    for at, rule in enumerate(chain.rules):
        maker = makers[at]
        purpose = find_purpose(known, table, chain, at, maker)
        yield f"  {rule.place}: {show(rule.text)}"
        yield f"    made by: {show(str(maker))}"
        yield f"    does:    {show(sentence(chain, rule))}"
        yield f"    why:     {show(purpose.why)}"
        yield f"    if lost: {show(purpose.lost)}"
        yield from _held(known, table, rule)
        for note in purpose.notes:
            yield f"    note:    {show(note)}"
        for first in _covering(dead, rule.matches):
            yield f"    note:    No packet gets here: {first} takes all of them."
        if rule.verdict.kind in ENDING and all(one.field for one in rule.matches):
            dead.setdefault(frozenset(one.meaning for one in rule.matches), rule.place)


def _held(known: Context, table: Table, rule: Rule) -> Iterator[str]:
    """What is in the sets and maps that the rule looks things up in."""
    names = [value for match in rule.matches for value in match.values]
    for name in (*names, rule.verdict.target):
        one = table.sets.get(name[1:]) if name[:1] == "@" else None
        elements = list(one.elements()) if one else []
        for element in elements[:_MOST_HELD]:
            yield f"    holds:   {known.describe(element)}"
        if len(elements) > _MOST_HELD:
            yield f"    holds:   … and {len(elements) - _MOST_HELD} more"


def _covering(
    dead: dict[frozenset[Match], str], matches: tuple[Match, ...]
) -> list[str]:
    """The rule above that ends the way of every packet that these match."""
    some = [one.meaning for one in matches[:6]]
    for bits in range(1 << len(some)) if dead else ():
        subset = frozenset(one for n, one in enumerate(some) if bits >> n & 1)
        if subset in dead:
            return [dead[subset]]
    return []
