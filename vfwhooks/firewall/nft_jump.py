"""Our jump in libvirt's tables: its place, and a fingerprint that shows changes to our
chains, sets and rules, there or in our own table. Elements are not looked at.
"""

from __future__ import annotations

from ..host.netlink import Netlink
from ..host.run import Run
from ..values.errors import VfwError
from .nft_names import IN_LIBVIRTS, LIBVIRTS_CHAINS, PARTS
from .nft_netlink import list_chains, list_rules, list_sets

_TRIES = 5


def place(link: Netlink, run: Run, part: str, base_ruleset: str) -> str:
    """Put our chain and our jump into libvirt's table; the fingerprint of the result.

    libvirt inserts its own jumps one by one at its start, each on top. So its jumps may
    come between our list and our change.
    """
    for _ in range(_TRIES):
        run(["nft", "-f", "-"], base_ruleset + _jump(link, part))
        fingerprint = fingerprint_of(link, part)
        if is_jump_in_place(part, fingerprint):
            return fingerprint
    raise VfwError("others put rules ahead of ours all the time")


def fingerprint_of(link: Netlink, part: str) -> str:
    """The handles of all our objects in the part, except elements, in order: words
    that nft_held reads, too.

    It changes when anybody changes such an object. It leaves out a jump of ours behind
    a rule of libvirt's, so that this jump is inserted again.
    """
    chains, sets = list_chains(link, part), list_sets(link, part)
    rules = list_rules(link, part)
    if part == "own":
        named = [*sorted(chains.items()), *sorted(sets.items())]
        words = [f"{name}={handle}" for name, handle in named]
        return " ".join([*words, *(f"{rule.chain}:{rule.handle}" for rule in rules)])
    ours = IN_LIBVIRTS
    words = [f"{ours}={sets.get(ours)},{chains.get(ours)}"]
    words += [f"{ours}:{rule.handle}" for rule in rules if rule.chain == ours]
    for rule in rules:
        if rule.chain == "forward" and rule.target in LIBVIRTS_CHAINS:
            break
        if rule.chain == "forward" and rule.target == IN_LIBVIRTS:
            words.append(f"forward:{rule.handle}")
    return " ".join(words)


def is_jump_in_place(part: str, fingerprint: str) -> bool:
    """Whether the part's fingerprint shows our jump at a place where it works; our own
    table needs none."""
    return part == "own" or " forward:" in fingerprint


def _jump(link: Netlink, part: str) -> str:
    """The line for our one rule in libvirt's forward chain, above libvirt's first
    rule."""
    _, family, table = PARTS[part]
    lines, before = [], ""
    for rule in list_rules(link, part):
        if rule.chain == "forward" and rule.target == IN_LIBVIRTS:
            where = f"{family} {table} forward handle {rule.handle}"
            lines.append(f"delete rule {where}")
        elif rule.chain == "forward" and rule.target in LIBVIRTS_CHAINS:
            before = before or f"position {rule.handle} "
    rule_text = f"{family} {table} forward {before}ct status dnat jump {IN_LIBVIRTS}"
    return "\n".join([*lines, f"insert rule {rule_text}\n"])
