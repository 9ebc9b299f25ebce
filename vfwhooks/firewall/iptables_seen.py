"""Our rules in iptables' nft variant as far as netlink shows them, for tables that
iptables-save cannot read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..host.netlink import Netlink, named
from ..values.entries import Entry
from .iptables_jumps import JUMPS
from .iptables_nft import comments, delete_rules, list_chain_names, list_rules
from .iptables_rules import render
from .iptables_script import FILTER, MANGLE, NAT, RAW, Chain, Chains, Rules
from .iptables_tools import Saved, is_ours

_JUMPS: Chains = {
    chain: [jump for where, jump in JUMPS if where == chain] for chain, _ in JUMPS
}


def list_seen(
    link: Netlink, family: str, owners: Mapping[str, list[Entry]], tails: Chains
) -> Saved:
    """Our chains, and the base chains that have our jumps, without counters.

    The rules of an owner, and a tail, are taken as there if there are as many as there
    should be. Of a base chain our jumps and libvirt's are seen; '' stands for every
    other rule.
    """
    made = {owner: render(owner, some, family) for owner, some in owners.items()}
    own = {chain: some for one in made.values() for chain, some in one.own.items()}
    found: Saved = {}
    for table in (FILTER, NAT, RAW, MANGLE):
        for name in list_chain_names(link, family, table):
            chain = table, name
            if chain not in _JUMPS and not is_ours(chain):
                continue
            rules = list_rules(link, family, chain)
            if chain in _JUMPS:
                texts = _base_chain(rules, _JUMPS[chain])
            elif chain in own:
                texts = own[chain] if len(own[chain]) == len(rules) else []
            else:
                texts = _shared(chain, rules, made, tails.get(chain, []))
            found[chain] = [("", text) for text in texts]
    return found


def take_out_jumps(link: Netlink, family: str, chains: Iterable[Chain]) -> None:
    """Delete our jumps in these base chains: iptables finds none behind a rule that it
    cannot read."""
    for chain in chains:
        rules = list_rules(link, family, chain)
        ours = [rule for rule in rules if any(_leads(rule, j) for j in _JUMPS[chain])]
        delete_rules(link, family, chain, ours)


def _leads(rule: bytes, jump: str) -> bool:
    """Whether a rule leads where the jump does."""
    return named(2, jump.rpartition(" ")[2]) in rule


def _base_chain(rules: list[bytes], jumps: list[str]) -> list[str]:
    left = list(jumps)
    found = []
    for rule in rules:
        jump = next((one for one in left if _leads(rule, one)), "")
        if jump:
            left.remove(jump)
        found.append(jump or "-j LIBVIRT_" * (b"LIBVIRT_" in rule))
    return found


def _shared(
    chain: Chain, rules: list[bytes], made: Mapping[str, Rules], tail: list[str]
) -> list[str]:
    named_in = [comments(rule) for rule in rules]
    counts = Counter(comment for some in named_in for comment in some)
    found: list[str] = []
    for owner, one in made.items():
        some = one.shared.get(chain, [])
        found += some if counts[owner.encode() + b"\0"] == len(some) else []
    return found + (tail if named_in.count(set()) == len(tail) else [])
