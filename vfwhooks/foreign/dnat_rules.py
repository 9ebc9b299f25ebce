"""Foreign DNAT and REDIRECT rules: what a rule takes, and through which chains packets
reach it. Pure.

Only plain conditions are understood: addresses, protocols, ports and lists of ports,
`fib daddr type local` and its like. An interface or a source limits a claim, and the
claim says so. A rule with any other condition, a map or a set becomes a doubt and is
never guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from ..values.protocols import PROTOCOLS
from ..values.published import Subnet

Hosts = tuple[tuple[bool, Subnet], ...]
T = TypeVar("T")
LAST = 65535
DNAT, JUMP, STOP, END, MAYBE = "dnat", "jump", "stop", "end", "maybe"
_DEEPEST = 20
_MOST_RULES = 50_000
Span = tuple[int, int]
_ANY_PORT: tuple[Span, ...] = ((0, LAST),)


class Match(NamedTuple):
    """The conditions for a packet to this host: families ("4", "6" or "46"), protocols,
    destination ports, and addresses (each pair: whether it is negated, and the subnet).
    If `is_unknown`, some conditions are not understood. `limits` are, in words, the
    conditions about anything but addresses and ports of the host."""

    families: str = "46"
    protocols: tuple[str, ...] = PROTOCOLS
    ports: tuple[Span, ...] = _ANY_PORT
    hosts: Hosts = ()
    limits: tuple[str, ...] = ()
    is_unknown: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether every packet of the families matches."""
        return self == Match(families=self.families)

    def also(self, other: Match) -> Match | None:
        """Both matches at once; None if no packet can meet both."""
        families = self.families
        if other.families not in (families, "46"):
            families = "".join(one for one in families if one in other.families)
        protocols = self.protocols
        if other.protocols not in (protocols, PROTOCOLS):
            protocols = tuple(one for one in protocols if one in other.protocols)
        ports = (
            self.ports if other.ports == _ANY_PORT else _both(self.ports, other.ports)
        )
        if not families or not protocols or not ports:
            return None
        return Match(
            families,
            protocols,
            ports,
            _joined(self.hosts, other.hosts),
            _joined(self.limits, other.limits),
            self.is_unknown or other.is_unknown,
        )


@dataclass(frozen=True)
class Rule:
    """One rule: its match and its verdict. Verdicts: '' (irrelevant), DNAT (`target` is
    DNAT or REDIRECT), JUMP to the chain `target`, STOP (of this chain no later rule is
    reached), END (of any chain), or MAYBE (one of these verdicts, perhaps a jump to one
    of the chains `targets`)."""

    match: Match
    verdict: str
    target: str = ""
    targets: tuple[str, ...] = ()


Chains = Mapping[str, Sequence[Rule]]


@dataclass(frozen=True)
class Taken:
    """The packets that one rule takes. `number` is the position, in the base chain, of
    the rule that leads there; `path` are the chains on the way; `kind` is DNAT or
    REDIRECT. If `what` is unknown, the rule may or may not take them."""

    number: int
    path: tuple[str, ...]
    what: Match
    kind: str


def find_taken(
    chains: Chains, base: str, is_ours: Callable[[Match], bool]
) -> list[Taken]:
    """Everything that rules from the base chain on take, in the kernel's order.
    `is_ours` tells whether a match can mean packets for this host."""
    found: list[Taken] = []
    ended: list[Match] = []  # in the chains that the base chain leads to
    for one in _Walk(chains, is_ours).chain(base, Match(), (base,), None, 0):
        if one.kind != END:
            found += _without(one, ended)
        elif len(one.path) > 1 and not (one.what.limits or one.what.is_unknown):
            ended.append(one.what)
    return found


