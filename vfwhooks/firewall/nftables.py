"""The nf_tables backend: our own table, and our objects in libvirt's tables.

Elements change by netlink, one transaction for each table. The base ruleset is text for
nft, loaded only if it is missing or differs. The backend never touches foreign rules,
chains and sets, nor libvirt's tables themselves, which libvirt makes.
"""

from __future__ import annotations

from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.inventory import Inventory
from ..values.entries import Accept, Entry, entry_family
from ..values.errors import Refused, VfwError
from .entry_delta import Delta, Held, SyncResult, checksum
from .nft_jump import fingerprint_of, is_jump_in_place, place
from .nft_names import BASE_CHAINS, IN_LIBVIRTS, OWN, PARTS
from .nft_netlink import (
    additions,
    has_table,
    list_chains,
    list_entries,
    list_rules,
    list_sets,
    portions,
    removals,
)

_AS_NEEDED = {"map": ("back",), "set": ("masq",), "chain": ("allow_", "back")}
Base = dict[str, str]


class Nftables:
    """Changes entries; restores, compares and removes all our rules.

    `base` has, for each part in place, the checksum of its base ruleset and its
    fingerprint, and receives the new ones.
    """

    name = "nftables"

    def __init__(
        self,
        link: Netlink,
        run: Run,
        base: Base,
        inventory: Inventory | None = None,
    ) -> None:
        self.link = link
        self.run = run
        self.base = base
        self._inventory = inventory

    def change(self, deltas: list[Delta]) -> None:
        """Bring each owner from its old entries to its new ones.

        An accept comes before its DNAT, and goes after it. Every part is tried; Refused
        names the parts that failed.
        """
        remove = [entry for delta in deltas for entry in delta.removed()]
        add = [(entry, c.owner) for c in deltas for entry in c.added()]
        for part in PARTS:
            if any(part_of(entry) == part for entry, _ in add) and self._is_new(part):
                raise Refused(f"{_shown(part)}: it has come back without our chain")
        self._apply(remove, add)

    def note_fingerprints(self) -> None:
        """Do nothing: `change` leaves none to be noted here."""

    def _apply(self, remove: list[Entry], add: list[tuple[Entry, str]]) -> None:
        """Carry out one transaction for each part, or several for very many removals;
        parts that are not in place are skipped. An entry that moves to another owner is
        replaced in one transaction, so that a later removal does not delete the new
        one.
        """
        names = {entry for entry, _ in add}
        old: dict[str, list[Entry]] = {part: [] for part in PARTS}
        replaced: dict[str, list[Entry]] = {part: [] for part in PARTS}
        for entry in remove:
            part = part_of(entry)
            (replaced if part == "own" or entry in names else old)[part].append(entry)
        new = {p: [pair for pair in add if part_of(pair[0]) == p] for p in PARTS}
        own = [] if new["own"] else portions(self.link, replaced["own"])
        last = [] if own else replaced["own"]
        refused = []
        for part, messages in (
            ("4", removals("4", replaced["4"]) + additions("4", new["4"])),
            ("6", removals("6", replaced["6"]) + additions("6", new["6"])),
            *(("own", removals("own", portion)) for portion in own),
            ("own", removals("own", last) + additions("own", new["own"])),
            ("4", removals("4", old["4"])),
            ("6", removals("6", old["6"])),
        ):
            try:
                if messages and part in self.base:
                    self.link.batch(messages)
            except Refused as error:
                refused.append(f"{_shown(part)}: {error}")
        if refused:
            raise Refused("; ".join(refused))

    def is_undisturbed(self) -> bool:
        """Always true: libvirt's rules never get above ours, and a missing set refuses
        a change."""
        return True

    def is_as_usual(self) -> bool:
        """Whether a network may have come or gone without a change to our rules: both
        of libvirt's tables have our objects, or no packet has to pass libvirt's
        rules."""
        is_whole = all(part in self.base for part in PARTS) or not self._is_shielded()
        return is_whole and self.is_intact()

    def is_intact(self) -> bool:
        """Whether the base ruleset is unchanged; elements are not looked at."""
        placed = [part for part in PARTS if part in self.base]
        now = {part: fingerprint_of(self.link, part) for part in placed}
        return not any(map(self._is_new, PARTS)) and all(
            is_jump_in_place(part, found) and self.base[part].partition(" ")[2] == found
            for part, found in now.items()
        )

    def _is_new(self, part: str) -> bool:
        """Whether the part's table has appeared since the last full sync."""
        return part not in self.base and has_table(self.link, part)

    def sync(self, wanted: dict[Entry, str], base_rulesets: Base) -> SyncResult:
        """Bring all our rules to the desired state; only differences are changed.

        `wanted` maps every entry to its owner.
        """
        problems = []
        for part in PARTS:
            said = f"{_shown(part)} is missing: restart libvirtd"
            try:
                if part == "own" or has_table(self.link, part):
                    self._restore(part, base_rulesets[part])
                    continue
            except VfwError as error:
                # The table may have gone meanwhile. Then nft's error would say less.
                if part == "own" or has_table(self.link, part):
                    said = f"{_shown(part)}: {self._cause(part, error)}"
            if self._is_shielded() and any(part_of(e) == part for e in wanted):
                problems.append(said)
            self.base.pop(part, None)
        held = self._held(is_counted=False)
        nobody = "", 0
        add = [(e, o) for e, o in wanted.items() if held.get(e, nobody)[0] != o]
        remove: list[Entry] = []
        if len(held) > len(wanted) - len(add):
            remove = [e for e, (owner, _) in held.items() if wanted.get(e) != owner]
        try:
            self._apply(remove, add)
        except Refused as error:
            problems.append(str(error))
        self._drop_chains(base_rulesets["own"])
        return SyncResult(remove, [entry for entry, _ in add], problems)

    def _is_shielded(self) -> bool:
        """Whether libvirt has rules for an active network. It has none if all networks
        are open, or are bridges of the host's own."""
        if self._inventory is None:
            return True
        known = map(self._inventory.network, self._inventory.names())
        return any(n and n.is_ours and n.mode != "open" for n in known)

    def _cause(self, part: str, error: VfwError) -> str:
        """nft's error, or the cause behind it if nft's words do not tell."""
        from .nft_fib import CURE, NO_FIB, lacks_fib  # needed after an error only

        if part == "own" and isinstance(error, Refused) and lacks_fib(self.run):
            return f"{NO_FIB} {CURE}"
        return str(error)

    def held(
        self, wanted: dict[Entry, str], recorded: dict[Entry, str], rulesets: Base
    ) -> Held:
        """The wanted entries that the kernel holds. `recorded` and `rulesets` are not
        needed here: the notes in `base` tell which rules there were."""
        from .nft_held import is_cut_off, is_unaccepted, lost_chains

        held = self._held()
        found = {entry: held[entry][1] for entry in wanted if entry in held}
        cut_off: set[Entry] = set()
        for part in PARTS:
            noted = self.base.get(part, "").partition(" ")[2]
            if not noted:
                continue
            lost = lost_chains(noted, fingerprint_of(self.link, part))
            some = {e for e in found if part_of(e) == part} if lost else set()
            if part == "own":
                cut_off |= {entry for entry in some if is_cut_off(entry, lost)}
            elif is_unaccepted(lost):
                cut_off |= some
        return Held(found, cut_off)

    def _held(self, is_counted: bool = True) -> dict[Entry, tuple[str, int]]:
        """Every entry in the kernel: its owner, and its connections so far."""
        found: dict[Entry, tuple[str, int]] = {}
        for part in PARTS:
            for name in list_sets(self.link, part):
                if part == "own" or name == IN_LIBVIRTS:
                    listed = list_entries(self.link, part, name, is_counted)
                    found.update(listed)
        return found

    def clear(self) -> bool:
        """Remove all our rules. Returns whether there were any."""
        lines = []
        for part, (_, family, table) in PARTS.items():
            if part == "own":
                if has_table(self.link, part):
                    lines.append(f"delete table {family} {table}")
                continue
            for rule in list_rules(self.link, part):
                if rule.target == IN_LIBVIRTS:
                    where = f"{family} {table} {rule.chain}"
                    lines.append(f"delete rule {where} handle {rule.handle}")
            if IN_LIBVIRTS in list_chains(self.link, part):
                lines.append(f"delete chain {family} {table} {IN_LIBVIRTS}")
            if IN_LIBVIRTS in list_sets(self.link, part):
                lines.append(f"delete set {family} {table} {IN_LIBVIRTS}")
        if lines:
            self.run(["nft", "-f", "-"], "\n".join(lines) + "\n")
        return bool(lines)

    def _restore(self, part: str, base_ruleset: str) -> None:
        """Restore the part's base ruleset if it is missing or differs; elements
        stay."""
        now = fingerprint_of(self.link, part)
        expected = f"{checksum(base_ruleset)} {now}"
        if is_jump_in_place(part, now) and self.base.get(part) == expected:
            return
        if part == "own":
            self._load(base_ruleset)
            now = fingerprint_of(self.link, part)
        else:
            now = place(self.link, self.run, part, base_ruleset)
        self.base[part] = f"{checksum(base_ruleset)} {now}"

    def _load(self, base_ruleset: str) -> None:
        """Load our table's base ruleset; elements stay. A release that gives a chain
        another priority has the base chains made anew, in the same transaction. If nft
        refuses that, too, the table is made anew, without elements."""
        load = ["nft", "-f", "-"]
        try:
            self.run(load, base_ruleset)
            return
        except Refused:
            chains = list_chains(self.link, "own")
        known = [name for name in BASE_CHAINS if name in chains]
        deleted = [f"delete chain inet {OWN} {name}\n" for name in known]
        try:
            self.run(
                load, "".join([f"flush table inet {OWN}\n", *deleted, base_ruleset])
            )
        except Refused:
            anew = f"add table inet {OWN}\ndelete table inet {OWN}\n"
            self.run(load, anew + base_ruleset)

    def _drop_chains(self, base_ruleset: str) -> None:
        """Delete chains of unused lists of source ranges, and the chains, maps and sets
        for marks if no forward needs marks."""
        chains, sets = list_chains(self.link, "own"), list_sets(self.link, "own")
        lines = [
            f"delete {kind} inet {OWN} {name}\n"
            for kind, names in (("map", sets), ("set", sets), ("chain", chains))
            for name in names
            if name.startswith(_AS_NEEDED[kind]) and f" {name} {{" not in base_ruleset
        ]
        if lines:
            self.run(["nft", "-f", "-"], "".join(lines))
            now = fingerprint_of(self.link, "own")
            self.base["own"] = f"{checksum(base_ruleset)} {now}"


def part_of(entry: Entry) -> str:
    """The part that holds the entry."""
    return entry_family(entry) if isinstance(entry, Accept) else "own"


def _shown(part: str) -> str:
    _, family, table = PARTS[part]
    return f"table {family} {table}"
