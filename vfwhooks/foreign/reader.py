"""The DNAT and REDIRECT rules of others on this host, read from the kernel by nft and
by iptables-save.

No event and no holder of our lock calls this module: a list of 10,000 rules takes a
second. Foreign rules are never changed. A table that cannot be read becomes a doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..firewall.iptables_tools import COMMANDS, Tools
from ..firewall.nft_names import FAMILIES, LIBVIRT, OWN
from ..firewall.nft_netlink import list_nat_chains
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.inventory import Inventory
from ..values.errors import VfwError
from ..values.foreign_claims import ForeignClaim
from ..values.protocols import PROTOCOLS
from ..values.published import Published
from .claimed_ports import Doubt, Own, find_claims
from .dnat_rules import LAST, Chains, find_taken
from .dnat_rules_iptables import PREROUTING, owner_of, parse_nat, place_of_ours
from .dnat_rules_nft import is_xtables, parse_table
from .named_rules import LEGACY, NONE, Named

# The priority of our nftables chain (see templates/nftables.j2), and of iptables'
# chains.
PRIORITY, OF_IPTABLES = -111, -100


@dataclass
class Foreign:
    """The claims of foreign rules, in the kernel's order, and the doubts."""

    claims: list[ForeignClaim] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


def read_foreign(
    base: dict[str, str],
    inventory: Inventory,
    link: Netlink,
    run: Run,
    without: Named = NONE,
) -> Foreign:
    """All foreign claims and doubts; `base` says where our own rules are. Rules
    `without` which it is done are about to be taken out."""
    found = Foreign()
    reader = _Reader(base, inventory, run, Tools(link, run, base), without)
    tables: list[tuple[str, str]] = []
    for family, table, chain, priority in list_nat_chains(link):
        if table not in (OWN, LIBVIRT):
            is_new = (family, table) not in tables
            tables.append((family, table))
            reader.table(found, family, table, chain, priority, is_new)
    for family in COMMANDS:
        reader.legacy(found, family)
    return found


class _Reader:
    def __init__(
        self,
        base: dict[str, str],
        inventory: Inventory,
        run: Run,
        tools: Tools,
        without: Named,
    ) -> None:
        self._is_iptables = base.get("backend") == "iptables"
        self._variant = base.get("variant", "nft")
        addresses = [a for f in "46" for a in inventory.routes.own_addresses(f)]
        self._own = Own(addresses, inventory.is_local)
        self._run = run
        self._tools = tools
        self._gone = {one.place for one in without}
        self._texts: dict[tuple[str, str], str] = {}

    def table(
        self,
        found: Foreign,
        family: str,
        table: str,
        chain: str,
        priority: int,
        is_new: bool,
    ) -> None:
        """Add what the rules behind one base chain of a table take."""
        where = f"table {family} {table}"
        try:
            if is_new:
                self._texts[family, table] = self._listed(family, table)
            text = self._texts.get((family, table), "")
            is_iptables = (table, chain) == ("nat", PREROUTING) and family != "inet"
            if is_iptables and is_xtables(text):
                self._iptables(found, FAMILIES[family], "nft", text)
                return
            chains = parse_table(text, self._gone)
        except (VfwError, ValueError, LookupError, TypeError, AttributeError):
            found.doubts.append(Doubt(FAMILIES[family], PROTOCOLS, 0, LAST, where))
            return
        ours = OF_IPTABLES if self._is_iptables else PRIORITY
        for one in find_taken(chains, chain, self._own.has):
            whose = f"{where}, chain {one.path[-1]}"
            _add(found, find_claims(one, self._own, whose, where, priority <= ours))

    def _listed(self, family: str, table: str) -> str:
        """The table as nft lists it, without the elements of its sets."""
        try:
            return self._run(["nft", "-j", "-t", "list", "table", family, table])
        except VfwError:  # nft before 0.9.4 has no option to leave them out
            return self._run(["nft", "-j", "list", "table", family, table])

    def legacy(self, found: Foreign, family: str) -> None:
        """Add what the table nat of iptables' legacy variant takes."""
        try:
            self._iptables(found, family, "legacy")
        except (VfwError, ValueError):
            where = f"{COMMANDS[family]}-legacy nat"
            found.doubts.append(Doubt(family, PROTOCOLS, 0, LAST, where))

    def _iptables(
        self, found: Foreign, family: str, variant: str, listed: str = ""
    ) -> None:
        text = self._tools.nat(family, variant)
        if not (text or listed):
            return
        is_legacy = variant == "legacy"
        tool = COMMANDS[family] + ("-legacy" if is_legacy else "")
        by = LEGACY if is_legacy else "iptables"
        chains: Chains = parse_nat(text, family, listed, by, self._gone)
        ours = -1
        if self._is_iptables:
            is_same = variant == self._variant
            ours = place_of_ours(chains) if is_same else len(chains[PREROUTING])
        for one in find_taken(chains, PREROUTING, self._own.has):
            whose = owner_of(one.path, tool)
            where = f"{tool} nat"
            _add(found, find_claims(one, self._own, whose, where, one.number < ours))


def _add(found: Foreign, more: tuple[list[ForeignClaim], list[Doubt]]) -> None:
    found.claims += more[0]
    found.doubts += more[1]


def find_doubts(foreign: Foreign, one: Published) -> Iterator[str]:
    """A line for each doubt about a published port, with the table that may take it."""
    for doubt in foreign.doubts:
        low, high = max(one.first, doubt.first), min(one.last, doubt.last)
        is_of = one.protocol in doubt.protocols or one.is_one_to_one
        is_of = is_of and one.family in doubt.families
        if is_of and low <= high:
            what = f"port {low}" if low == high else f"ports {low}-{high}"
            yield f"cannot tell whether {doubt.where} takes {what}"
