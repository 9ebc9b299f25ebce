"""`vfwhooks explain` for one guest's forwards, or for one port: the line in the file,
the entries in the kernel, the way of the packets, and the reason if they do not
pass."""

from __future__ import annotations

from collections.abc import Iterator

from ..config import compiled_file
from ..config.allow_from import chain_name
from ..config.compiled_file import Compiled
from ..config.compiled_lines import parse_settings
from ..config.guest_names import find_other_name
from ..config.port_mappings import METADATA, PortMapping, Settings
from ..firewall.backend import IPTABLES
from ..firewall.iptables_rules import rules_of
from ..firewall.nft_names import LIBVIRT, OWN, PARTS, set_name
from ..firewall.nft_netlink import list_base_chains
from ..firewall.nftables import part_of
from ..foreign.reader import read_foreign
from ..host.listeners import Listener
from ..host.netlink import Netlink
from ..host.run import Run
from ..host.socket_owners import name_socket_owners
from ..libvirt.client import guests_known_soon
from ..libvirt.inventory import Inventory
from ..reconcile.foreign_conflicts import find_foreign_conflicts
from ..reconcile.guest_addresses import find_network_at
from ..reconcile.planner import Planner
from ..store.entry_text import format_entry
from ..store.foreign_ports import hold
from ..store.state import State
from ..values.entries import Accept, Entry, ReturnMark, entry_family
from ..values.errors import VfwError, show
from ..values.findings import WRONG, Finding
from ..values.protocols import Protocol
from ..values.published import BOTH, Published, family_of, parse_address
from .allowed_clients import only_from
from .asked_forwards import asked_ports, find_name, find_rows, label, ports_of
from .overview import Overview, look
from .status_rows import IN_METADATA, ForwardStatus
from .unmatched_patterns import is_of_nobody, rows_when_started
from .written_entries import WrittenEntries

_NO_GUESTS = "claim", "network"


def explain(state: State, main: str, about: str) -> tuple[list[str], bool]:
    """The lines, and whether all is well. `about` is a guest's name or UUID, or a port:
    8080, 8080/udp."""
    overview, entries = look(state, main), WrittenEntries(state, main)
    try:
        rows = find_rows(overview, about)
    except VfwError:  # neither a guest that is in force nor a port
        there = {one.name for one in entries.guests}
        there.update(one.name for one in overview.guests)
        known = () if about in there else guests_known_soon()
        if other := find_other_name(about, known, there):
            return explain(state, main, other)
        rows = rows_when_started(state.path, about)
        if not rows and not _waiting(entries, about, rows):
            raise
    waiting = _waiting(entries, about, rows)
    name = find_name(overview, about)
    if not (rows or waiting) and name not in [one.name for one in overview.guests]:
        lines = list(_nobodys(*asked_ports(about), state))
        if entries.is_broken:
            said = f"as it was, since {main} has a problem; run: vfwhooks check"
            lines.append(f"  {said}")
        return lines, False
    explainer = _Explainer(state, entries, overview)
    lines = [line for row in rows for line in explainer.row(row)] + waiting
    if not lines:
        lines = [f"{show(name)}: forwards.yaml forwards nothing to it"]
    is_well = bool(rows) and not waiting and all(map(explainer.is_well, rows))
    return lines, is_well


def _waiting(
    entries: WrittenEntries, about: str, rows: list[ForwardStatus]
) -> list[str]:
    """The lines for what is written, and not in force yet."""
    found = []
    for name, finding in entries.waiting(about, rows):
        found.append(f"{name}: not in force")
        found += _line("written", [_without_head(finding)])
    return found


