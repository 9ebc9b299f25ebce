"""Very many rules, in portions that iptables-restore is done with in time: first what
fills chains that nothing leads to yet, last what drops those that nothing leads to any
more. What is done stays done, also where somebody else has to go on with it."""

from __future__ import annotations

from .iptables_script import Chain, Chains, Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .iptables_tools import Saved

    Restore = Callable[[Script], None]

# Rules for one run of the tool, which has 3 s: on a busy machine it has taken longer
# for 65,000.
_MOST = 20_000


def fill_unseen(chains: Chains, saved: Saved, restore: Restore) -> Chains:
    """Fill the chains that are missing, and that no packet gets to yet, if their rules
    are many; the chains that are left."""
    missing = [c for c in chains if c not in saved and _is_of_one(c)]
    missing.sort(key=_is_sources, reverse=True)  # the others lead there
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
    """Have the script drop the chains, or others behind it if their rules are many."""
    order = sorted(gone, key=_is_sources)  # the others lead there
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
    """Whether the chain is one guest's, or one list of sources'."""
    return chain[1][4:6] in ("A-", "B-", "C-", "R-", "S-")


def _is_sources(chain: Chain) -> bool:
    return chain[1].startswith("VFW-S-")
