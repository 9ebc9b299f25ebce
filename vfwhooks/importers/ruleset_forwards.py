"""The DNAT rules of a ruleset (iptables-save, nft, ufw's before.rules, or of this host)
as imported forwards. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..rulesets.context import Context, Names, all_targets
from ..rulesets.ruleset import Chain, Match, Rule, Ruleset, Table
from ..rulesets.ruleset_reader import read_ruleset
from .carried_rule import carried, is_for_new
from .imported import Found, Imported, Left, Origin
from .narrow_accepts import Accepts
from .packets_apart import Conditions, Taken, are_apart

_DEEPEST = 16
_MOST_RULES = 200_000
_STOPS = ("accept", "drop", "return", "reject", "queue")
_LEADING = ("dnat", "redirect")
_OURS = "vfwhooks"
Stop = tuple[Conditions, str]  # whoever meets them goes no further, and where that is
Stops = tuple[Stop, ...]
Leading = tuple[Table, Chain, Rule, "list[Imported | Left]"]


def read_rules(text: str, name: str) -> Found:
    """All DNAT rules of a saved ruleset, and the lines that cannot be read."""
    ruleset = read_ruleset(text, name)
    found = Found()
    walks = _walked(ruleset, name, text)
    known = {_essence(one) for one in walks["prerouting"].found if _essence(one)}
    accepts = _accepts(ruleset, walks["prerouting"])
    for one in walks["prerouting"].found:
        found.take(accepts.checked(_with_way_out(one, ruleset)))
    places = {one.origin for one in walks["prerouting"].found}
    for one in walks["output"].found:
        if one.origin not in places and _essence(one) not in known:
            why = "it is for connections of this host's own programs alone"
            found.take(Left(one.origin, why))
    for problem in ruleset.problems:
        where = f"{name}:{problem.line}:1" if problem.line else name
        found.take(Left(Origin(where, problem.text), problem.why))
    return found


def find_leading(ruleset: Ruleset, text: str) -> Iterator[Leading]:
    """Every DNAT rule of a live ruleset that a new connection may meet, in each way to
    it, with what it is as a forward."""
    for walk in _walked(ruleset, "", text).values():
        yield from walk.leading


def _walked(ruleset: Ruleset, name: str, text: str) -> dict[str, _Walk]:
    walks = {hook: _Walk(name, text.split("\n")) for hook in ("prerouting", "output")}
    for hook, walk in walks.items():
        for table, chain in _bases(ruleset, hook):
            walk.chain(table, chain, (), (), 0)
    return walks


def _accepts(ruleset: Ruleset, walk: _Walk) -> Accepts:
    """What lets packets through to guests, without ours."""
    accepts, context = Accepts(), Context(ruleset, Names())
    for table, chain, rule in ruleset.rules():
        if table.name != _OURS and "forward" in context.hooks_of(table, chain):
            accepts.add(rule, walk.where(table, chain, rule))
    return accepts


def _bases(ruleset: Ruleset, hook: str) -> list[tuple[Table, Chain]]:
    """The chains that new connections pass, in the kernel's order."""
    found = [
        (table, chain)
        for table in ruleset.tables
        for chain in table.chains.values()
        if table.name != _OURS and _is_base(table, chain, hook)
    ]
    return sorted(found, key=lambda one: one[1].priority)


def _is_base(table: Table, chain: Chain, hook: str) -> bool:
    is_iptables = table.tool != "nft" and table.name == "nat"
    if is_iptables and chain.name == hook.upper():
        return True  # ufw's files may leave its policy out
    return chain.hook == hook and chain.kind == "nat"


class _Walk:
    """From a base chain on, with the conditions on the way."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.leading: list[Leading] = []
        self._name = name
        self._lines = lines
        self._left = _MOST_RULES
        self._taken = Taken()

    @property
    def found(self) -> Iterator[Imported | Left]:
        """What the rules are as forwards."""
        for _, _, _, some in self.leading:
            yield from some

    def chain(
        self, table: Table, chain: Chain, above: Conditions, stops: Stops, depth: int
    ) -> Stops:
        """Read a chain. Returns what ends there for good, under which conditions."""
        ahead = list(stops)
        ends: list[Stop] = []
        for rule in chain.rules:
            self._left -= 1
            kind = rule.verdict.kind
            if self._left < 0 or depth > _DEEPEST or _is_ours(rule):
                continue
            where = self.where(table, chain, rule)
            way = (*above, *rule.matches)
            if kind in _LEADING or rule.verdict.target.startswith("NETMAP"):
                origin = Origin(where, self._text(rule))
                found = self._lead(table, rule, above, ahead, origin)
                self.leading.append((table, chain, rule, found))
                is_left = any(isinstance(one, Left) for one in found)
                if is_left and all(map(is_for_new, way)):
                    self._taken.add(table, rule, way, where)
            elif kind in ("jump", "goto", "vmap"):
                unsure = (_unknown(rule),) if kind == "vmap" else ()
                for target in all_targets(table, rule):
                    if target in table.chains:
                        below = table.chains[target]
                        more = self.chain(
                            table, below, way + unsure, tuple(ahead), depth + 1
                        )
                        ahead += more
                        ends += more
            if kind in _STOPS or kind == "goto":
                ahead.append((way, where))
                if kind in _STOPS and kind != "return":
                    ends.append((way, where))
        return tuple(ends)

    def _lead(
        self,
        table: Table,
        rule: Rule,
        above: Conditions,
        ahead: list[Stop],
        origin: Origin,
    ) -> list[Imported | Left]:
        way = (*above, *rule.matches)
        for conditions, where in ahead:
            if not are_apart(conditions, way):
                why = f"{where}, ahead of it, lets some of its packets by"
                return [Left(origin, why)]
        where = self._taken.find(table, rule, way)
        if where:
            why = f"{where}, ahead of it, takes some of its packets"
            return [Left(origin, why)]
        return carried(above, rule, table, origin)

    def where(self, table: Table, chain: Chain, rule: Rule) -> str:
        """The place of a rule in the source."""
        word, _, number = rule.place.partition(" ")
        if word == "line":
            line = "".join(self._lines[int(number) - 1 : int(number)])
            return f"{self._name}:{number}:{len(line) - len(line.lstrip()) + 1}"
        whose = f"{self._name}: " if self._name else ""
        return f"{whose}{table} {chain.name} {rule.place}"

    def _text(self, rule: Rule) -> str:
        word, _, number = rule.place.partition(" ")
        if word != "line":
            return rule.text
        return "".join(self._lines[int(number) - 1 : int(number)]).strip()


def _is_ours(rule: Rule) -> bool:
    return rule.verdict.target.startswith("VFW-")


def _unknown(rule: Rule) -> Match:
    return Match("", (), False, rule.text)


def _essence(one: Imported | Left) -> tuple[object, ...]:
    """What a forward does, wherever it stands."""
    if isinstance(one, Left):
        return ()
    return one.address, one.published, one.target, one.protocols, one.host_ips


def _with_way_out(one: Imported | Left, ruleset: Ruleset) -> Imported | Left:
    """A whole address, also as that of the guest's own connections, if the guest's
    are translated to it."""
    if isinstance(one, Left) or one.published:
        return one
    is_outgoing = any(
        one.address in rule.values("saddr") for rule in _snats(ruleset, one)
    )
    return replace(one, is_outgoing=is_outgoing)


def _snats(ruleset: Ruleset, one: Imported) -> Iterator[Rule]:
    for _, _, rule in ruleset.rules():
        if rule.verdict.kind == "snat" and rule.verdict.target in one.host_ips:
            yield rule
