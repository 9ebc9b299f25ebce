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
from ..values.entries import Entry, entry_family
from ..values.errors import Refused, VfwError
from ..values.guests import Network
from .entry_delta import Delta, Held, SyncResult
from .iptables_jumps import JUMPS, Jumps
from .iptables_nft import take_out
from .iptables_rules import is_marking, render
from .iptables_script import MANGLE, RAW, Script
from .iptables_tools import COMMANDS, Tools, Unreadable, is_ours

_HAS_IPV6 = "/proc/net/if_inet6"
# Several owners may have one of these names (see Record.owner), so comments cannot tell
# their rules apart.
_SEVERAL = (*DRIVERS, "claim")


class Iptables:
    """Changes entries; restores, compares and removes all our rules.

    `base` has these keys: "4" and "6" for the families in place, each with a
    fingerprint of the rules around our jumps; "raw4" and "mangle4" once these tables
    have been needed; "variant": nft or legacy, whichever has libvirt's rules, or
    nothing if libvirt has none yet.
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
                # A kill before `note_fingerprints` leaves it in doubt.
                self.base[family] = ""

    def note_fingerprints(self) -> None:
        """Note the fingerprints of the base chains that `change` has left open. For
        legacy this lists all rules, so no hook should wait for it."""
        if self.base.get("variant") == "legacy":
            for family in COMMANDS:
                if self.base.get(family) == "":
                    self.base[family] = self.jumps.fingerprint(family)

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
        noted = {f: self.base[f] for f in COMMANDS if f in self.base}
        return all(was and was == self.jumps.fingerprint(f) for f, was in noted.items())

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
        from .iptables_full_sync import FullSync  # a partial sync does without

        full = FullSync(self.link, self.tools, self.jumps, self.base)
        result = SyncResult([], [], [])
        for family in COMMANDS:
            owners = _by_owner(wanted, family)
            try:
                if family == "6" and not self._is_used(family, bool(owners)):
                    continue
                base_ruleset = base_rulesets["iptables" + family]
                result.added += full.run(family, owners, base_ruleset)
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

    def held(
        self,
        wanted: dict[Entry, str],
        recorded: dict[Entry, str],
        base_rulesets: dict[str, str],
    ) -> Held:
        """The wanted entries that the kernel holds; jumps are those of the `recorded`
        entries."""
        from .iptables_full_sync import tails_of
        from .iptables_held import find_held, find_short  # no event needs these
        from .iptables_seen import list_seen

        found = Held({}, set())
        for family in COMMANDS:
            if family in self.base:
                tails = tails_of(base_rulesets["iptables" + family], family, self.base)
                owners = _by_owner(recorded, family)
                try:
                    saved = self.tools.saved(family, self.base["variant"])
                except Unreadable:
                    saved = list_seen(self.link, family, owners, tails)
                lost = find_short(saved, tails) | self.jumps.misplaced(family, saved)
                one = find_held(wanted, owners, family, saved, lost)
                found.connections.update(one.connections)
                found.cut_off |= one.cut_off
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
        try:
            saved = self.tools.saved(family, variant)
        except Unreadable:
            from .iptables_seen import list_seen, take_out_jumps

            take_out_jumps(self.link, family, dict(JUMPS))
            saved = list_seen(self.link, family, {}, {})
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


def _by_owner(entries: dict[Entry, str], family: str) -> dict[str, list[Entry]]:
    """The entries of the family by their owners."""
    found: dict[str, list[Entry]] = {}
    for entry, owner in entries.items():
        if entry_family(entry) == family:
            found.setdefault(owner, []).append(entry)
    return found
