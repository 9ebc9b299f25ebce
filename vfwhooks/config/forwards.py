"""What forwards.yaml says, as values: guests, and what is forwarded to each."""

from __future__ import annotations

from dataclasses import dataclass

from ..values.published import BOTH, Published, family_of, parse_protocol
from .keys import NO_OPTIONS, PortOptions
from .value_syntax import Address, PortRange, Subnet
from .yaml_tree import Place


@dataclass(frozen=True)
class Forward:
    """One published port or range, over one protocol, on one host address.

    `host_ip` None is every local address; 0.0.0.0 and :: are those of their family.
    `target` is as long as `published`, or one port that all of them lead to.
    """

    host_ip: Address | None
    protocol: str
    published: PortRange
    target: PortRange
    allow_from: tuple[Subnet, ...]
    place: Place
    options: PortOptions = NO_OPTIONS

    def claims(self) -> list[Published]:
        """What it publishes, in each of its families."""
        host, ports, protocol = (
            self.host_ip,
            self.published,
            parse_protocol(self.protocol),
        )
        at = None if host is None or host.is_unspecified else host
        return [
            Published(family, at, protocol, ports.first, ports.last)
            for family in (BOTH if host is None else (family_of(host),))
        ]


@dataclass(frozen=True)
class GuestForwards:
    """What forwards.yaml says of one guest; `name` may be its UUID.

    What `is_claimed` stays rejected while the guest does not run. `public_ips` are
    addresses for this guest alone: `is_whole` is forwarded from them, else what is in
    `forwards` only; its own connections leave from them if it `is_outgoing`; the host
    itself may use them only if it `is_hosts_own`. `hairpin` is where it stands that its
    ports of bridges are to be in hairpin mode, if they are. The interface that is meant
    is that on `network`, or on `bridge`, which may be the host's own.
    """

    name: str
    place: Place
    forwards: tuple[Forward, ...] = ()
    addresses: tuple[Address, ...] = ()
    network: str = ""
    bridge: str = ""
    bridge_place: Place = Place("")  # noqa: RUF009 - frozen
    is_claimed: bool = False
    public_ips: tuple[Address, ...] = ()
    public_place: Place = Place("")  # noqa: RUF009 - frozen
    is_one_to_one: bool = False
    is_egress: bool = False
    is_hosts_own: bool = False
    hairpin: Place | None = None
