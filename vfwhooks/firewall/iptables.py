"""The iptables backend: our chains, and one jump to them from each base chain.

One iptables-restore fills a guest's chains; shared chains change rule by rule. Our jump
in FORWARD stands directly above libvirt's first rule, and below foreign rules ahead of
it. Foreign rules are read for this position only.
"""

from __future__ import annotations

from ..host.netlink import Netlink
from ..host.run import Run
from ..store import files
from ..store.state import DRIVERS
from ..values.entries import Dnat, Entry, Masquerade, ReturnMark, entry_family
from ..values.errors import Refused, VfwError
from ..values.guests import Network
from .entry_delta import Delta, SyncResult
from .iptables_jumps import JUMPS, Jumps
from .iptables_nft import take_out
from .iptables_rules import is_marking, render, rules_of
from .iptables_script import FILTER, MANGLE, RAW, Chain, Chains, Script, parse_save
from .iptables_tools import COMMANDS, Saved, Tools, is_ours, texts

_HAS_IPV6 = "/proc/net/if_inet6"
Index = dict[tuple[Chain, str], str]
_TRIES = 5
# Several owners may have one of these names (see Record.owner), so comments cannot tell
# their rules apart.
_SEVERAL = (*DRIVERS, "claim")


class Iptables:
    """Changes entries; restores, compares and removes all our rules.

    `base` has these keys: "4" and "6" for the families in place, each with a mark of
    the rules around our jumps; "raw4" and "mangle4" once these tables have been needed;
    "variant": nft or legacy, whichever has libvirt's rules, or nothing if libvirt has
    none yet.
    """

    name = "iptables"

    def __init__(
        self,
        link: Netlink,
        run: Run,
        base: dict[str, str],
        networks: list[Network],
    ) -> None:
        self.link = link
        self.run = run
        self.base = base
        self.networks = networks
        self.tools = Tools(link, run, base)
        self.jumps = Jumps(link, self.tools, base, networks)

    def change(self, deltas: list[Delta]) -> None:
        """Bring each owner from its old entries to its new ones.

        An accept comes before its DNAT, and goes after it.
        """
        if self._take_out(deltas) or self._put_in(deltas):
            return
        for family in COMMANDS:
            script = Script()
            for delta in deltas:
                old = render(delta.owner, delta.old, family)
                script.change(old, render(delta.owner, delta.new, family))
            if script.is_empty():
                continue
            is_in_place = f"raw{family}" in self.base or not script.needs(RAW)
            if any(is_marking(e, family) for c in deltas for e in c.new):
                is_in_place = is_in_place and f"{MANGLE}{family}" in self.base
            if family not in self.base or not is_in_place:
                raise Refused(f"{COMMANDS[family]}: our chains are not in place")
            self.tools.restore(family, self.base["variant"], script)
            if self.base["variant"] == "legacy":
                self.base[family] = ""  # a kill before `note_marks` leaves it in doubt

    def note_marks(self) -> None:
        """Note the marks of the base chains that `change` has left open. For legacy
        this lists all rules, so no hook should wait for it."""
        if self.base.get("variant") == "legacy":
            for family in COMMANDS:
                if self.base.get(family) == "":
                    self.base[family] = self.jumps.mark(family)

    def _take_out(self, deltas: list[Delta]) -> bool:
        """Delete by netlink if the deltas only remove. Returns whether everything is
        done. The tool does the rest: rules without a comment of one owner, and all
        rules if others change rules all the time.

        Raises Refused if the kernel does not hold exactly the recorded rules.
        """
        if self.base.get("variant") != "nft" or any(delta.new for delta in deltas):
            return False
        owners: dict[str, list[Entry]] = {}
        for delta in deltas:
            owners.setdefault(delta.owner, []).extend(delta.old)
        if any(owner in _SEVERAL for owner in owners):
            return False
        gone = [
            (owner, family, render(owner, entries, family))
            for owner, entries in owners.items()
            for family in COMMANDS
        ]
        try:
            take_out(self.link, gone)
        except Refused:
            raise
        except (VfwError, OSError):
            return False
        return True

    def _put_in(self, deltas: list[Delta]) -> bool:
        """Add by netlink if the deltas only add. Returns whether everything is done. If
        the kernel refuses, the tool tries it and gives the reason."""
        if self.base.get("variant") != "nft" or any(delta.old for delta in deltas):
            return False
        from .iptables_messages import put_in  # a stop does without

        messages: list[bytes] = []
        for family in COMMANDS:
            gained = [render(delta.owner, delta.new, family) for delta in deltas]
            some = put_in(family, gained)
            if some is None or (some and family not in self.base):
                return False
            messages += some
        try:
            if messages:
                self.link.batch(messages)
        except Refused:
            return False
        return True

    def is_undisturbed(self) -> bool:
        """Whether nobody else has changed the base chains around our jumps. libvirt
        before 5.1 puts its rules on top again, and a restored file brings back our old
        rules."""
        marks = [(f, self.base[f]) for f in COMMANDS if f in self.base]
        return all(mark and mark == self.jumps.mark(family) for family, mark in marks)

    def is_as_usual(self) -> bool:
        """Whether a network may have come or gone without a change around our rules:
        libvirt uses chains of its own, and no other variant is there for them."""
        variant = self.base["variant"]
        is_one = variant == "legacy" or not self.tools.can_save("4", "legacy")
        return self.base.get("libvirt") == "chains" and is_one and self.is_undisturbed()

    def is_intact(self) -> bool:
        """Whether the base chains are unchanged. Our own chains are not checked (except
        for legacy, where the check lists all rules)."""
        return self.is_undisturbed()

    def sync(
        self, wanted: dict[Entry, str], base_rulesets: dict[str, str]
    ) -> SyncResult:
        """Bring all our rules to the desired state; only differences are changed.

        `wanted` maps every entry to its owner.
        """
        variant = self.tools.libvirts_variant(self.networks)
        if self.base.get("variant") != variant:
            self._clear_all_but(variant)
        self.base["variant"] = variant
        result = SyncResult([], [], [])
        for family in COMMANDS:
            owners: dict[str, list[Entry]] = {}
            for entry, owner in wanted.items():
                if entry_family(entry) == family:
                    owners.setdefault(owner, []).append(entry)
            try:
                if family == "6" and not self._is_used(family, bool(owners)):
                    continue
                base_ruleset = base_rulesets["iptables" + family]
                result.added += self._settle(family, owners, base_ruleset)
            except VfwError as error:
                self.base.pop(family, None)
                result.problems.append(str(error))
        return result

    def _is_used(self, family: str, is_wanted: bool) -> bool:
        """Whether the family has, or needs, chains of ours. Shared chains stay once
        they exist: no event removes them. A sync that failed or was killed may have
        left chains that no record names."""
        if not files.exists(_HAS_IPV6):
            return False
        is_known = is_wanted or family in self.base
        return is_known or self.tools.has_ours(family, self.base["variant"])

    def _settle(
        self, family: str, owners: dict[str, list[Entry]], base_ruleset: str
    ) -> list[Entry]:
        """The DNAT entries that the kernel did not hold.

        libvirt inserts its own jumps one by one at its start, each on top. So its jumps
        may come between our list and our change.
        """
        from .iptables_base_chains import note_missing  # a partial sync does without

        note_missing(self.link, self.base, family, owners)
        added: list[Entry] = []
        for _ in range(_TRIES):
            saved, handles = self.jumps.saved(family)
            added += self._sync(family, owners, base_ruleset, saved)
            self.base[family] = self.jumps.mark_since(family, saved, handles)
            if self.base[family]:
                return added
        raise VfwError(f"{COMMANDS[family]}: others change the rules all the time")

    def _sync(
        self,
        family: str,
        owners: dict[str, list[Entry]],
        base_ruleset: str,
        saved: Saved,
    ) -> list[Entry]:
        tails = {
            chain: texts(rules)
            for chain, rules in parse_save(base_ruleset).items()
            if chain[0] not in (RAW, MANGLE) or f"{chain[0]}{family}" in self.base
        }
        index = _index(saved)
        own: Chains = {}
        heads: Chains = {}
        added: list[Entry] = []
        for owner, entries in owners.items():
            made = render(owner, entries, family)
            own.update(made.own)
            for chain, some in made.shared.items():
                heads.setdefault(chain, []).extend(some)
            dnats = [entry for entry in entries if isinstance(entry, Dnat)]
            added += [e for e in dnats if _connections(owner, e, family, index) is None]
        from .iptables_portions import drop, fill_unseen  # a partial sync does without

        script = Script()
        chains = {**tails, **own}
        variant = self.base["variant"]

        def restore(some: Script) -> None:
            if not some.is_empty():
                self.tools.restore(family, variant, some)

        for chain, rules in fill_unseen(chains, saved, restore).items():
            head, counted = heads.get(chain, []), saved.get(chain)
            if counted is None or not _is_same(texts(counted), head, rules):
                counters = {rule: counter for counter, rule in counted or []}
                script.fill(chain, [(counters.get(r, ""), r) for r in head + rules])
        self.jumps.place(script, family, saved)
        if family == "4":
            forward = texts(saved.get((FILTER, "FORWARD"), []))
            has_chains = any("-j LIBVIRT_" in rule for rule in forward)
            self.base["libvirt"] = "chains" if has_chains else "direct"
        gone = [c for c in saved if is_ours(c) and c not in chains]
        for one in drop(script, gone, saved):
            restore(one)
        return added

    def held(self, wanted: dict[Entry, str]) -> dict[Entry, int]:
        """The entries that the kernel holds, with their connections so far."""
        found = {}
        for family in COMMANDS:
            if family in self.base:
                index = _index(self.tools.saved(family, self.base["variant"]))
                for entry, owner in wanted.items():
                    count = _connections(owner, entry, family, index)
                    if entry_family(entry) == family and count is not None:
                        found[entry] = count
        return found

    def clear(self) -> bool:
        """Remove all our rules from both variants. Returns whether there were any."""
        return self._clear_all_but("")

    def _clear_all_but(self, kept: str) -> bool:
        """Remove all our rules from the variants except `kept`: after a loss of the
        state directory, the rules there may be right."""
        was = False
        for family in COMMANDS:
            for variant in ("nft", "legacy"):
                if variant != kept and self.tools.can_save(family, variant):
                    was = self._clear(family, variant) or was
            self.base.pop(family, None)
        return was

    def _clear(self, family: str, variant: str) -> bool:
        saved = self.tools.saved(family, variant)
        script = Script()
        for chain, jump in JUMPS:
            for _, rule in saved.get(chain, []):
                if rule == jump:
                    script.delete(chain, jump)
        script.drop([chain for chain in saved if is_ours(chain)])
        if not script.is_empty():
            self.tools.restore(family, variant, script)
            from .iptables_base_chains import unmake

            unmake(self.link, self.run, self.base, family, variant)
        return not script.is_empty()


def _is_same(now: list[str], head: list[str], tail: list[str]) -> bool:
    """Whether a chain is as it should be; the order within its head does not matter."""
    split = len(now) - len(tail)
    return now[split:] == tail and sorted(now[:split]) == sorted(head)


def _index(saved: Saved) -> Index:
    return {(c, rule): count for c, rules in saved.items() for count, rule in rules}


def _connections(owner: str, entry: Entry, family: str, index: Index) -> int | None:
    """The connections that the entry's rules have counted; None if a rule is
    missing."""
    counters = [index.get(rule) for rule in rules_of(owner, entry, family)]
    if None in counters:
        return None
    if isinstance(entry, (Masquerade, ReturnMark)):
        return 0  # the DNAT rule counts the connections that these rules mark
    return sum(int(c[1:].partition(":")[0]) for c in counters if c)
