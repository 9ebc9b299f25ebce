"""The picture of a host as values: the way from outside to each published port, and who
lets it in or refuses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from ..libvirt.inventory import Inventory
from ..reconcile.guest_addresses import find_network_at
from ..rulesets.packet import ANYBODY, Packet
from ..rulesets.walk import Traversal
from ..values.guests import Network
from ..values.published import EVERY, Subnet
from .overview import Overview
from .port_verdicts import PortVerdicts, refused
from .status_rows import ForwardStatus
from .unmatched_patterns import is_of_nobody

# How a way ends: at the guest; at the guest, and something is wrong; at who refuses it;
# at somebody else; nowhere yet; nobody can tell.
LET_IN, HINDERED, REFUSED = "let in", "hindered", "refused"
TAKEN, WAITS, UNKNOWN = "taken", "waits", "unknown"
OTHERS = "anybody else"
_MOST_NAMED = 24  # guests without forwards that a network names


@dataclass(frozen=True)
class Lane:
    """The way of some clients (`who`; '' for all) to one published port. `host` is the
    address of the host, '*' for all of them; `to` the address and port of the guest.
    `by` is who refuses or takes it, `why` a reason or a rule."""

    host: str
    port: str
    guest: str
    about: str  # the guest's state and network
    to: str = ""
    who: str = ""
    end: str = LET_IN
    by: str = ""
    why: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether the host alone can connect."""
        return self.host.startswith("127.") or self.host == "::1"


@dataclass(frozen=True)
class Picture:
    """The lanes of all published ports, and below those the lanes straight at each
    network of guests. `own` are the host's addresses."""

    title: str
    own: tuple[str, ...]
    lanes: tuple[Lane, ...]
    networks: tuple[Lane, ...] = ()
    notes: tuple[str, ...] = ()


def find_picture(
    overview: Overview,
    rows: Sequence[ForwardStatus],
    verdicts: PortVerdicts,
    inventory: Inventory,
    title: str,
) -> Picture:
    """The picture of these forwards; the networks are in it if these are all."""
    finder = _Finder(overview, verdicts, inventory)
    lanes = [lane for row in rows for lane in finder.lanes(row)]
    first: dict[str, tuple[bool, str, int]] = {}
    for at, lane in enumerate(lanes):
        first.setdefault(lane.guest, (lane.host not in EVERY, lane.host, at))
    lanes.sort(key=lambda lane: first[lane.guest])  # one box for each address and guest
    is_all = len(rows) == len(overview.forwards)
    own = [str(one) for family in "46" for one in inventory.outer_addresses(family)]
    networks = list(finder.networks()) if is_all else []
    return Picture(title, tuple(own), tuple(lanes), tuple(networks), overview.problems)


