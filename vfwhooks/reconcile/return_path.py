"""Return routes: guests' answers leave the host as its own answers would.

A connection may come in by another uplink, to an address whose answers the host routes
by another table. It gets a mark with a value for that table; packets with the mark that
come in by the guest's bridge are routed by the table. Strict rp_filter uses the mark
only with src_valid_mark. The kernel is asked for the table.

A return route is an entry in its network's record before it is in the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..config.port_mappings import Addresses, PortMapping, Settings
from ..firewall.entry_delta import Delta
from ..host.policy_rules import PolicyRule, PolicyRules
from ..libvirt.inventory import Inventory
from ..store import files
from ..store.records import Pair, Record
from ..store.state import State
from ..values.connection_marks import MARKS
from ..values.entries import Entry, ReturnRoute
from ..values.guests import Network
from ..values.needs import ReturnRouteNeed
from ..values.published import Address, Family
from .kept_settings import VALID_MARK, KeptSetting

_VALUES = "ways"


def find_return_routes(
    settings: Settings,
    addresses: Addresses,
    networks: dict[Family, list[Network]],
    inventory: Inventory,
    mark: Callable[[int], int],
) -> tuple[list[ReturnRouteNeed], list[str]]:
    """Note with a guest's forwards the return routes of their answers, where these
    differ from the kernel's own. Returns these routes, which are needs of the guest,
    and messages about tables without a mark.

    `addresses` and `networks` are the guest's, by family.
    """
    finder = _Finder(addresses, networks, inventory, mark)
    for forward in settings.forwards:
        if forward.options.return_path and not forward.is_loopback:
            for family in forward.families:
                if family in addresses:
                    more = finder.return_marks(forward, family)
                    forward.return_marks = [*forward.return_marks, *more]
    return list(finder.found), list(finder.unmarked)


class _Finder:
    def __init__(
        self,
        addresses: Addresses,
        networks: dict[Family, list[Network]],
        inventory: Inventory,
        mark: Callable[[int], int],
    ) -> None:
        self._addresses = addresses
        self._networks = networks
        self._inventory = inventory
        self._mark = mark
        self._known: dict[Address, tuple[str, int] | None] = {}
        self._hosts: dict[Family, list[Address]] = {}
        self.found: dict[ReturnRouteNeed, None] = {}
        self.unmarked: dict[str, None] = {}

    def return_marks(
        self, forward: PortMapping, family: Family
    ) -> list[tuple[Address, str, int]]:
        """The host's addresses of the forward that need a return route, each with the
        uplink and the mark's value."""
        hosts = [forward.host] if forward.host else []
        if forward.is_any:
            if family not in self._hosts:
                self._hosts[family] = self._inventory.outer_addresses(family)
            hosts = self._hosts[family]
        found = []
        for host in hosts:
            if host not in self._known:
                self._known[host] = self._way(host, family)
            marked = self._known[host]
            if marked:
                found.append((host, *marked))
        return found

    def _way(self, host: Address, family: Family) -> tuple[str, int] | None:
        routes, guest = self._inventory.routes, self._addresses[family]
        own = routes.route_from(host)
        _, uplink = routes.link(own[0]) if own else (0, "")
        needing = [
            network
            for network in self._networks[family]
            if (index := routes.link(name=network.bridge)[0])
            and routes.route_from(guest, index) != own
        ]
        if own is None or not uplink or not needing:
            return None
        value = self._mark(own[1])
        if not value:
            self.unmarked[no_mark(own[1])] = None
            return None
        for network in needing:
            need = ReturnRouteNeed(network.name, family, own[1], value, uplink)
            self.found[need] = None
        return uplink, value


def no_mark(table: int) -> str:
    """The message about a table without a mark."""
    what = f"return_path knows {len(MARKS)} tables at most"
    return f"{what}, and table {table} is one more"


def return_routes_of(entries: Iterable[Entry]) -> list[ReturnRoute]:
    """The entries that no firewall backend holds."""
    return [entry for entry in entries if isinstance(entry, ReturnRoute)]


def firewalls(deltas: list[Delta]) -> list[Delta]:
    """The changes without entries that no firewall backend holds."""
    return [
        Delta(
            delta.owner,
            [entry for entry in delta.old if not isinstance(entry, ReturnRoute)],
            [entry for entry in delta.new if not isinstance(entry, ReturnRoute)],
        )
        for delta in deltas
    ]


