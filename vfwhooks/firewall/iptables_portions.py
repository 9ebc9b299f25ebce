"""Scripts for very many rules, in portions that iptables-restore can finish in time.

The first portions fill chains that no rule leads to yet. The last ones drop chains that
no rule leads to any more. A finished portion stays, also if another sync must go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .iptables_script import Chain, Chains, Script
from .iptables_tools import Saved

Restore = Callable[[Script], None]

# The most rules for one run of the tool, which may take 3 s. For 65,000 rules a busy
# machine has taken longer.
_MOST = 20_000


def fill_unseen(chains: Chains, saved: Saved, restore: Restore) -> Chains:
    """Fill the missing chains, which no packet reaches yet, if they have many rules.
    Returns the chains that are left."""
    missing = [c for c in chains if c not in saved and _is_of_one(c)]
    missing.sort(key=_is_sources, reverse=True)  # the other chains lead there
    some = list(_portions(missing, {chain: len(chains[chain]) for chain in missing}))
    if len(some) < 2:
        return chains
    for portion in some:
        script = Script()
        for chain in portion:
            script.fill(chain, [("", rule) for rule in chains[chain]])
        restore(script)
    done = set(missing)
    return {chain: rules for chain, rules in chains.items() if chain not in done}


def drop(script: Script, gone: Iterable[Chain], saved: Saved) -> list[Script]:
    """Add the drop of the chains to the script, or to more scripts if they have many
    rules."""
    order = sorted(gone, key=_is_sources)  # the other chains lead there
    some = list(_portions(order, {chain: len(saved[chain]) for chain in order}))
    if len(some) < 2:
        script.drop(order)
        return [script]
    found = [Script() for _ in some]
    for rest, portion in zip(found, some):
        rest.drop(portion)
    return [script, *found]


def _portions(chains: list[Chain], sizes: dict[Chain, int]) -> Iterable[list[Chain]]:
    portion: list[Chain] = []
    room = _MOST
    for chain in chains:
        if portion and sizes[chain] > room:
            yield portion
            portion, room = [], _MOST
        portion.append(chain)
        room -= sizes[chain]
    if portion:
        yield portion


def _is_of_one(chain: Chain) -> bool:
    """Whether the chain belongs to one guest, or to one list of source ranges."""
    return chain[1][4:6] in ("A-", "B-", "C-", "R-", "S-")


def _is_sources(chain: Chain) -> bool:
    return chain[1].startswith("VFW-S-")