class _Finder:
    def __init__(
        self,
        overview: Overview,
        verdicts: PortVerdicts,
        inventory: Inventory,
    ) -> None:
        self._overview = overview
        self._verdicts = verdicts
        self._inventory = inventory
        self._guests = {guest.name: guest for guest in overview.guests}

    def lanes(self, row: ForwardStatus) -> Iterator[Lane]:
        """One lane, or two where only some clients are let in."""
        lane = Lane(
            row.host_ip,
            f"{row.published}/{row.protocol}" if row.published != "all" else "all",
            row.guest,
            self._about(row),
            _end(row),
        )
        if lane.is_loopback:
            yield _by_status(lane, row)
            return
        is_six = ":" in row.address + row.host_ip
        some = [one for one in row.allow_from if (":" in one) == is_six]
        if some and row.address:
            only = ", ".join(some[:2])
            more = f" and {len(some) - 2} more" if len(some) > 2 else ""
            sample = str(ip_network(some[0]).network_address)
            packet = self._verdicts.outside.first(row, sample)
            yield self._judge(replace(lane, who=only + more), row, packet)
            lane = replace(lane, who=OTHERS)
        yield self._judge(lane, row, self._verdicts.outside.first(row))

    def _about(self, row: ForwardStatus) -> str:
        guest = self._guests.get(row.guest)
        if guest and guest.state != "running":
            return guest.state
        if is_of_nobody(row):
            return row.state
        network = find_network_at(self._inventory, row.address)
        return _name(network) if network else ""

    def _judge(self, lane: Lane, row: ForwardStatus, packet: Packet | None) -> Lane:
        if packet is None:
            why = row.reason or "the host has no such address"
            return replace(lane, end=WAITS, why=why)
        way = self._verdicts.follow(packet)
        if way.end == "depends":
            return replace(lane, end=UNKNOWN, why=way.depends)
        if way.end != "accept":
            said = row.reason if row.state != "active" else ""
            return self._refused(lane, way, said)
        if "dnat" not in way.packet.states:
            return _by_status(lane, row, "the host itself")
        if way.packet.destination != (row.address or way.packet.destination):
            led = [step for step in way.steps if step.did == "dnat"]
            by = self._verdicts.maker(led[-1])
            why = f"it goes to {way.packet.destination}"
            return replace(lane, end=TAKEN, by=by, why=row.reason or why)
        lane = _by_status(lane, row)
        if lane.end == LET_IN and not lane.why:
            return replace(lane, why=self._without(way))
        return lane

    def _refused(self, lane: Lane, way: Traversal, said: str = "") -> Lane:
        """Ended by the last rule of the way; `said` is a better reason."""
        step = way.steps[-1]
        by = f"{refused(way.end)} by {self._verdicts.maker(step)}"
        rule = f"{step.hook}: {step.rule.text}" if step.rule else step.hook
        return replace(lane, end=REFUSED, by=by, why=said or rule)

    def _without(self, way: Traversal) -> str:
        without = self._verdicts.without_ours(way)
        if without.end in ("accept", "depends"):
            return ""
        by = self._verdicts.maker(without.steps[-1])
        return f"without vfwhooks: {refused(without.end)} by {by}"

    def networks(self) -> Iterator[Lane]:
        """What becomes of a packet that is sent straight at a guest's address."""
        shown = {row.guest for row in self._overview.forwards}
        bare: dict[str, list[str]] = {}
        seen: dict[str, str] = {}
        for guest in self._overview.guests:
            for address in guest.addresses:
                network = find_network_at(self._inventory, address)
                name = network.name if network else ""
                seen.setdefault(f"{name} {':' in address}", address)
                if guest.name not in shown:
                    bare.setdefault(name, []).append(guest.name)
        for name in self._inventory.names():
            network = self._inventory.network(name)
            if network is None or network.is_hosts_own or not network.is_ours:
                continue
            some = list(dict.fromkeys(bare.get(name, ())))
            more = f" and {len(some) - _MOST_NAMED} more" * (len(some) > _MOST_NAMED)
            names = ", ".join(some[:_MOST_NAMED]) + more
            about = f"nothing published: {names}" if names else "every guest on it"
            for own, subnet in network.subnets:
                six = subnet.version == 6
                to = seen.get(f"{name} {six}") or str(own + 1)
                yield self._straight(network, subnet, to, about)

    def _straight(self, network: Network, subnet: Subnet, to: str, about: str) -> Lane:
        family = "ip6" if subnet.version == 6 else "ip"
        lane = Lane(str(subnet), "any port", f"network {_name(network)}", about)
        way = self._verdicts.follow(
            Packet(family, "tcp", to, 80, incoming=self._uplink(subnet.version))
        )
        if way.end == "depends":
            return replace(lane, end=UNKNOWN, why=way.depends)
        if way.end == "accept":
            return lane
        return self._refused(lane, way)

    def _uplink(self, version: int) -> str:
        """The interface that a packet from outside comes in by."""
        for one in self._inventory.outer_addresses(str(version)):
            return self._inventory.device_with(one) or ANYBODY
        return ANYBODY


def _by_status(lane: Lane, row: ForwardStatus, other: str = "") -> Lane:
    """What status says of it, where the rules refuse nothing. `other`: who gets the
    packets in place of the guest."""
    if row.state == "conflict":
        return replace(lane, end=TAKEN, by=other, why=row.reason)
    if row.state == "active" and not other:
        return replace(lane, why=row.reason)
    end = HINDERED if row.state == "blocked" and not other else WAITS
    return replace(lane, end=end, why=row.reason or "no rule leads it to the guest")


def _end(row: ForwardStatus) -> str:
    if not row.address:
        return ""
    target = "" if row.target == "all" else f":{row.target}"
    return f"[{row.address}]{target}" if ":" in row.address else row.address + target


def _name(network: Network) -> str:
    if network.is_hosts_own:
        return f"bridge {network.bridge}"
    return f"{network.name} ({network.bridge})"
