"""The overview for `status`: records, their desired state, and the kernel's entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ..config import compiled_file
from ..config.compiled_lines import parse_settings
from ..config.guest_names import is_uuid, names_near
from ..firewall.backend import open_backend
from ..firewall.entry_delta import Held
from ..foreign.named_rules import NONE, Named
from ..foreign.reader import Foreign, read_foreign
from ..host.netlink import Netlink
from ..host.run import Run
from ..installation.hook_files import find_uncalled
from ..installation.hook_permissions import hooks_line
from ..installation.service_process import find_service
from ..libvirt.defined_guests import find_defined
from ..libvirt.inventory import Inventory
from ..libvirt.user_sessions import find_sessions
from ..reconcile.desired_state import DesiredState
from ..reconcile.planner import Planner
from ..reconcile.return_path import values
from ..store.records import Record
from ..store.state import State
from ..values.entries import Entry
from ..values.errors import VfwError, show
from ..values.published import Address, Published
from .absent_host_ips import find_absent
from .allowed_sources import parse_sources, with_sources, written_forwards
from .blocked_ways import BlockedWays
from .blockers import Blocker, find_blockers
from .foreign_reasons import ForeignOwners
from .host_problems import (
    find_missing_fib,
    find_missing_tables,
    find_stale_files,
    find_vanished,
)
from .live_ruleset import live_verdicts
from .return_path_check import ReturnPath
from .running_forwards import RunningForwards
from .service_names import describe_services
from .status import (
    HostState,
    guest_status,
    stopped_statuses,
    unplaced_statuses,
)
from .status_rows import ForwardStatus, GuestStatus
from .unanswered import name_unanswered
from .unmatched_patterns import unmatched


@dataclass(frozen=True)
class Overview:
    """The result of `look`.

    `backend` is '' before the first event. `problems` concern the files or the firewall
    as a whole. `held` has the connections of every entry in the kernel, `hooks` how
    starts of guests are noticed, `holes` the ports of ranges that stay the host's, by
    the guest's name and what is published, and `has_service` whether the service runs.
    """

    backend: str
    guests: tuple[GuestStatus, ...]
    forwards: tuple[ForwardStatus, ...]
    problems: tuple[str, ...]
    held: dict[Entry, int]
    hooks: str = ""
    holes: dict[tuple[str, Published], list[int]] = field(default_factory=dict)
    has_service: bool = False

    def faults(self) -> list[str]:
        """Why nothing of some guests' metadata counts."""
        some = [one for one in self.guests if one.metadata]
        return [f"of {one.name} counts for nothing: {one.metadata}" for one in some]


def look(state: State, main: str, without: Named = NONE) -> Overview:
    """Look at the whole host, as if rules of others that are about to be taken out were
    gone; nothing is changed, and libvirtd is not asked."""
    inventory = Inventory(f"{state.path}/networks")
    config = compiled_file.load(state.path)
    base = state.base()
    problems = find_stale_files(config, state, main)
    overview = Overview(
        base.get("backend", ""),
        guests=(),
        forwards=(),
        problems=tuple(problems),
        held={},
        hooks=hooks_line(),
        has_service=find_service() > 0,
    )
    if config is None:
        return overview
    tables = values(state)
    planner = _planner(config, inventory, state, tables)
    records = state.records()
    problems += [*find_vanished(records), *_uncalled(records, state)]
    foreign_owners = _foreign_owners(base, inventory, problems, without)
    desired = planner.all(records)
    rulesets = planner.base_rulesets(desired, {})
    kernel = _held(base, desired, records, rulesets, inventory, problems)
    held = kernel.connections
    problems += find_missing_fib(base, held, desired)
    claims = {p.record.guest.name: p for p in desired if p.record.key[0] == "claim"}
    shared = ("claim", "network")
    running = [p for p in desired if p.record.guest.driver not in shared]
    guests = [guest_status(p) for p in running]
    sources = parse_sources(rulesets.get("own", ""))
    absent, missing = _absent(running, inventory), find_missing_tables(base)
    inside = frozenset(inventory.bridge_addresses())
    serving = RunningForwards(
        inventory,
        HostState(held, missing, absent=absent, cut_off=kernel.cut_off),
        sources,
        _blockers(base, running, problems) if held else [],
        foreign_owners,
        describe_services(desired, inventory, foreign_owners.cures(desired)),
        BlockedWays(partial(live_verdicts, state)),
        ReturnPath(inventory.routes, inside, tables=tables),
    )
    forwards = name_unanswered([row for one in running for row in serving.rows(one)])
    for guest, rows in _stopped(config, guests, claims, held):
        guests.append(guest)
        forwards += rows
    used = {one.settings.pattern for one in running}
    for pattern, lines in config.patterns().items():
        forwards += unmatched(pattern, lines) if pattern not in used else []
    written = written_forwards(config, running, guests)
    return replace(
        overview,
        guests=tuple(guests),
        forwards=tuple(with_sources(forwards, written, sources)),
        problems=tuple(problems),
        held=held,
        holes={
            (one.record.guest.name, published): list(ports)
            for one in running
            for published, ports in one.holes.items()
        },
    )


