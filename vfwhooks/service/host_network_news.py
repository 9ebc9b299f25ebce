"""News on demand, received while forwards of a guest need them: bridge ports (`hairpin:
true`), the host's routing (`return_path: true`, `public_ip`), and the host's addresses
on its own bridges (`bridge:`) and on interfaces (`host_ip: {interface: …}`)."""

from __future__ import annotations

import select

from ..config import compiled_file
from ..config.host_ips import Interfaces, format_stamp, parse_stamps
from ..libvirt.host_bridges import read_bridge
from ..libvirt.inventory import Inventory
from ..reconcile.sync_report import ADDRESSES
from ..store.state import State
from ..values.published import Address, Subnet
from .guest_cache import GuestCache
from .kernel_news import BridgePorts, Routing
from .schedule import Schedule

_Bridge = tuple[list[tuple[Address, Subnet]], bool]
_DEBOUNCE = 0.1
_AT_ONCE = 0.3  # seconds: a program may change several rules or routes in a row


class NewsOnDemand:
    """Receives these news, and writes events that plan the guests anew."""

    def __init__(
        self,
        state: State,
        guest_cache: GuestCache,
        poll: select.poll,
        schedule: Schedule,
    ) -> None:
        self._state = state
        self._guest_cache = guest_cache
        self._poll = poll
        self._schedule = schedule
        self._ports: BridgePorts | None = None
        self._routing: Routing | None = None
        self._subnets: dict[str, _Bridge] = {}

    def listen(self) -> None:
        """Listen to the sources that guests need now, and no others: each change of an
        interface or a route of the host is news there. A new source is read once."""
        is_wanted = bool(self._guest_cache.hairpins())
        if is_wanted and self._ports is None:
            self._ports = BridgePorts()
            self._poll.register(self._ports, select.POLLIN)
            self._unset(self._ports.known())
        elif self._ports and not is_wanted:
            self._poll.unregister(self._ports)
            self._ports.close()
            self._ports = None
        bridges = self._guest_cache.bridges()
        interfaces = compiled_file.stamps_in_force(self._state.path)
        is_wanted = bool(
            bridges
            or self._guest_cache.returned()
            or self._guest_cache.public()
            or parse_stamps(interfaces)
        )
        if is_wanted and self._routing is None:
            self._routing = Routing()
            self._poll.register(self._routing, select.POLLIN)
            self._rerouted()
        elif self._routing and not is_wanted:
            self._poll.unregister(self._routing)
            self._routing.close()
            self._routing = None
        if bridges - set(self._subnets):
            self._rerouted()
        for gone in set(self._subnets) - bridges:
            del self._subnets[gone]

    def hear(self, fd: int) -> None:
        """Read the news of this descriptor, if it is one of ours."""
        if self._ports and fd == self._ports.fileno():
            self._unset(self._ports.read())
        elif self._routing and fd == self._routing.fileno() and self._routing.read():
            self._rerouted()

    def _unset(self, devices: set[str]) -> None:
        """These ports are not in hairpin mode: plan anew the guests that need it. A
        bridge forgets the mode of a port that is unplugged."""
        for device, record in self._guest_cache.hairpins().items():
            if device in devices:
                self._guest_cache.plan_anew(record)
                self._schedule.add("ports", _DEBOUNCE)

    def _rerouted(self) -> None:
        """Answers may leave by another way: plan anew the guests with return routes;
        this also restores a rule of ours that is gone."""
        self._schedule.add("routing", _AT_ONCE, 2 * _AT_ONCE)

    def plan_rerouted(self) -> None:
        """Plan anew the guests that the routing concerns; its news have calmed down."""
        for record in self._guest_cache.returned():
            self._guest_cache.plan_anew(record)
        self._look_at_public()
        now = self._look_at_bridges()
        if now != self._subnets:
            self._subnets = now
            # The entries that its guests share have changed, too.
            self._state.ask_full(ADDRESSES)

    def has_moved(self) -> bool:
        """Whether an interface has other addresses than the configuration in force was
        compiled with."""
        found = Interfaces()
        taken = compiled_file.stamps_in_force(self._state.path)
        return any(
            format_stamp(name, found(name)) != line
            for name, line in parse_stamps(taken).items()
        )

    def _look_at_public(self) -> None:
        """Plan anew the guests with an address that is the host's own now, or is not
        any more."""
        inventory = Inventory(f"{self._state.path}/networks")
        for record in self._guest_cache.public():
            known = record.public.items()
            if all(inventory.is_own(host, was) == was for host, was in known):
                continue
            if record.guest.driver == "claim":
                self._state.ask_full(ADDRESSES)
            else:
                self._guest_cache.plan_anew(record)

    def _look_at_bridges(self) -> dict[str, _Bridge]:
        """The host's addresses on its own bridges, with their subnets, and whether
        only guests are there; none for a bridge that does not exist."""
        found: dict[str, _Bridge] = {}
        inventory = Inventory(f"{self._state.path}/networks")
        for bridge in self._guest_cache.bridges():
            one = read_bridge(bridge, inventory.index(bridge), inventory.route)
            is_inside = bool(one and one.is_inside(inventory.is_default_source))
            found[bridge] = (one.subnets if one else [], is_inside)
        return found
