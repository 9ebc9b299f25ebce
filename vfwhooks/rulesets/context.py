"""What has to be known of a ruleset as a whole to tell what one rule is for: which
hooks lead to a chain, who refuses what, which bridge a subnet is behind. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..values.errors import show
from .ruleset import REFUSING, Chain, Element, Match, Rule, Ruleset, Table

_VIRBR = re.compile(r"virbr\d+")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_MOST = 16  # refusals that are compared with a rule: the time stays linear
_JUMPS = "jump", "goto"


@dataclass(frozen=True)
class Names:
    """What the host knows and a ruleset does not: the network behind each bridge, and
    the guest of each UUID."""

    networks: Mapping[str, str] = field(default_factory=dict)
    guests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """A rule, or a policy, that refuses packets."""

    table: Table
    chain: Chain
    at: int  # in its chain; a policy stands behind all rules
    matches: tuple[Match, ...]
    text: str


class Context:
    """What has to be known of a ruleset, found once."""

    def __init__(self, ruleset: Ruleset, names: Names) -> None:
        self.ruleset = ruleset
        self.names = names
        self.hooks: dict[tuple[int, str], set[str]] = {}
        self.bridges: dict[str, str] = {}  # by subnet
        self.owners: dict[str, str] = {}  # of chains of ours, by the chain
        self.defaults: set[tuple[int, str]] = set()  # chains of the distribution's
        self._refusals: dict[tuple[str, str], list[Refusal]] = {}
        for table in ruleset.tables:
            for chain in table.chains.values():
                if chain.hook:
                    self._reach(table, chain)
        for table, chain, rule in ruleset.rules():
            self._learn(table, chain, rule)
        for table in ruleset.tables:
            for chain in table.chains.values():
                self._note_refusals(table, chain)

    def hooks_of(self, table: Table, chain: Chain) -> set[str]:
        """The hooks by which a packet gets to the chain."""
        return self.hooks.get((id(table), chain.name), set())

    def is_libvirts(self, bridge: str) -> bool:
        """Whether it is a bridge that libvirt makes, or is known to be one."""
        return bool(_VIRBR.fullmatch(bridge)) or bridge in self.names.networks

    def network(self, bridge: str) -> str:
        """The network behind a bridge, in words."""
        name = self.names.networks.get(bridge)
        return f"the network {name} ({bridge})" if name else f"the network of {bridge}"

    def owner(self, comment: str) -> str:
        """The guest, or the network, that a comment of ours names; '' for none."""
        if comment in self.names.guests:
            return f"the guest {self.names.guests[comment]}"
        if _UUID.fullmatch(comment):
            return f"the guest with the UUID {comment}"
        return self.network(comment) if self.is_libvirts(comment) else ""

    def describe(self, element: Element) -> str:
        """An element of a set or a map, and its owner, for a terminal."""
        to = f" → {element.data}" if element.data else ""
        owner = self.owner(element.comment)
        whom = f", for {owner}" if owner else ""
        return show(" . ".join(element.key) + to + whom)

    def refusal(self, table: Table, chain: Chain, at: int) -> tuple[str, bool]:
        """What refuses the packets of the rule at this place if the rule is not there,
        and whether all of them; '' for nothing."""
        rule, found = chain.rules[at], ""
        asked = {match.meaning for match in rule.matches}
        for hook in sorted(self.hooks_of(table, chain)):
            for one in self._refusals.get((table.family, hook), []):
                is_before = one.chain is chain and one.at <= at
                if is_before or _are_apart(one.matches, rule.matches):
                    continue
                if all(match.meaning in asked for match in one.matches):
                    return one.text, True
                found = found or one.text
        return found, False

    def _reach(self, table: Table, base: Chain) -> None:
        ahead = [base.name]
        while ahead:
            name = ahead.pop()
            hooks = self.hooks.setdefault((id(table), name), set())
            if base.hook in hooks:
                continue
            hooks.add(base.hook)
            for rule in table.chains[name].rules if name in table.chains else ():
                ahead += all_targets(table, rule)

    def _learn(self, table: Table, chain: Chain, rule: Rule) -> None:
        found = {m.field: m.values[0] for m in rule.matches if m.field and not m.is_not}
        for address, device in (("saddr", "in"), ("daddr", "out")):
            if address in found and self.is_libvirts(found.get(device, "")):
                self.bridges.setdefault(found[address], found[device])
        if rule.comment and rule.verdict.target.startswith("VFW-"):
            self.owners[rule.verdict.target] = rule.comment
        if rule.verdict == ("reject", "host-prohibited", ""):
            self.defaults.add((id(table), chain.name))

    def _note_refusals(self, table: Table, chain: Chain) -> None:
        found = [
            Refusal(table, chain, at, rule.matches, _refuses(chain, rule))
            for at, rule in enumerate(chain.rules)
            if rule.verdict.kind in REFUSING and len(rule.matches) < 3
        ][-_MOST:]
        if chain.policy == "drop":
            text = f"the policy of {table} {chain.name} drops"
            found.append(Refusal(table, chain, len(chain.rules), (), text))
        for hook in self.hooks_of(table, chain) if found else ():
            families = [table.family]
            families += ["ip", "ip6"] if table.family == "inet" else []
            for family in families:
                self._refusals.setdefault((family, hook), []).extend(found)


def targets(rule: Rule) -> Iterator[str]:
    """The chains that a rule names."""
    if rule.verdict.kind in _JUMPS:
        yield rule.verdict.target
    elif rule.verdict.kind == "vmap":
        yield from re.findall(r"(?:jump|goto) (\S+?)[,\s}]", rule.verdict.target)


def all_targets(table: Table, rule: Rule) -> Iterator[str]:
    """The chains that a rule may lead to, by a map of the table too."""
    yield from targets(rule)
    one = table.sets.get(rule.verdict.target[1:])
    if one and rule.verdict.kind == "vmap":
        ways = (element.data.split() for element in one.elements())
        yield from dict.fromkeys(w[1] for w in ways if len(w) == 2 and w[0] in _JUMPS)


def _refuses(chain: Chain, rule: Rule) -> str:
    verb = "drops" if rule.verdict.kind == "drop" else "rejects"
    return f"{rule.place} of the chain {chain.name} {verb}"


def _are_apart(one: tuple[Match, ...], other: tuple[Match, ...]) -> bool:
    """Whether no packet meets both, as far as can be seen."""
    for first in one:
        for second in other:
            if first.field and first.field == second.field:
                is_plain = not first.is_not and not second.is_not
                is_exact = first.field not in ("saddr", "daddr", "dport", "sport")
                if is_plain and is_exact and not set(first.values) & set(second.values):
                    return True
    return False
