"""The states of all forwards, with reasons: the answer of `vfwhooks status`, as
values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from ..config.port_mappings import FILE, PortMapping
from ..reconcile.desired_state import AWAY, DesiredState
from ..reconcile.guest_addresses import has_address
from ..reconcile.kept_settings import is_localnet_enabled
from ..values.entries import Accept, Entry, Reject, key_of
from ..values.errors import show
from ..values.needs import LoopbackNeed
from ..values.published import Address, Family, Published, family_of
from .guest_interfaces import is_detached, why_unset
from .status_rows import ForwardStatus, GuestStatus, spell_ports

_NOT_RUNNING = "the guest is not running"
_GONE = "the rules are not in the kernel; run vfwhooks apply"
_FREED = (
    "not all of its ports yet: the host's service there has ended; the rest comes "
    "within seconds, or by vfwhooks apply"
)


def guest_status(desired: DesiredState) -> GuestStatus:
    """The status of a running guest."""
    guest = desired.record.guest
    addresses = list(map(str, desired.endpoint.addresses.values()))
    more = desired.settings.from_metadata
    faults = "; ".join(more.faults) if more else ""
    return GuestStatus(guest.name, guest.uuid, "running", addresses, faults)


@dataclass(frozen=True)
class HostState:
    """Facts beside a guest's desired state. `held`: the entries in the kernel, with
    their connections. `cut_off`: those of them to which no rule of ours leads.
    `missing`: the families without libvirt's table, with the reason. `notes`: notes for
    active forwards, by what they publish. `absent`: addresses that the host does not
    have, with the reason. `lost`: what is published without effect, with the reason."""

    held: Mapping[Entry, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[Published, str] = field(default_factory=dict)
    absent: Mapping[Address, str] = field(default_factory=dict)
    lost: Mapping[Published, str] = field(default_factory=dict)
    cut_off: Collection[Entry] = ()
    root: str = ""

    def has(self, entry: Entry) -> bool:
        """Whether the entry is in the kernel and has its effect."""
        return entry in self.held and entry not in self.cut_off


def forward_statuses(desired: DesiredState, host: HostState) -> list[ForwardStatus]:
    """The forwards of a running guest."""
    name, addresses = desired.record.guest.name, desired.endpoint.addresses
    taken, unset = _withheld(desired), why_unset(desired, host.root)
    away = desired.settings.forwards if desired.record.is_away else []
    found = [_row(name, forward, "", "pending", AWAY) for forward in away]
    for forward in () if away else desired.settings.forwards:
        families = [family for family in forward.families if family in addresses]
        withheld = [why for family, why in taken if family in forward.families]
        found += [_row(name, forward, "", "conflict", reason) for reason in withheld]
        if not families and not withheld:
            which = " or ".join(f"IPv{family}" for family in forward.families)
            reason = desired.endpoint.reason or f"the guest has no {which} address"
            found.append(_row(name, forward, "", "pending", reason))
        for family in families:
            entries, free = _counted(desired, forward, family, host.held)
            state, reason = _judge(desired, forward, entries, host, addresses[family])
            if state == "active":
                said = free or unset
                state, reason = _judge_active(desired, forward, family, host, said)
            count = sum(host.held.get(entry, 0) for entry in entries)
            address = str(addresses[family])
            found.append(_row(name, forward, address, state, reason, count))
    more = desired.settings.from_metadata
    for forward, state, reason in more.refused if more else ():
        found.append(_row(name, forward, "", state, reason))
    found += unplaced_statuses(name, desired.settings.unplaced)
    pattern = desired.settings.pattern
    return by_pattern(found, pattern) if pattern else found


def by_pattern(rows: Iterable[ForwardStatus], pattern: str) -> list[ForwardStatus]:
    """The rows of forwards that a guest has by a pattern."""
    return [
        replace(row, source="pattern", pattern=pattern) if row.source == FILE else row
        for row in rows
    ]


def unplaced_statuses(
    name: str, forwards: Iterable[tuple[str, PortMapping]], is_stopped: bool = False
) -> list[ForwardStatus]:
    """A guest's forwards on interfaces of the host that have no free address."""
    found = []
    for interface, forward in forwards:
        state, reason = "pending", f"{show(interface)} has no free address on this host"
        if is_stopped:
            state, reason = "stopped", _NOT_RUNNING
        row = _row(name, forward, "", state, reason)
        found.append(replace(row, host_ip=interface))
    return found


