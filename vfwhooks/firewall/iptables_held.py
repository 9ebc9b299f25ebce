"""What iptables holds of the wanted entries, for `status`: the connections so far, and
the entries that are cut off, since a rule of ours ahead of them is missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ..values.entries import (
    Accept,
    Entry,
    LoopbackBridge,
    Masquerade,
    Reject,
    ReturnMark,
    SourceRanges,
    entry_family,
)
from .entry_delta import Held
from .iptables_full_sync import count_connections, index_rules
from .iptables_rules import render, rules_of, sources_chain
from .iptables_script import FILTER, MANGLE, NAT, RAW, Chain, Chains
from .iptables_tools import Saved, texts

_IN = [(NAT, name) for name in ("PREROUTING", "OUTPUT")]
_PUBLISHED = [*_IN, *((NAT, f"VFW-{name}") for name in ("PREROUTING", "PUBLISH"))]
_LEAVING = [(NAT, name) for name in ("POSTROUTING", "VFW-POSTROUTING", "VFW-OUT")]
_REFUSED = [(FILTER, "INPUT"), (FILTER, "VFW-INPUT")]
_BACK = [(MANGLE, "PREROUTING"), (MANGLE, "VFW-BACK")]


def find_held(
    wanted: Mapping[Entry, str],
    recorded: Mapping[str, list[Entry]],
    family: str,
    saved: Saved,
    lost: set[Chain],
) -> Held:
    """The wanted entries of a family that are there. `recorded` are the entries in
    force of each owner, and `lost` the chains that lack a rule."""
    found = Held({}, set())
    index = index_rules(saved)
    lost = lost | _without_jump(recorded, family, saved)
    for entry, owner in wanted.items():
        count = count_connections(owner, entry, family, index)
        if entry_family(entry) == family and count is not None:
            found.connections[entry] = count
            places = [chain for chain, _ in rules_of(owner, entry, family)]
            if not lost.isdisjoint([*_passed_chains(entry), *places]):
                found.cut_off.add(entry)
    return found


def find_short(saved: Saved, tails: Chains) -> set[Chain]:
    """The chains that lack a rule of their tails."""
    return {
        chain
        for chain, tail in tails.items()
        if not set(tail) <= set(texts(saved.get(chain, [])))
    }


def _without_jump(
    recorded: Mapping[str, list[Entry]], family: str, saved: Saved
) -> set[Chain]:
    """The chains of owners to which a jump is missing."""
    known = {chain: set(texts(rules)) for chain, rules in saved.items()}
    found = set()
    for owner, entries in recorded.items():
        for chain, rules in render(owner, entries, family).shared.items():
            lost = set(rules) - known.get(chain, set())
            found |= {(chain[0], rule.rpartition(" -j ")[2]) for rule in lost}
    return found


def _passed_chains(entry: Entry) -> list[Chain]:
    """The chains that lead to an entry's own rules, or that its packets need later."""
    if isinstance(entry, Accept):
        return [(FILTER, "FORWARD")]
    if isinstance(entry, Reject):
        return _REFUSED
    if isinstance(entry, LoopbackBridge):
        return [(RAW, "PREROUTING"), *_LEAVING]
    if isinstance(entry, SourceRanges):
        return [*_PUBLISHED, (NAT, sources_chain(entry.chain))]
    if isinstance(entry, Masquerade):
        return [*_PUBLISHED, *_LEAVING]
    if isinstance(entry, ReturnMark):
        return [*_PUBLISHED, *_BACK]
    return _PUBLISHED if hasattr(entry, "published") else _LEAVING
