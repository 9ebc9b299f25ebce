"""Forwards whose connections no guest has answered, as the kernel's table has them.

The host cannot see a guest's own routes and firewall; it sees what came of them. A
connection is in the table once its first packet has left for the guest: what this host
drops or rejects is not in there. A TCP connection that the guest refuses is answered.
The kernel forgets unanswered ones by itself, UDP in 30 seconds, TCP in two minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .conntrack import find_publishing, has_led
from .elements import WHOLE
from .errors import VfwError, show
from .findings import NOTE, Finding
from .flows import Flows, Tuple
from .netlink import Netlink
from .published import Published, PublishedPorts
from .status import ForwardStatus

_WHY = "unanswered: default route or firewall in the guest?"
_CURE = "look in the guest: ip route, ip -6 route, nft list ruleset"
_PATIENCE = 10.0  # seconds; 100,000 connections to guests take one or two


def name_unanswered(rows: list[ForwardStatus]) -> list[ForwardStatus]:
    """The rows, with a reason where this host's connections give one; as they are
    where the kernel does not tell, or has too many to look at."""
    if not any(row.state == "active" for row in rows):
        return rows
    try:
        flows = Flows(Netlink(), time.monotonic() + _PATIENCE)
        return judge(rows, flows)
    except (OSError, VfwError):
        return rows


def judge(rows: Sequence[ForwardStatus], flows: Flows) -> list[ForwardStatus]:
    """The rows, with a reason for each active one that has led to connections, if not
    one of them was ever answered; it comes after whatever else is to be said."""
    owners = {
        one: number
        for number, row in enumerate(rows)
        if row.state == "active"
        for one in _published(row)
    }
    ports = PublishedPorts(owners)
    addresses = {one.address for one in owners}
    answered: set[int] = set()
    # By their numbers in the kernel, since one may be shown twice.
    unanswered: dict[int, set[bytes]] = {}

    def see(number: bytes, is_answered: bool, original: Tuple, reply: Tuple) -> None:
        if reply.source not in addresses:
            return
        found = find_publishing(ports, original)
        led = [one for one in found if has_led(one, original, reply)]
        for owner in [owners[one] for one in led[:1]]:
            if is_answered:
                answered.add(owner)
            else:
                unanswered.setdefault(owner, set()).add(number)

    flows.show_forwarded(see)
    return [
        replace(row, reason=_reason(row, len(unanswered[number])))
        if number in unanswered and number not in answered
        else row
        for number, row in enumerate(rows)
    ]


def check_unanswered(rows: Sequence[ForwardStatus]) -> Iterator[Finding]:
    """What `doctor` says of them; it is a guess, and no fault of this host's."""
    for row in rows:
        if row.reason.endswith(_WHY):
            at = "" if row.host_ip == "*" else f"{row.host_ip} "
            to = f"{row.published}/{row.protocol} to {row.address}"
            yield Finding(NOTE, f"{show(row.guest)}: {at}{to}: {row.reason}", _CURE)


def _reason(row: ForwardStatus, count: int) -> str:
    return "; ".join(filter(None, (row.reason, f"{count} of {count} {_WHY}")))


def _published(row: ForwardStatus) -> Iterator[Published]:
    """What the row's forward publishes. Ports that a service of the host keeps are of
    it too: no connection to them leads to the guest."""
    host = "*" if row.host_ip in ("0.0.0.0", "::") else row.host_ip
    head = f"dnat {'6' if ':' in row.address else '4'} {host} {row.protocol}"
    if row.protocol == WHOLE:
        yield Published(f"{head} 0 65535 {row.address} 0")
        return
    first, last = _ends(row.published)
    target, end = _ends(row.target)
    if target < end or first == last:
        yield Published(f"{head} {first} {last} {row.address} {target}")
        return
    for port in range(first, last + 1):
        yield Published(f"{head} {port} {port} {row.address} {target}")


def _ends(ports: str) -> tuple[int, int]:
    first, _, last = ports.partition("-")
    return int(first), int(last or first)