class _Gone:
    """What does not get to the later rules of a chain: all of that, and what goes
    `back` to the chain that led here. If not `is_sure`, more may go back."""

    def __init__(self) -> None:
        self._all: list[Match] = []
        self._back: list[Match] = []
        self._is_sure = True

    def add(self, rule: Rule) -> None:
        """The next rule stops, ends, or may do so."""
        match = rule.match
        is_known = not match.limits and not match.is_unknown and rule.verdict != MAYBE
        self._all += [match] * is_known
        if rule.verdict != END:
            self._back += [match] * is_known
            self._is_sure = self._is_sure and is_known and not match.hosts

    def left(self, one: Taken) -> Iterator[Taken]:
        """The parts that do get there."""
        if one.kind != END:
            yield from _without(one, self._all)
        elif self._is_sure:
            yield from _without(one, self._back)


class _Walk:
    def __init__(self, chains: Chains, is_ours: Callable[[Match], bool]) -> None:
        self._chains = chains
        self._is_ours = is_ours
        self._left = _MOST_RULES

    def chain(
        self,
        name: str,
        so_far: Match,
        path: tuple[str, ...],
        number: int | None,
        depth: int,
    ) -> Iterator[Taken]:
        gone = _Gone()
        for at, rule in enumerate(self._chains.get(name, ())):
            self._left -= 1
            here = at if number is None else number
            if self._left < 0 or depth > _DEEPEST:
                yield Taken(here, path, so_far._replace(is_unknown=True), "")
                return
            both = so_far.also(rule.match)
            if not rule.verdict or both is None or not self._is_ours(both):
                continue
            for one in self._rule(rule, both, path, here, depth):
                yield from gone.left(one)
            if rule.verdict in (STOP, END) and rule.match.is_everything:
                return
            if rule.verdict in (STOP, END, MAYBE):
                gone.add(rule)

    def _rule(
        self, rule: Rule, both: Match, path: tuple[str, ...], here: int, depth: int
    ) -> Iterator[Taken]:
        if rule.verdict in (DNAT, END):
            yield Taken(here, path, both, rule.target or END)
        elif rule.verdict == JUMP:
            way = (*path, rule.target)
            yield from self.chain(rule.target, both, way, here, depth + 1)
        elif rule.verdict == MAYBE and rule.targets:
            unsure = both._replace(is_unknown=True)
            for to in rule.targets:
                yield from self.chain(to, unsure, (*path, to), here, depth + 1)
        elif rule.verdict == MAYBE:
            yield Taken(here, path, both._replace(is_unknown=True), "")


def _without(one: Taken, stopped: list[Match]) -> Iterator[Taken]:
    """The parts that are left behind rules which let ports go by."""
    parts = [one.what]
    for other in stopped:
        rest = []
        for part in parts:
            rest += _minus(part, other)
        parts = rest
    for part in parts:
        yield replace(one, what=part)


def _minus(part: Match, other: Match) -> list[Match]:
    """The rest of a part; the whole part if the other match is for some addresses
    only."""
    both = part.also(other)
    if both is None or (other.hosts and other.hosts != part.hosts):
        return [part]
    families = "".join(one for one in part.families if one not in both.families)
    protocols = tuple(one for one in part.protocols if one not in both.protocols)
    left = [
        part._replace(families=families),
        part._replace(families=both.families, protocols=protocols),
        both._replace(ports=_both(part.ports, outside(other.ports))),
    ]
    return [one for one in left if one.families and one.protocols and one.ports]


def _joined(some: tuple[T, ...], others: tuple[T, ...]) -> tuple[T, ...]:
    if not some or not others:
        return some or others
    return tuple(dict.fromkeys(some + others))


def _both(some: tuple[Span, ...], others: tuple[Span, ...]) -> tuple[Span, ...]:
    found = []
    for first, last in some:
        for other_first, other_last in others:
            low, high = max(first, other_first), min(last, other_last)
            if low <= high:
                found.append((low, high))
    return tuple(sorted(found))


def outside(spans: Sequence[Span]) -> tuple[Span, ...]:
    """All other ports."""
    found, first = [], 0
    for low, high in sorted(spans):
        if first < low:
            found.append((first, low - 1))
        first = max(first, high + 1)
    if first <= LAST:
        found.append((first, LAST))
    return tuple(found)
