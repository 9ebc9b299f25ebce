"""What the chain of a blocker does to the first packets of a forward, computed: a rule
of the administrator's may let them through.

The ruleset is read once, and only if there is a blocker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial

from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.inventory import Inventory
from ..rulesets.packet import Packet
from ..rulesets.ruleset import REFUSING, Rule, Ruleset
from ..rulesets.walk import Traversal, pass_hook
from ..store.state import State
from ..values.errors import VfwError, show
from ..values.findings import NOTE, OK, WRONG, Finding
from ..values.published import Address
from .blockers import Blocker, find_blockers
from .foreign_reasons import few
from .live_ruleset import live_verdicts
from .outside_packets import find_client, this_host
from .port_verdicts import PortVerdicts
from .status_rows import ForwardStatus


class _ToAny(Packet):
    """A packet whose address and port nobody can tell."""

    def values(self, field: str) -> tuple[str, ...]:
        return () if field == "dport" else super().values(field)


class BlockedWays:
    """Forwards on their way through the chains of blockers."""

    def __init__(self, read: Callable[[], PortVerdicts]) -> None:
        self._read = read
        self._ways: dict[tuple[str, Packet], Traversal] = {}
        self._chains: dict[str, Ruleset | None] = {}

    @cached_property
    def _verdicts(self) -> PortVerdicts | None:
        try:
            return self._read()
        except (OSError, VfwError):
            return None

    def worst(self, one: Blocker, rows: Iterable[ForwardStatus]) -> Finding | None:
        """What is said of a blocker that is in the way of all these."""
        found = [self.tell(one, row) for row in rows]
        told = sorted(filter(None, found), key=lambda finding: finding.level != WRONG)
        return told[0] if told else None

    def tell(self, one: Blocker, row: ForwardStatus) -> Finding | None:
        """The blocker's finding; a note, if it blocks only who comes to some addresses
        of the host, or nobody can tell; None if it blocks nobody."""
        known = self._verdicts if one.chain else None
        alone = self._alone(known.known.ruleset, one.chain) if known else None
        if known is None or alone is None:
            return one.finding
        ways = {
            packet.destination: self._way(
                one.chain, alone, known.outside.led(packet, row)
            )
            for packet in known.outside.of(row, find_client(row))
        }
        refusing = [host for host, way in ways.items() if way.end in REFUSING]
        what = one.finding.what
        if known.outside.is_shut(ways, refusing):
            return one.finding
        if refusing:
            said = f"not answered on {few(refusing)}: {what}"
            return replace(one.finding, level=NOTE, what=said)
        for way in ways.values():
            if way.end == "depends":
                rule = known.name(way.steps[-1])
                said = f"{what}; this forward depends on: {show(way.depends)} ({rule})"
                return replace(one.finding, level=NOTE, what=said, cure=None)
        return None

    def _way(self, where: str, alone: Ruleset, packet: Packet) -> Traversal:
        """Its way through the chain. That of a packet to any guest and port comes
        first, which tells for most chains what becomes of all forwards."""
        to_any = _ToAny(**{**vars(packet), "destination": "", "port": 0})
        for one in (to_any, packet):
            if (where, one) not in self._ways:
                self._ways[where, one] = _pass(alone, one)
            if self._ways[where, one].end != "depends":
                break
        return self._ways[where, one]

    def _alone(self, ruleset: Ruleset, where: str) -> Ruleset | None:
        """The ruleset without other base chains; None if the chain is not in it."""
        if where not in self._chains:
            kind, family, name, chain = where.split(" ")
            found = Ruleset()
            for one in ruleset.tables:
                is_its = (one.tool == "iptables-legacy") == (kind == "legacy")
                if is_its and (one.family, one.name) == (family, name):
                    table = found.table(family, name, one.tool)
                    table.sets = one.sets
                    table.chains = {
                        key: one
                        for key, one in one.chains.items()
                        if key == chain or not one.hook
                    }
            has_it = any(chain in table.chains for table in found.tables)
            self._chains[where] = found if has_it else None
        return self._chains[where]


def _pass(ruleset: Ruleset, packet: Packet) -> Traversal:
    """The way through the hook forward. What may refuse, and nobody can tell, counts
    only where the packet would get through without it."""
    unsure: list[Rule] = []
    first = way = pass_hook(ruleset, "forward", packet)
    while way.end == "depends":
        rule = way.steps[-1].rule
        if rule is None or rule.verdict.kind not in REFUSING:
            break
        unsure.append(rule)
        way = pass_hook(
            ruleset,
            "forward",
            packet,
            lambda _, __, rule: any(rule is one for one in unsure),
        )
    return first if way.end == "accept" else way


def check_blockers(
    state: State, inventory: Inventory, rows: Sequence[ForwardStatus], root: str
) -> Iterator[Finding]:
    """The findings of `doctor`: blockers of forwards, and where nobody is forwarded to,
    of a packet to each network."""
    networks = [one for one in map(inventory.network, inventory.names()) if one]
    bridges = [network.bridge for network in networks]
    samples = [_sample(own + 1) for one in networks for own, _ in one.subnets]
    device, ways = (
        this_host(inventory).device,
        BlockedWays(partial(live_verdicts, state)),
    )
    running = [row for row in rows if row.address and not row.is_loopback]
    found: dict[str, Finding] = {}
    for one in find_blockers(state.base(), bridges, Netlink(), Run(), root or "/"):
        ahead, sampled = (
            [row for row in some if one.is_ahead_of(row.address, {device(row.address)})]
            for some in (running, samples)
        )
        told = ways.worst(one, ahead or sampled)
        if told:
            found[str(told)] = told
    yield from found.values()
    if not found:
        what = "nobody else drops what is forwarded"
        yield Finding(OK, "nobody-drops", "firewall", what)


def _sample(address: Address) -> ForwardStatus:
    """A forward to an address of a guest, on every address of the host."""
    return ForwardStatus("", "*", "80", "80", "tcp", str(address), "active", "", 0)
