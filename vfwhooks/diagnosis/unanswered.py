"""Forwards whose connections no guest has answered, from the kernel's connection table.

The host cannot see a guest's routes and firewall, but it sees their effect. A
connection enters the table once its first packet has left for the guest: packets that
this host drops or rejects are not in the table. A TCP connection that the guest refuses
counts as answered. The kernel forgets unanswered connections, UDP in 30 seconds, TCP in
two minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ..config.value_syntax import parse_ports
from ..host.conntrack import Flows, Tuple
from ..host.netlink import Netlink
from ..reconcile.port_index import Destination, PortIndex, find_publishing, has_led, led
from ..store.entry_text import parse_host
from ..values.entries import Dnat
from ..values.errors import VfwError, show
from ..values.findings import NOTE, Finding, by_hand
from ..values.protocols import ALL_PROTOCOLS, Protocol
from ..values.published import Published, family_of, one_to_one, parse_address
from .status_rows import ForwardStatus

_WHY = "unanswered: default route or firewall in the guest?"
_CURE = by_hand("look in the guest: ip route, ip -6 route, nft list ruleset")
_PATIENCE = 10.0  # seconds; 100,000 connections to guests take one or two


def name_unanswered(rows: list[ForwardStatus]) -> list[ForwardStatus]:
    """The rows, with a reason for unanswered connections. The rows stay as they are if
    the kernel does not tell, or has too many connections to look at."""
    if not any(row.state == "active" for row in rows):
        return rows
    try:
        flows = Flows(Netlink(), time.monotonic() + _PATIENCE)
        return judge(rows, flows)
    except (OSError, VfwError):
        return rows


def judge(rows: Sequence[ForwardStatus], flows: Flows) -> list[ForwardStatus]:
    """The rows, with one more reason for each active row that has led to connections if
    none of these was ever answered."""
    owners = {
        one: number
        for number, row in enumerate(rows)
        if row.state == "active"
        for one in _published(row)
    }
    ports = PortIndex(owners)
    addresses = {one.address for one in owners}
    answered: set[int] = set()
    # By the kernel's numbers, since a connection may be listed twice.
    unanswered: dict[int, set[bytes]] = {}

    def see(number: bytes, is_answered: bool, original: Tuple, reply: Tuple) -> None:
        if reply.source not in addresses:
            return
        some = [
            one
            for one in find_publishing(ports, original)
            if has_led(one, original, reply)
        ]
        for owner in [owners[one] for one in some[:1]]:
            if is_answered:
                answered.add(owner)
            else:
                unanswered.setdefault(owner, set()).add(number)

    flows.show_forwarded(see)
    return [
        row.noted(f"{count} of {count} {_WHY}")
        if (count := len(unanswered.get(number, ()))) and number not in answered
        else row
        for number, row in enumerate(rows)
    ]


def check_unanswered(rows: Sequence[ForwardStatus]) -> Iterator[Finding]:
    """The findings of `doctor`: they are guesses, and no fault of this host."""
    for row in rows:
        if is_unanswered(row):
            yield tell_unanswered(row, NOTE)


def is_unanswered(row: ForwardStatus) -> bool:
    """Whether connections were made, and none was answered."""
    return row.reason.endswith(_WHY)


def tell_unanswered(row: ForwardStatus, level: str) -> Finding:
    """What is said of one whose connections nobody has answered."""
    at = "" if row.host_ip == "*" else f"{row.host_ip} "
    to = f"{row.published}/{row.protocol} to {row.address}"
    what = f"{show(row.guest)}: {at}{to}: {row.reason}"
    seen = f"the kernel's table of connections: {row.reason}"
    return Finding(level, "forward-unanswered", row.guest, what, _CURE, seen)


def _published(row: ForwardStatus) -> list[Destination]:
    """What the row's forward publishes, with the ports that a service of the host
    keeps: no connection to these ports leads to the guest."""
    return led(_entries(row))


def _entries(row: ForwardStatus) -> Iterator[Dnat]:
    address, host = parse_address(row.address), parse_host(row.host_ip)
    if row.protocol == ALL_PROTOCOLS and host:
        yield Dnat(one_to_one(host), address, 0)
        return
    published, target = parse_ports(row.published), parse_ports(row.target)
    at = None if host is None or host.is_unspecified else host
    protocol = Protocol(row.protocol)
    first, last = published.first, published.last
    whole = Published(family_of(address), at, protocol, first, last)
    if target.first < target.last or first == last:
        yield Dnat(whole, address, target.first)
        return
    for port in range(first, last + 1):
        yield Dnat(whole.at(port), address, target.first)