def _counted(
    desired: DesiredState,
    forward: PortMapping,
    family: Family,
    held: Mapping[Entry, int],
) -> tuple[list[Entry], str]:
    """The entries that decide the state of a forward, and a reason. For a range these
    may be fewer than the desired entries."""
    entries = desired.entries_of(forward, family)
    if forward.first < forward.last and not all(entry in held for entry in entries):
        before = _before(desired, forward, family)
        if before and all(entry in held for entry in before):
            return before, _FREED
    return entries, ""


def _judge_active(
    desired: DesiredState,
    forward: PortMapping,
    family: Family,
    host: HostState,
    said: str,
) -> tuple[str, str]:
    """The state and reason of a forward whose own entries are all in place; `said` is
    the reason if there is no other."""
    published = forward.published(family)
    if forward.host and forward.host in host.absent:
        return "pending", host.absent[forward.host]
    if published in host.lost:
        return "conflict", host.lost[published]
    is_let_in = all(n.mode == "open" for n in desired.endpoint.networks)
    if family in host.missing and not is_let_in:
        return "blocked", host.missing[family]
    accept = Accept(desired.endpoint.addresses[family])
    is_needed = accept in desired.entries and not (is_let_in or forward.is_loopback)
    if is_needed and not host.has(accept):
        return "blocked", _GONE
    return "active", host.notes.get(published, "") or said


def stopped_statuses(
    name: str,
    forwards: list[PortMapping],
    claim: DesiredState | None,
    held: Mapping[Entry, int],
) -> list[ForwardStatus]:
    """The forwards of a stopped guest; `claim` has the entries that reject its
    ports."""
    reason, of_ports = _NOT_RUNNING, ""
    if claim and all(entry in held for entry in claim.entries):
        of_ports = "; its ports are rejected"
    elif claim:
        of_ports = "; its ports are not rejected yet: run vfwhooks apply"
    found = []
    for forward in forwards:
        why = (
            [
                claim.conflicts.get((Reject, forward.published(family)))
                for family in forward.families
            ]
            if claim
            else []
        )
        said = reason + ("" if forward.is_loopback else of_ports)
        found.append(_row(name, forward, "", "stopped", next(filter(None, why), said)))
    return found


def _withheld(desired: DesiredState) -> list[tuple[Family, str]]:
    """The families whose address another guest has, with the reason."""
    return [
        (family_of(what), why)
        for (kind, what), why in desired.conflicts.items()
        if kind is Accept and isinstance(what, (IPv4Address, IPv6Address))
    ]


def _judge(
    desired: DesiredState,
    forward: PortMapping,
    entries: list[Entry],
    host: HostState,
    address: Address,
) -> tuple[str, str]:
    """The state and reason by our own entries and settings, and by the interfaces on
    the bridge that leads to the guest's address."""
    for entry in entries:
        if key_of(entry) in desired.conflicts:
            return "conflict", desired.conflicts[key_of(entry)]
    if not all(map(host.has, entries)):
        return "blocked", _GONE
    if forward.is_loopback:
        for network in desired.endpoint.networks:
            is_needed = LoopbackNeed(network.name) in desired.needs
            if is_needed and not is_localnet_enabled(network.bridge, host.root):
                what = f"net.ipv4.conf.{network.bridge}.route_localnet is 0"
                return "blocked", f"{what}; run vfwhooks apply"
    networks = desired.endpoint.networks
    bridges = [one.bridge for one in networks if has_address(one, address)]
    for nic in desired.record.guest.nics:
        bridge = nic.bridge if nic.bridge in bridges else ""
        if nic.device and bridge and is_detached(nic.device, bridge, host.root):
            cure = f"restart libvirtd, or: ip link set {nic.device} master {bridge}"
            return "blocked", f"{nic.device} is not attached to {bridge}; {cure}"
    return "active", ""


def _before(desired: DesiredState, forward: PortMapping, family: Family) -> list[Entry]:
    """A range's entries without the ports that services had at the last sync."""
    published = forward.published(family)
    ports = [p.first for p in desired.record.yields if p.is_beside(published)]
    holes = {port for port in ports if published.has(port)}
    return forward.entries(family, desired.endpoint.addresses[family], holes)


def _row(
    guest: str,
    forward: PortMapping,
    address: str,
    state: str,
    reason: str,
    connections: int = 0,
) -> ForwardStatus:
    return ForwardStatus(
        guest,
        forward.host_ip,
        spell_ports(forward, forward.first, forward.last),
        spell_ports(forward, forward.target, forward.target_last),
        str(forward.protocol),
        address,
        state,
        reason,
        connections,
        forward.source,
    )