def _planner(
    config: compiled_file.Compiled,
    inventory: Inventory,
    state: State,
    tables: dict[int, int],
) -> Planner:
    """A planner that allots no mark; `tables` are routing tables by their marks."""
    marks = {table: value for value, table in tables.items()}
    return Planner(
        config,
        inventory,
        state.record,
        lasting=1 << 62,
        mark=lambda table: marks.get(table, 0),
    )


def _uncalled(records: list[Record], state: State) -> list[str]:
    """The guests that no hook has told of."""
    said = "its hook was not called, the service found it; vfwhooks doctor says more"
    found = find_uncalled(records, state.path)
    return [f"{record.guest.name}: {said}" for record in found]


def _held(
    base: dict[str, str],
    desired: list[DesiredState],
    records: list[Record],
    rulesets: dict[str, str],
    inventory: Inventory,
    problems: list[str],
) -> Held:
    """The desired entries that the kernel holds."""
    if "backend" not in base:
        return Held({}, set())
    wanted = {entry: one.record.owner for one in desired for entry in one.entries}
    recorded = {entry: one.owner for one in records for entry in one.entries}
    try:
        backend = open_backend(base, Netlink(), Run(), inventory)
        return backend.held(wanted, recorded, rulesets)
    except (OSError, VfwError) as error:
        problems.append(f"{base['backend']}: {error}")
        return Held({}, set())


def _stopped(
    config: compiled_file.Compiled,
    running: Sequence[GuestStatus],
    claims: dict[str, DesiredState],
    held: dict[Entry, int],
) -> Iterator[tuple[GuestStatus, list[ForwardStatus]]]:
    """The guests of forwards.yaml that do not run here, with their forwards."""
    sessions, defined = find_sessions(), find_defined()
    known = {word for guest in running for word in (guest.name, guest.uuid)}
    for name, lines in config.guests().items():
        if name and name not in known:
            settings = parse_settings(lines)
            rows = stopped_statuses(name, settings.forwards, claims.get(name), held)
            rows += unplaced_statuses(name, settings.unplaced, is_stopped=True)
            why = sessions.get(name) or _misspelt(name, defined, config)
            if why:
                rows = [replace(row, reason=why) for row in rows]
            yield GuestStatus(name, "", "stopped", []), rows


def _misspelt(name: str, defined: set[str], config: compiled_file.Compiled) -> str:
    """Which guest without forwards may be meant by the name of one that libvirt does
    not have."""
    free = () if name in defined or is_uuid(name) else defined - {*config.guests()}
    near = names_near(
        name, [one for one in sorted(free) if not config.lines_of(one, "")]
    )
    return f"libvirt has no guest {show(name)}; {near}" if near else ""


def _foreign_owners(
    base: dict[str, str], inventory: Inventory, problems: list[str], without: Named
) -> ForeignOwners:
    """The ports that foreign DNAT rules take now; the desired state is planned with
    them."""
    try:
        with Netlink() as link:
            foreign = read_foreign(base, inventory, link, Run(), without)
    except OSError as error:
        problems.append(f"rules of others: {error}")
        foreign = Foreign()
    foreign_owners = ForeignOwners(foreign, inventory)
    inventory.know_taken(foreign_owners.all)
    return foreign_owners


def _absent(running: list[DesiredState], inventory: Inventory) -> dict[Address, str]:
    """The addresses that guests are published on and the host does not have, with the
    reason. The kernel is asked now, since addresses come and go."""
    settings = [one.settings for one in running]
    public = [host for one in settings for host in (*one.public, *one.egress)]
    hosts = [forward.host for one in settings for forward in one.forwards]
    return find_absent(hosts, public, inventory)


def _blockers(
    base: dict[str, str], running: list[DesiredState], problems: list[str]
) -> list[Blocker]:
    """The blockers in the way of running guests."""
    bridges = {n.bridge: "" for one in running for n in one.endpoint.networks}
    try:
        return find_blockers(base, list(bridges), Netlink(), Run())
    except (OSError, VfwError) as error:
        problems.append(f"blockers: {error}")
        return []
