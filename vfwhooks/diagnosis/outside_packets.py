"""The first packets of connections from outside to the published ports of this host."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

from ..config.value_syntax import parse_ports
from ..libvirt.inventory import Inventory
from ..rulesets.packet import ANYBODY, Packet
from ..rulesets.walk import Host
from ..values.errors import VfwError
from ..values.protocols import ALL_PROTOCOLS
from ..values.published import EVERY, Address
from .status_rows import ForwardStatus

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


class OutsidePackets:
    """The packets that come to one host."""

    def __init__(self, host: Host, inventory: Inventory) -> None:
        self._host = host
        self._inventory = inventory
        self._outside: dict[bool, list[str]] = {}
        self._inner: set[str] = set()

    def first(self, row: ForwardStatus, source: str = ANYBODY) -> Packet | None:
        """The first packet of a connection from outside; None if the host has no
        address."""
        return next(iter(self.of(row, source)), None)

    def of(self, row: ForwardStatus, source: str = ANYBODY) -> list[Packet]:
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
            some = self._inventory.outer_addresses("6" if is_six else "4")
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
            if row.protocol == protocol and parse_ports(row.published).has(port)
            if not row.is_loopback and is_six == (":" in row.address + row.host_ip)
            if row.host_ip in EVERY or _is_address(row.host_ip)
        ]
        found = self._hosts((hosts or ["*"])[0], is_six)
        if not found:
            raise VfwError(f"the host has no address of IPv{6 if is_six else 4}")
        return self._to(found[0], protocol, port, source)


def _is_address(text: str) -> bool:
    """Whether it is one; an interface without an address stands by its name."""
    try:
        return bool(ip_address(text))
    except ValueError:
        return False
