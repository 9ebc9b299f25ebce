"""The verdict of a ruleset on a connection from outside to each published port: the
rule that accepts it, and the rule that would refuse it without ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..libvirt.inventory import Inventory
from ..rulesets.context import Context
from ..rulesets.makers import LIBVIRT, OURS, find_maker
from ..rulesets.nft_reader import without_counters
from ..rulesets.packet import ANYBODY, Packet
from ..rulesets.ruleset import Chain, Rule, Table
from ..rulesets.walk import Host, Step, Traversal, pass_hook, walk
from ..values.errors import show
from .outside_packets import OutsidePackets
from .status_rows import ForwardStatus
from .traced_packet import TraceEvent

_DID = {
    "accept": "accepted by this chain",
    "drop": "dropped",
    "reject": "rejected",
    "snat": "its source address is settled",
    "depends": "nobody can tell whether the rule is for it",
}


class PortVerdicts:
    """Verdicts for one ruleset and one host, on packets from `outside`."""

    def __init__(self, known: Context, host: Host, inventory: Inventory) -> None:
        self.known = known
        self.outside = OutsidePackets(host, inventory)
        self._host = host

    def tell(self, rows: Sequence[ForwardStatus]) -> Iterator[str]:
        """Lines about a connection to the first port of each row."""
        for row in rows:
            if row.is_loopback or row.host_ip == "::1":
                continue
            name = f"{row.published}/{row.protocol} for {show(row.guest)}"
            found: dict[tuple[str, ...], list[str]] = {}
            for packet in self.outside.of(row):
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
        return self.maker(step) == LIBVIRT

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