def _nobodys(port: int, protocols: tuple[str, ...], state: State) -> Iterator[str]:
    """The lines for a port that no guest publishes: its listeners and foreign rules."""
    inventory = Inventory(f"{state.path}/networks")
    listeners: list[Listener] = []
    for protocol in protocols:
        listeners += inventory.listeners(protocol, [(port, port)])
    names = name_socket_owners(listeners)
    rules = read_foreign(state.base(), inventory, Netlink(), Run()).claims
    some = [one for one in rules if one.protocol in protocols]
    taken = hold(one for one in some if one.first <= port <= one.last)
    yield f"{port}/{','.join(protocols)}: nobody publishes it"
    yield from ("  " + names.get(one.reason, one.reason) for one in listeners)
    for family in BOTH:
        for protocol in protocols:
            one = Published(family, None, Protocol(protocol), port, port)
            yield from (
                f"  {rule.reason}" for rule, _ in find_foreign_conflicts(one, taken)
            )


class _Explainer:
    """Prints rows; data for all rows is looked up once."""

    def __init__(
        self, state: State, entries: WrittenEntries, overview: Overview
    ) -> None:
        self._overview = overview
        self._hops = entries
        self._inventory = Inventory(f"{state.path}/networks")
        self._config = compiled_file.load(state.path)
        some = state.records(has_entries=False)
        self._records = [r for r in some if r.guest.driver not in _NO_GUESTS]
        # The mappings of each guest, found by their ports: there may be thousands.
        self._compiled: dict[str, dict[tuple[str, str, int], PortMapping]] = {}
        chains = list_base_chains(Netlink())
        self._others = [
            f"{chain.family} {chain.table} {chain.name}"
            for chain in chains
            if chain.table not in (OWN, LIBVIRT)
        ]
        self._libvirts = [c.family for c in chains if c.table == LIBVIRT]

    def row(self, row: ForwardStatus) -> Iterator[str]:
        """The lines for one forward to one address."""
        yield f"{label(row)}: {row.state}"
        hop = self._hops.hop(row)
        if hop.level == WRONG:
            yield from _line("written", [_without_head(hop)])
        else:
            by = f", for {show(row.pattern)}" if row.pattern else ""
            forward = self._hops.find(row)
            places = [f"{forward.place}{by}"] if forward else []
            is_of_file = row.source != METADATA
            yield from _line("written", places if is_of_file else [IN_METADATA])
        yield from _line("why", [show(row.reason)] if row.reason else [])
        yield from _line("clients", self._clients(row))
        if row.address:
            yield from _line("kernel", self._entries(row))
            yield from _line("way", [self._way(row)])
            yield from _line("back", self._back(row))
            yield from _line("then", self._foreign(row))

    def _names(self, guest: str) -> list[str]:
        """The names that forwards.yaml may use for the guest."""
        uuids = [g.uuid for g in self._overview.guests if g.name == guest]
        return list(dict.fromkeys([guest, *(uuids or [""])]))

    def _forward(self, row: ForwardStatus) -> PortMapping | None:
        if self._config is None:
            return None
        if row.guest not in self._compiled:
            found: dict[tuple[str, str, int], PortMapping] = {}
            for one in self._settings(self._config, row).forwards:
                found.setdefault((one.host_ip, one.protocol, one.first), one)
            self._compiled[row.guest] = found
        key = row.host_ip, row.protocol, ports_of(row).first
        return self._compiled[row.guest].get(key)

    def _settings(self, config: Compiled, row: ForwardStatus) -> Settings:
        """What is in force for a guest: by its metadata as well while it runs."""
        if is_of_nobody(row):
            return parse_settings(config.patterns().get(row.pattern, []))
        names = self._names(row.guest)
        for record in self._records:
            if record.guest.name in names:
                return Planner(config, self._inventory).settings(record.guest)
        return parse_settings(config.lines_of(names[0], names[-1]))

    def is_well(self, row: ForwardStatus) -> bool:
        """Whether it is in force as it is written."""
        return row.state == "active" and self._hops.hop(row).level != WRONG

    def _clients(self, row: ForwardStatus) -> list[str]:
        """Who alone may connect. The file's list counts if it is the one in force."""
        known, forward = self._hops.find(row), self._forward(row)
        if forward is None or not forward.allow:
            return []
        if known and chain_name(known.allow_from) == forward.allow:
            return [only_from(known)]
        return [f"only from the networks of the chain {forward.allow}"]

    def _entries(self, row: ForwardStatus) -> list[str]:
        """Entries, each there or missing; of a long shifted range only the first."""
        forward = self._forward(row)
        if forward is None:
            return []
        found = []
        address = parse_address(row.address)
        published = forward.published(family_of(address))
        holes = self._overview.holes.get((row.guest, published), ())
        entries = forward.entries(published.family, address, holes)[
            : 3 + forward.options.masquerade
        ]
        if not self._is_beside_libvirt(row):
            entries.append(Accept(address))
        for entry in entries:
            there = "there" if entry in self._overview.held else "missing"
            found += [f"{text}: {there}" for text in self._texts(row, entry)]
        return found

    def _texts(self, row: ForwardStatus, entry: Entry) -> list[str]:
        """The entry much as the backend's own tool shows it."""
        owner = next(g.uuid for g in self._overview.guests if g.name == row.guest)
        if self._overview.backend == IPTABLES:
            rules = rules_of(owner, entry, entry_family(entry))
            return [f"{table} {chain} {rule}" for (table, chain), rule in rules]
        where = " ".join(PARTS[part_of(entry)][1:])
        return [f"{where} {set_name(entry)}: {format_entry(entry)}"]

    def _way(self, row: ForwardStatus) -> str:
        family = "6" if ":" in row.address else "4"
        network = find_network_at(self._inventory, row.address)
        bridge = network.bridge if network else "?"
        if row.is_loopback:
            if self._overview.backend == IPTABLES:
                return f"nat VFW-PUBLISH → nat VFW-POSTROUTING → {bridge}"
            return f"inet {OWN} publish4 → inet {OWN} postrouting → {bridge}"
        if self._overview.backend == IPTABLES:
            return f"nat VFW-PUBLISH → filter VFW-FORWARD → {bridge}"
        if self._is_beside_libvirt(row):
            return f"inet {OWN} publish{family} → {bridge}"
        table = " ".join(PARTS[family][1:])
        return f"inet {OWN} publish{family} → {table} forward → {bridge}"

    def _back(self, row: ForwardStatus) -> list[str]:
        """Lines about the way of answers, if return_path or masquerade changes it."""
        forward = self._forward(row)
        if forward is None:
            return []
        found = []
        one = forward.published(family_of(parse_address(row.address)))
        held = self._overview.held if forward.options.return_path else {}
        for mark in (entry for entry in held if isinstance(entry, ReturnMark)):
            at = mark.published
            if (
                mark.is_any == forward.is_any
                and (at.family, at.protocol, at.first)
                == (one.family, one.protocol, one.first)
                and at.host in (at.host if forward.is_any else None, one.host)
            ):
                found.append(
                    f"return_path: what comes in on {at.host} leaves by {mark.uplink}"
                )
        if forward.options.masquerade:
            cost = "the guest sees the host's address, not the client's"
            found.append(f"masquerade: {cost}")
        return found

    def _is_beside_libvirt(self, row: ForwardStatus) -> bool:
        """Whether no rule of libvirt's is in the packet's way: libvirt has no rules for
        open networks, and no table if all networks are open."""
        if self._overview.backend == IPTABLES:
            return False
        network = find_network_at(self._inventory, row.address)
        is_open = network is not None and network.mode == "open"
        return is_open and ("ip6" if ":" in row.address else "ip") not in self._libvirts

    def _foreign(self, row: ForwardStatus) -> list[str]:
        """Base chains of others that the packet must pass as well."""
        if row.is_loopback:
            return []  # the host's own packet is not forwarded
        family = "ip6 " if ":" in row.address else "ip "
        return [one for one in self._others if one.startswith((family, "inet "))]


def _without_head(hop: Finding) -> str:
    """A hop of doctor's, behind the word for it."""
    return hop.said.partition(": ")[2]


def _line(head: str, texts: list[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"  {head if number == 0 else '':8} {text}"
