"""The parser for the table nat of iptables, into rules of dnat_rules. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..firewall.iptables_script import NAT
from ..firewall.iptables_tools import COMMANDS
from ..rulesets.nft_json_reader import read_nft_json
from ..rulesets.ruleset import Ruleset
from ..rulesets.ruleset_reader import settle
from ..rulesets.save_reader import TOOL_MARK, read_save
from .dnat_conditions import convert
from .dnat_rules import MAYBE, Chains, Match, Rule
from .named_rules import Place, left

PREROUTING = "PREROUTING"
_OURS = "VFW-"


def parse_nat(
    text: str,
    family: str,
    listed: str = "",
    tool: str = "iptables",
    gone: Collection[Place] = (),
) -> dict[str, list[Rule]]:
    """The chains of the table nat with their rules, but those at these places; `family`
    is 4 or 6. `text` is what iptables-save prints, `listed` what `nft -j` lists of the
    same table: each leaves out what the other's rules have. Raises ValueError for what
    nft does not list."""
    read = read_nft_json(listed) if listed else Ruleset()
    for problem in read.problems:
        raise ValueError(problem.why)
    head = f"{TOOL_MARK}{tool}", f"# {COMMANDS[family]}-save"
    read.join(read_save(enumerate([*head, *text.split("\n")])))
    settle(read)
    found: dict[str, list[Rule]] = {}
    for table in read.tables:
        for chain in table.chains.values() if table.name == NAT else ():
            is_ours = chain.name.startswith(_OURS)
            rules = found.setdefault(chain.name, [])
            for rule in () if is_ours else left(table, chain, gone):
                rules += convert(rule, family)
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
