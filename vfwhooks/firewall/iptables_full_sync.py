"""The full sync of one family's iptables rules: the kernel's rules are listed, compared
with the desired state, and changed where they differ."""

from __future__ import annotations

from ..host.netlink import Netlink
from ..values.entries import Dnat, Entry, Masquerade, ReturnMark
from ..values.errors import VfwError
from .iptables_base_chains import note_missing
from .iptables_jumps import JUMPS, Jumps
from .iptables_portions import drop, fill_unseen
from .iptables_rules import render, rules_of
from .iptables_script import FILTER, MANGLE, RAW, Chain, Chains, Script, parse_save
from .iptables_seen import list_seen, take_out_jumps
from .iptables_tools import COMMANDS, Saved, Tools, Unreadable, is_ours, texts

Index = dict[tuple[Chain, str], str]
_TRIES = 5


class FullSync:
    """The sync of one family; `base` are the backend's notes (see Iptables)."""

    def __init__(
        self, link: Netlink, tools: Tools, jumps: Jumps, base: dict[str, str]
    ) -> None:
        self._link = link
        self._tools = tools
        self._jumps = jumps
        self._base = base

    def run(
        self, family: str, owners: dict[str, list[Entry]], base_ruleset: str
    ) -> list[Entry]:
        """Bring the rules to the owners' entries; the DNAT entries that the kernel did
        not hold.

        libvirt inserts its own jumps one by one at its start, each on top. So its jumps
        may come between our list and our change.
        """
        note_missing(self._link, self._base, family, owners)
        added: list[Entry] = []
        for _ in range(_TRIES):
            is_seen = False
            try:
                saved, handles = self._jumps.saved(family)
            except Unreadable:
                tails = tails_of(base_ruleset, family, self._base)
                saved = list_seen(self._link, family, owners, tails)
                if not _has_libvirts_chains(saved):
                    raise  # libvirt's rules cannot be told from others
                idle = self._jumps.misplaced(family, saved)
                take_out_jumps(self._link, family, idle)
                handles = self._jumps.handles(family)
                saved = list_seen(self._link, family, owners, tails)
                is_seen = True
            added += _missing(family, owners, saved)
            self._sync(family, owners, base_ruleset, saved, is_seen)
            self._base[family] = self._jumps.fingerprint_since(family, saved, handles)
            if self._base[family]:
                return added
        raise VfwError(f"{COMMANDS[family]}: others change the rules all the time")

    def _sync(
        self,
        family: str,
        owners: dict[str, list[Entry]],
        base_ruleset: str,
        saved: Saved,
        is_seen: bool,
    ) -> None:
        """One round. What is only `is_seen` is filled anew, whatever is there."""
        tails = tails_of(base_ruleset, family, self._base)
        own, heads = _wanted(family, owners)
        script = Script()
        chains = {**tails, **own}
        variant = self._base["variant"]

        def restore(some: Script) -> None:
            if not some.is_empty():
                self._tools.restore(family, variant, some)

        for chain, rules in fill_unseen(chains, saved, restore).items():
            head, counted = heads.get(chain, []), saved.get(chain)
            was = texts(counted or [])
            if is_seen or counted is None or not _is_same(was, head, rules):
                counters = {rule: counter for counter, rule in counted or []}
                script.fill(chain, [(counters.get(r, ""), r) for r in head + rules])
        self._jumps.place(script, family, saved)
        if family == "4":
            has_chains = _has_libvirts_chains(saved)
            self._base["libvirt"] = "chains" if has_chains else "direct"
        gone = [c for c in saved if is_ours(c) and c not in chains]
        for chain, rule in _leading_to(gone, saved):
            script.delete(chain, rule)
        for one in drop(script, gone, saved):
            restore(one)


def _missing(family: str, owners: dict[str, list[Entry]], saved: Saved) -> list[Entry]:
    """The DNAT entries that the kernel does not hold whole."""
    index = index_rules(saved)
    return [
        entry
        for owner, entries in owners.items()
        for entry in entries
        if isinstance(entry, Dnat)
        and count_connections(owner, entry, family, index) is None
    ]


def _wanted(family: str, owners: dict[str, list[Entry]]) -> tuple[Chains, Chains]:
    """The chains of single guests, and the heads of the chains that all share."""
    own: Chains = {}
    heads: Chains = {}
    for owner, entries in owners.items():
        made = render(owner, entries, family)
        own.update(made.own)
        for chain, some in made.shared.items():
            heads.setdefault(chain, []).extend(some)
    return own, heads


def _leading_to(gone: list[Chain], saved: Saved) -> list[tuple[Chain, str]]:
    """Our jumps to these chains of ours, in tables that we do not need now: somebody
    saved and restored them. Jumps of others stay, and so do the chains."""
    known = set(gone)
    return [
        (chain, jump)
        for chain, jump in JUMPS
        if (chain[0], jump.rpartition(" -j ")[2]) in known
        for rule in texts(saved.get(chain, []))
        if rule == jump
    ]


def _has_libvirts_chains(saved: Saved) -> bool:
    forward = texts(saved.get((FILTER, "FORWARD"), []))
    return any("-j LIBVIRT_" in rule for rule in forward)


def _is_same(now: list[str], head: list[str], tail: list[str]) -> bool:
    """Whether a chain is as it should be; the order within its head does not matter."""
    split = len(now) - len(tail)
    return now[split:] == tail and sorted(now[:split]) == sorted(head)


def tails_of(base_ruleset: str, family: str, base: dict[str, str]) -> Chains:
    """The chains that all guests share, with the tails that do not change."""
    return {
        chain: texts(rules)
        for chain, rules in parse_save(base_ruleset).items()
        if chain[0] not in (RAW, MANGLE) or f"{chain[0]}{family}" in base
    }


def index_rules(saved: Saved) -> Index:
    """The counters of each rule, by its chain and text."""
    return {(c, rule): count for c, rules in saved.items() for count, rule in rules}


def count_connections(
    owner: str, entry: Entry, family: str, index: Index
) -> int | None:
    """The connections that the entry's rules have counted; None if a rule is
    missing."""
    counters = [index.get(rule) for rule in rules_of(owner, entry, family)]
    if None in counters:
        return None
    if isinstance(entry, (Masquerade, ReturnMark)):
        return 0  # the DNAT rule counts the connections that these rules mark
    return sum(int(c[1:].partition(":")[0]) for c in counters if c)