def values(state: State) -> dict[int, int]:
    """The routing tables by their marks' values."""
    found = {}
    for name in state.names(_VALUES):
        table = state.read(f"{_VALUES}/{name}")
        if name.isdigit() and table.isdigit():
            found[int(name)] = int(table)
    return found


def known_value(state: State, table: int) -> int:
    """The mark's value for the table; 0 for none."""
    return next((v for v, one in values(state).items() if one == table), 0)


def allot_value(state: State, table: int, given: Iterable[int] = ()) -> int:
    """The mark's value for the table from now on; 0 if none is left. When all are in
    use, the values of tables that no return route needs are free again, but not those
    that were `given` just now: their return routes are in no record yet."""
    known = known_value(state, table)
    if known:
        return known
    taken = set(values(state))
    if taken >= set(MARKS):
        routes = [r for one in state.records() for r in return_routes_of(one.entries)]
        _sweep(state, {*given, *(route.value for route in routes)})
        taken = set(values(state))
    free = next((value for value in MARKS if value not in taken), 0)
    if free:
        state.write(f"{_VALUES}/{free}", f"{table}")
    return free


def _sweep(state: State, used: set[int]) -> None:
    for value in values(state):
        if value not in used:
            state.remove(f"{_VALUES}/{value}")


class ReturnRoutes:
    """The return routes in the kernel, for a holder of the lock."""

    def __init__(
        self,
        state: State,
        root: str = "",
        write: Callable[[str, bytes], None] = files.overwrite,
        connect: Callable[[], PolicyRules] = PolicyRules,
    ) -> None:
        self._state = state
        self._valid_marks = KeptSetting(VALID_MARK, state, root, write)
        self._connect = connect

    def change(self, pairs: list[Pair]) -> list[str]:
        """Set the return routes that guests need (each pair is a record before and
        after), and remove those that no guest needs any more; problems for the log."""
        wanted = self._needed([new for _, new in pairs if new])
        before = [entry for old, _ in pairs if old for entry in old.entries]
        gone = set(return_routes_of(before)) - wanted
        left = set(wanted)
        for record in self._state.records() if gone else ():
            left.update(set(return_routes_of(record.entries)) - gone)
        still = {_rule(one).what for one in left}
        rules = [rule for rule in map(_rule, gone) if rule.what not in still]
        problems = self._rules(wanted, rules, is_all=False)
        problems += self._valid_marks.enable(_marked(wanted))
        return problems + self._valid_marks.restore(_uplinks(gone) - _uplinks(left))

    def sync(self, wanted: set[ReturnRoute]) -> list[str]:
        """Set these return routes, remove all others of ours; problems for the log."""
        problems = self._rules(wanted, [], is_all=True)
        problems += self._valid_marks.enable(_marked(wanted))
        problems += self._valid_marks.restore_others(_uplinks(wanted))
        _sweep(self._state, {one.value for one in wanted})
        return problems

    def _needed(self, records: list[Record]) -> set[ReturnRoute]:
        """The return routes in the records themselves, and in the records of networks
        that exist already."""
        entries = [entry for record in records for entry in record.entries]
        needs = {need for record in records for need in record.needs}
        for need in needs:
            if isinstance(need, ReturnRouteNeed):
                network = self._state.record(("network", need.name))
                entries += network.entries if network else []
        return set(return_routes_of(entries))

    def _rules(
        self, wanted: set[ReturnRoute], gone: list[PolicyRule], is_all: bool
    ) -> list[str]:
        rules = self._connect()
        try:
            rules.sync([_rule(one) for one in wanted], is_all)
            rules.remove(gone)
        except OSError as error:
            return [f"rules for return_path cannot be set: {error.strerror}"]
        finally:
            rules.close()
        return []


def _rule(route: ReturnRoute) -> PolicyRule:
    return PolicyRule(route.family, route.bridge, route.table, route.value)


def _marked(routes: Iterable[ReturnRoute]) -> set[str]:
    """The uplinks where rp_filter has to use the mark: it is one of IPv4 alone."""
    return {one.uplink for one in routes if one.family is Family.IPV4}


def _uplinks(routes: Iterable[ReturnRoute]) -> set[str]:
    return {one.uplink for one in routes}
