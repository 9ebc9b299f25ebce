"""The parser for the table nat from iptables-save, into rules of dnat_rules. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..firewall.iptables_script import NAT
from ..rulesets.save_reader import read_save
from .dnat_conditions import convert
from .dnat_rules import MAYBE, Chains, Match, Rule

PREROUTING = "PREROUTING"
_OURS = "VFW-"


def parse_nat(text: str, family: str) -> dict[str, list[Rule]]:
    """The chains of the table nat with their rules; `family` is 4 or 6."""
    read = read_save(enumerate(text.split("\n"), 1))
    found: dict[str, list[Rule]] = {}
    for table in read.tables:
        for chain in table.chains.values() if table.name == NAT else ():
            is_ours = chain.name.startswith(_OURS)
            rules = [convert(rule, family) for rule in chain.rules if not is_ours]
            found.setdefault(chain.name, []).extend(
                one for some in rules for one in some
            )
    for problem in read.problems:  # first: whatever stands ahead does not hide it
        words = problem.text.split(" ")
        for name in words[1:2] if words[0] == "-A" else ():
            unknown = Rule(Match(families=family, is_unknown=True), MAYBE)
            found.get(name, []).insert(0, unknown)
    return found


def place_of_ours(chains: Chains) -> int:
    """The number of our own jump; if there is none yet, the number of rules, since our
    jump comes last."""
    rules = chains.get(PREROUTING, ())
    places = [n for n, rule in enumerate(rules) if rule.target.startswith(_OURS)]
    return places[0] if places else len(rules)


def owner_of(path: Sequence[str], tool: str) -> str:
    """The owner of a rule, by the chains on the way to it."""
    chain = f"{tool} nat {path[-1]}"
    if "DOCKER" in path:
        return f"Docker ({chain})"
    if any(name.startswith("CNI-HOSTPORT-") for name in path):
        return f"CNI hostport ({chain})"
    return chain
