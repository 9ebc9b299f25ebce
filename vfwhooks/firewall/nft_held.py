"""The entries in nf_tables that are cut off, for `status`: the kernel holds them, and a
rule of ours that looks them up is missing. Pure.

The fingerprints of nft_jump tell how many rules each chain had, and has. Handles alone
do not: a ruleset that was saved and loaded again has others.
"""

from __future__ import annotations

from collections import Counter

from ..values.entries import Entry, Reject, SourceRanges, entry_family
from .nft_names import IN_LIBVIRTS

_REFUSING = ("input", "refuse", "refuse4", "refuse6")
_OF_ONE_FAMILY = ("publish", "refuse")
_OF_ONE_LIST = "allow_"


def lost_chains(noted: str, now: str) -> set[str]:
    """The chains that have fewer rules of ours than were noted."""
    after = _sizes(now)
    return {chain for chain, size in _sizes(noted).items() if after[chain] < size}


def _sizes(fingerprint: str) -> Counter[str]:
    return Counter(
        word.partition(":")[0] for word in fingerprint.split() if ":" in word
    )


def is_cut_off(entry: Entry, lost: set[str]) -> bool:
    """Whether an entry of our own table is cut off where these chains lack a rule."""
    other = "6" if entry_family(entry) == "4" else "4"
    some = lost - {name + other for name in _OF_ONE_FAMILY}
    if isinstance(entry, Reject):
        return not some.isdisjoint(_REFUSING)
    own = entry.chain if isinstance(entry, SourceRanges) else ""
    return any(
        chain == own or not chain.startswith(_OF_ONE_LIST)
        for chain in some.difference(_REFUSING)
    )


def is_unaccepted(lost: set[str]) -> bool:
    """Whether libvirt's table lacks a rule of our chain there, or the jump to this
    chain ahead of libvirt's own rules."""
    return not lost.isdisjoint({IN_LIBVIRTS, "forward"})
