"""The content of forwards.yaml as values: guests, and the forwards of each."""

from __future__ import annotations

from dataclasses import dataclass

from ..values.published import BOTH, Family, Published, family_of, parse_protocol
from .forwards_keys import NO_OPTIONS, PortOptions
from .value_syntax import Address, PortRange, Subnet
from .yaml_nodes import Place

_EVERYWHERE = tuple((family, None) for family in BOTH)


@dataclass(frozen=True)
class Forward:
    """One published port or range, over one protocol, on one host address.

    `host_ip` None means every local address; 0.0.0.0 and :: mean every address of their
    family. `target` is as long as `published`, or one port for all of them. `interface`
    names the host's interface that stands in the file in place of the address.
    """

    host_ip: Address | None
    protocol: str
    published: PortRange
    target: PortRange
    allow_from: tuple[Subnet, ...]
    place: Place
    options: PortOptions = NO_OPTIONS
    interface: str = ""

    def places(self) -> tuple[tuple[Family, Address | None], ...]:
        """Each family, with the host's address of it; None for all that it has."""
        host = self.host_ip
        if host is None:
            return _EVERYWHERE
        return ((family_of(host), None if host.is_unspecified else host),)

    def claims(self) -> list[Published]:
        """The published ports, once for each family."""
        ports, protocol = self.published, parse_protocol(self.protocol)
        return [
            Published(family, at, protocol, ports.first, ports.last)
            for family, at in self.places()
        ]


@dataclass(frozen=True)
class GuestForwards:
    """One guest of forwards.yaml; `name` may be its UUID. With `is_pattern` it is what
    guests have whose name the pattern `name` matches. `is_shared`: another guest may
    want a port of it, too, while it runs.

    `is_claimed`: the ports stay rejected while the guest does not run. `public_ips`:
    host addresses for this guest alone. `is_one_to_one`: everything to them is
    forwarded, else only `forwards`. `is_egress`: the guest's own connections leave from
    them. `is_hosts_own`: the host itself may use them, too. `hairpin`: the place of the
    key that switches on hairpin mode for the guest's bridge ports, None if it is off.
    `network` or `bridge` names the interface; `bridge` may be the host's own.
    `by_interface`: a forward for each interface of the host that stands in the file,
    whatever its addresses; `unplaced`: those for which it has no free address now.
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
    by_interface: tuple[Forward, ...] = ()
    unplaced: tuple[Forward, ...] = ()
    is_pattern: bool = False
    is_shared: bool = False
