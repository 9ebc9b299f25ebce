"""The verdict of a ruleset on a connection from outside to each published port: the
rule that accepts it, and the rule that would refuse it without ours."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.value_syntax import parse_ports
from ..rulesets.context import Context
from ..rulesets.makers import LIBVIRT, OURS, find_maker
from ..rulesets.nft_reader import without_counters
from ..rulesets.packet import ANYBODY, Packet
from ..rulesets.walk import Host, Step, Traversal, pass_hook, walk
from ..values.errors import VfwError, show
from ..values.protocols import ALL_PROTOCOLS

if TYPE_CHECKING:
    from ..libvirt.inventory import Inventory
    from ..rulesets.ruleset import Chain, Rule, Table
    from ..values.published import Address
    from .status_rows import ForwardStatus
    from .traced_packet import TraceEvent

EVERY = ("*", "0.0.0.0", "::")
_DID = {
    "accept": "accepted by this chain",
    "drop": "dropped",
    "reject": "rejected",
    "snat": "its source address is settled",
    "depends": "nobody can tell whether the rule is for it",
}
_SAMPLE = "tcp", 80  # the packet for an address that is published whole
_PAIR = 2  # addresses of a network that has no address of its own


def this_host(inventory: Inventory) -> Host:
    """The host for `walk`: which addresses are local, and the bridge of each subnet."""
    subnets = [
        (subnet, network.bridge)
        for name in inventory.names()
        if (network := inventory.network(name))
        for _, subnet in network.subnets
    ]

    def device(address: str) -> str:
        found = ip_address(address)
        return next((bridge for net, bridge in subnets if found in net), "")

    return Host(lambda address: inventory.is_local(ip_address(address)), device)


def find_client(row: ForwardStatus) -> str:
    """A client that may connect: one of `allow_from`, if the forward has it."""
    for one in map(ip_network, row.allow_from):
        if (one.version == 6) == (":" in row.address) and one.prefixlen:
            return str(one[1] if one.num_addresses > _PAIR else one[0])
    return ANYBODY


class PortVerdicts:
    """Verdicts for one ruleset and one host."""

    def __init__(self, known: Context, host: Host, inventory: Inventory) -> None:
        self.known = known
        self._host = host
        self._inventory = inventory
        self._outside: dict[bool, list[str]] = {}
        self._inner: set[str] = set()

    def tell(self, rows: Sequence[ForwardStatus]) -> Iterator[str]:
        """Lines about a connection to the first port of each row."""
        for row in rows:
            if row.is_loopback or row.host_ip == "::1":
                continue
            name = f"{row.published}/{row.protocol} for {show(row.guest)}"
            found: dict[tuple[str, ...], list[str]] = {}
            for packet in self.packets(row):
                by = (
                    "" if packet.incoming == ANYBODY else f" by {show(packet.incoming)}"
                )
                to = f"to {packet.destination} port {packet.port}{by}"
                said = tuple(self.tell_way(packet, _why_host(row)))
                found.setdefault(said, []).append(to)
            if not found:
                yield f"{name}: the host has no such address"
            for lines, places in found.items():
                yield f"{name}: a connection {', or '.join(places)}"
                yield from (f"  {line}" for line in lines)

    def packet(self, row: ForwardStatus, source: str = ANYBODY) -> Packet | None:
        """The first packet of a connection from outside; None if the host has no
        address."""
        return next(iter(self.packets(row, source)), None)

    def packets(self, row: ForwardStatus, source: str = ANYBODY) -> list[Packet]:
        """One such packet to each address of the host that the row is published on."""
        protocol, port = _SAMPLE
        if row.protocol != ALL_PROTOCOLS:
            protocol, port = row.protocol, parse_ports(row.published).first
        hosts = self._hosts(row.host_ip, ":" in row.address + row.host_ip)
        return [self._to(host, protocol, port, source) for host in hosts]

    def led(self, packet: Packet, row: ForwardStatus) -> Packet:
        """The packet as it is for the guest, after prerouting."""
        port = packet.port
        if row.protocol != ALL_PROTOCOLS:
            port = parse_ports(row.target).first
        return replace(
            packet,
            destination=row.address,
            port=port,
            outgoing=self._host.device(row.address),
            is_local=False,
            states=(*packet.states, "dnat"),
        )

    def is_shut(self, hosts: Collection[str], refusing: Collection[str]) -> bool:
        """Whether a forward on these addresses serves nobody from outside, if some of
        them refuse. Who comes to a bridge's own address may be a container."""
        outer = [one for one in hosts if one not in self._inner]
        return all(one in refusing for one in outer or hosts)

    def _hosts(self, address: str, is_six: bool) -> list[str]:
        """The addresses that somebody outside may connect to: those by which the host
        is known far away are first."""
        if address not in EVERY:
            return [address] if _is_address(address) else []
        if is_six not in self._outside:
            own = self._inventory.routes.own_addresses("6" if is_six else "4")
            inside = self._inventory.bridge_addresses()
            some = [one for one in own if one not in inside]
            far = [one for one in some if self._inventory.is_default_source(one)]
            near = [one for one in some if one not in far]
            self._inner |= {str(one) for one in near if self._is_bridged(one)}
            self._outside[is_six] = [str(one) for one in (*far, *near)]
        return self._outside[is_six]

    def _is_bridged(self, address: Address) -> bool:
        device = self._inventory.device_with(address)
        return bool(device) and Path(f"/sys/class/net/{device}/bridge").exists()

    def _to(self, address: str, protocol: str, port: int, source: str) -> Packet:
        """A packet to an address of the host, arriving at the interface with this
        address, or from a guest."""
        by = "" if source == ANYBODY else self._host.device(source)
        by = by or self._inventory.device_with(ip_address(address)) or ANYBODY
        family = "ip6" if ":" in address else "ip"
        return Packet(family, protocol, address, port, source, by)

    def tell_way(self, packet: Packet, why_host: str = "") -> Iterator[str]:
        """Which rule decides, and which rule would decide without ours; `why_host`: the
        reason if it is for the host itself."""
        way = walk(self.known.ruleset, packet, self._host)
        for step in way.steps:
            if step.did == "dnat":
                yield f"led to {way.packet.destination}: {self.name(step)}"
        if way.end == "depends":
            yield f"depends on: {show(way.depends)} ({self.name(way.steps[-1])})"
        elif way.end != "accept":
            yield f"{refused(way.end)} by {self.name(way.steps[-1])}"
        elif "dnat" not in way.packet.states:
            to = "let in to the host itself: no rule leads it to a guest"
            yield f"{to}{why_host}"
        else:
            yield from self._let_in(way)

    def follow(self, packet: Packet) -> Traversal:
        """Its way through all of it."""
        return walk(self.known.ruleset, packet, self._host)

    def _let_in(self, way: Traversal) -> Iterator[str]:
        steps = [one for one in way.steps if one.hook == "forward"]
        ours = [one for one in steps if one.rule and self._is_ours(one)]
        for step in ours or steps[-1:]:
            yield f"let in by {self.name(step)}"
        if not steps:
            yield "let in: no rule of the hook forward refuses it"
        without = self.without_ours(way)
        if without.end == "depends":
            yield f"without vfwhooks: depends on: {show(without.depends)}"
        elif without.end == "accept":
            yield "without vfwhooks: no rule would have refused it"
        else:
            end = refused(without.end)
            yield f"without vfwhooks: {end} by {self.name(without.steps[-1])}"

    def without_ours(self, way: Traversal) -> Traversal:
        """What the hook forward does without our rules to what was led to a guest."""
        packet = replace(way.packet, is_local=False)
        return pass_hook(self.known.ruleset, "forward", packet, self.is_ours)

    def connection(
        self, rows: Sequence[ForwardStatus], protocol: str, port: int, source: str
    ) -> Packet:
        """The first packet of a connection to a port of the host: to the address that
        publishes the port, else to the host's first. Raises VfwError if the host has no
        address."""
        is_six = ":" in source
        hosts = [
            row.host_ip
            for row in rows
            if row.protocol == protocol and _has(row.published, port)
            if not row.is_loopback and is_six == (":" in row.address + row.host_ip)
        ]
        found = self._hosts((hosts or ["*"])[0], is_six)
        if not found:
            raise VfwError(f"the host has no address of IPv{6 if is_six else 4}")
        return self._to(found[0], protocol, port, source)

    def tell_event(self, event: TraceEvent) -> str:
        """A line for a rule that a traced packet met."""
        where = event.family, event.table, "nft"
        for table in self.known.ruleset.tables:
            if (table.family, table.name, table.tool) == where:
                chain = table.chain(event.chain)
                for rule in chain.rules:
                    if rule.place == f"handle {event.handle}":
                        step = Step("", table, chain, rule, "")
                        return f"{self.name(step)}: {show(event.verdict)}"
        place = f"{event.family} {event.table}, chain {event.chain}"
        rule_at = f"handle {event.handle} of " if event.handle else ""
        return show(
            f"{rule_at}{place}: {without_counters(event.text)}: {event.verdict}"
        )

    def trace(self, packet: Packet) -> Iterator[str]:
        """The computed way of one packet, rule by rule."""
        who = packet.source
        who = "an address that no rule names" if who == ANYBODY else who
        by = "" if packet.incoming == ANYBODY else f", by {show(packet.incoming)}"
        to = f"{packet.destination} port {packet.port}"
        yield f"{packet.protocol} from {who} to {to}{by}: computed, nothing is sent"
        way = walk(self.known.ruleset, packet, self._host)
        hook = ""
        for step in way.path:
            if step.hook != hook:
                if hook == "prerouting":
                    yield _routing(way.packet)
                hook = step.hook
                yield hook
            yield f"  {self.name(step)}"
            if step.did == "dnat":
                found = way.packet
                yield f"    → it is for {found.destination} port {found.port} now"
            else:
                yield f"    → {_DID.get(step.did, step.did)}"
        if hook in ("", "prerouting") and way.end == "accept":
            yield _routing(way.packet)
        ends = {
            "accept": "it gets there",
            "depends": f"depends on: {show(way.depends)}",
        }
        yield ends.get(way.end, f"it is {refused(way.end)}")

    def is_ours(self, table: Table, chain: Chain, rule: Rule) -> bool:
        """Whether vfwhooks made the rule."""
        return find_maker(self.known, table, chain, rule).program == OURS

    def _is_ours(self, step: Step) -> bool:
        return bool(step.rule and self.is_ours(step.table, step.chain, step.rule))

    def is_libvirts(self, step: Step) -> bool:
        """Whether libvirt made the rule."""
        if step.rule is None:
            return False
        maker = find_maker(self.known, step.table, step.chain, step.rule)
        return maker.program == LIBVIRT

    def maker(self, step: Step) -> str:
        """The program that made a rule; a policy is told by its chain."""
        if step.rule is None:
            return f"the policy of {step.chain.name} ({step.table})"
        return find_maker(self.known, step.table, step.chain, step.rule).program

    def name(self, step: Step) -> str:
        """A rule and its maker."""
        if step.rule is None:
            return show(str(step))
        maker = find_maker(self.known, step.table, step.chain, step.rule)
        return f"{show(str(step))} (made by {show(str(maker))})"


def _is_address(text: str) -> bool:
    """Whether it is one; an interface without an address stands by its name."""
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _has(published: str, port: int) -> bool:
    ports = parse_ports(published)
    return ports.first <= port <= ports.last


def _why_host(row: ForwardStatus) -> str:
    """Why a connection may be for the host itself."""
    if row.state == "stopped":
        return f": {show(row.guest)} is not running"
    return f": {show(row.reason)}" if row.reason else ""


def _routing(packet: Packet) -> str:
    """The kernel's routing of the packet."""
    if packet.is_local:
        return "routing: to the host itself"
    by = f", by {show(packet.outgoing)}" if packet.outgoing else ""
    return f"routing: to {packet.destination}{by}"


def refused(end: str) -> str:
    """The end of a way in a word."""
    return "rejected" if end == "reject" else "dropped"
