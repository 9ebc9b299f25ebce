"""The hops of a forward, each a finding; a broken one is the last.

Nothing is changed. The guest is asked with one TCP connection from this host.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

from ..config.guest_names import find_near
from ..config.port_mappings import METADATA
from ..config.value_syntax import parse_ports
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.client import guests_known_soon, running_guests
from ..libvirt.inventory import Inventory
from ..libvirt.user_sessions import find_sessions
from ..reconcile.guest_addresses import find_network_at
from ..reconcile.return_path import values
from ..rulesets.ruleset import REFUSING
from ..rulesets.walk import Traversal
from ..store.state import State
from ..values.errors import VfwError, show
from ..values.findings import APPLY, NOTE, OK, WRONG, Cure, Finding, by_hand, run
from ..values.published import EVERY, family_of, parse_address
from .allowed_clients import is_for_nobody, tell_clients
from .blockers import find_blockers
from .doctor_firewall import find_missing_tool, restart_libvirt
from .foreign_reasons import few
from .live_ruleset import live_verdicts
from .outside_packets import find_client
from .paused_guests import find_paused
from .port_verdicts import PortVerdicts, refused
from .return_path_check import ReturnPath
from .status_rows import ForwardStatus
from .unanswered import is_unanswered, tell_unanswered
from .unmatched_patterns import is_of_nobody
from .written_entries import WrittenEntries

_PATIENCE = 2.0  # seconds for a guest's answer
_LOOK = by_hand("look in the guest: ss -lntu, nft list ruleset")
# systemd, where ssh.socket has the port
_SSHD = re.compile(r"\bsshd(-session)? \(pid|systemd \(pid 1\) listens on tcp \S+:22\b")
_LOCKED_OUT = "careful: whoever comes to this host by ssh is locked out by that"
Ask = Callable[[str, int], str]


def ask_guest(address: str, port: int) -> str:
    """Connect by TCP: '' for an answer, else `refused` or the reason of the silence."""
    try:
        socket.create_connection((address, port), _PATIENCE).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def has_guest(guests: set[tuple[str, str]], word: str) -> bool:
    """Whether one of them has this name or UUID."""
    return any(word in both for both in guests)


def _running() -> set[tuple[str, str]]:
    return {(one.name, one.uuid) for one in running_guests().guests}


def _split(reason: str) -> tuple[str, Cure | None]:
    """A reason of status, and the cure at its end as a command."""
    said, tail, _ = reason.partition("; run vfwhooks apply")
    if tail:
        return said, APPLY
    said, tail, _ = reason.partition(": restart libvirtd")
    if tail:
        return said, restart_libvirt()
    said, tail, command = reason.partition("; restart libvirtd, or: ")
    return (said, run(*command.split(" "))) if tail else (reason, None)


class Hops:
    """The hops of forwards, with what all of them need looked up once."""

    def __init__(
        self, state: State, main: str, ask: Ask, entries: WrittenEntries | None = None
    ) -> None:
        self._state = state
        self._ask = ask
        self._inventory = Inventory(f"{state.path}/networks")
        self._entries = entries or WrittenEntries(state, main)

    @cached_property
    def _verdicts(self) -> PortVerdicts:
        return live_verdicts(self._state)

    @cached_property
    def _paused(self) -> dict[str, Finding]:
        """The running guests that stand still, by name."""
        guests = [one.guest for one in self._state.records(has_entries=False)]
        return {one.name: found for one in guests if (found := find_paused(one))}

    def of(self, row: ForwardStatus) -> Iterator[Finding]:
        """The hops of a forward; a broken hop is the last."""
        for hop in (
            self._entry,
            self._guest,
            self._address,
            self._rules,
            self._clients,
            self._ahead,
            self._back,
            self._answer,
        ):
            for finding in hop(row):
                yield finding
                if finding.level == WRONG:
                    return

    def _entry(self, row: ForwardStatus) -> Iterator[Finding]:
        yield self._entries.hop(row)

    def _guest(self, row: ForwardStatus) -> Iterator[Finding]:
        name = show(row.guest)
        if row.state != "stopped" and row.guest in self._paused:
            found = self._paused[row.guest]
            yield replace(found, what=f"guest: {found.what}")
            return
        if row.state != "stopped":
            yield Finding(OK, "guest-runs", row.guest, f"guest: {name} runs")
            return
        cure, what = by_hand("run: {run}", "virsh", "start", row.guest), row.reason
        known = guests_known_soon()
        if row.guest in find_sessions():
            said = f"guest: {what}"
            yield Finding(WRONG, "guest-elsewhere", row.guest, said, None, what)
            return
        if is_of_nobody(row):
            cure = by_hand("{run} shows who there is", "virsh", "list", "--all")
        elif has_guest(guests_known_soon(ask=_running), row.guest):
            cure, what = APPLY, f"{name} runs, and nobody has told of its start"
        elif known and not has_guest(known, row.guest):
            near = find_near(row.guest, sorted(both[0] for both in known))
            cure = by_hand("{run} shows who there is", "virsh", "list", "--all")
            what = f"libvirt has no guest {name}"
            what += f"; did you mean {show(near[0])}" if near else ""
        what = f"guest: {what}"
        yield Finding(WRONG, "guest-stopped", row.guest, what, cure, row.reason)

    def _address(self, row: ForwardStatus) -> Iterator[Finding]:
        is_withheld = row.state == "conflict" and not row.address
        if row.state == "pending" or (is_withheld and row.source != METADATA):
            what = f"address: {row.reason}"
            yield Finding(WRONG, "forward-pending", row.guest, what, None, row.reason)
        elif row.address:
            what = f"address: {row.address}"
            yield Finding(OK, "address-known", row.guest, what)

    def _rules(self, row: ForwardStatus) -> Iterator[Finding]:
        if row.state == "conflict":
            what, cure = f"rules: {row.reason}", None
            if _SSHD.search(row.reason):
                cure = by_hand(_LOCKED_OUT)
            yield Finding(WRONG, "forward-conflict", row.guest, what, cure, row.reason)
        elif missing := find_missing_tool(self._state.base()):
            yield missing
        elif row.state == "blocked" and not self._is_behind(row):
            said, cure = _split(row.reason)
            what = f"rules: {said}"
            yield Finding(WRONG, "forward-blocked", row.guest, what, cure, row.reason)
        else:
            what = "rules: ours are in the kernel"
            yield Finding(OK, "rules-there", row.guest, what)

    def _clients(self, row: ForwardStatus) -> Iterator[Finding]:
        """Who alone may connect; anybody else is refused."""
        if only := tell_clients(row, self._entries.find(row)):
            yield only

    def _is_behind(self, row: ForwardStatus) -> bool:
        """Whether the reason of the row is that of a later hop."""
        later = self._blocker(row), self._way(row)
        return any(one and one.said == row.reason for one in later)

    def _blocker(self, row: ForwardStatus) -> Finding | None:
        """The blocker that the reason of the row names."""
        if row.state != "blocked":
            return None
        network = find_network_at(self._inventory, row.address)
        bridges = [network.bridge] if network else []
        base = self._state.base()
        try:
            blockers = find_blockers(base, bridges, Netlink(), Run())
        except (OSError, VfwError):
            return None  # the row has a reason all the same
        return next((b.finding for b in blockers if str(b) == row.reason), None)

    def _ahead(self, row: ForwardStatus) -> Iterator[Finding]:
        """The computed way of a first packet; nothing is sent."""
        if row.is_loopback or row.host_ip == "::1":
            return
        if is_for_nobody(row):
            return  # as the hop of the clients says
        blocker = self._blocker(row)
        if blocker:
            yield blocker
            return
        packets = self._verdicts.outside.of(row, find_client(row))
        if not packets:
            what = "way in: the host has no address that anybody could come to"
            seen = "its addresses are of loopback and of guests' bridges alone"
            yield Finding(WRONG, "no-host-address", row.guest, what, None, seen)
            return
        found: dict[Finding, list[str]] = {}
        for packet in packets:
            way = self._verdicts.follow(packet)
            found.setdefault(self._judge(row, way), []).append(packet.destination)
        wrong = [a for one, some in found.items() if one.level == WRONG for a in some]
        is_shut = self._verdicts.outside.is_shut(
            [one.destination for one in packets], wrong
        )
        for one, hosts in found.items():
            level = NOTE if one.level == WRONG and not is_shut else one.level
            head = "from" if level == OK else "on"
            if level != OK or len(found) == 1:
                what = f"way in: {head} {few(hosts)}{one.what}"
                yield replace(one, level=level, what=what)

    def _judge(self, row: ForwardStatus, way: Traversal) -> Finding:
        """What becomes of a packet to the address of the host that is told before."""
        rule = self._verdicts.name(way.steps[-1]) if way.steps else ""
        to = way.packet.destination
        if way.end == "accept" and to == row.address:
            return Finding(OK, "way-open", row.guest, f" to {to}")
        if way.end in REFUSING:
            what = f": {refused(way.end)} by {rule}"
            # What libvirt refuses, our accept ahead of it would have let in.
            cure = APPLY if self._verdicts.is_libvirts(way.steps[-1]) else None
            return Finding(WRONG, "way-refused", row.guest, what, cure, rule)
        what = f": depends on {show(way.depends)} ({rule})"
        if way.end == "accept":  # by a rule that status does not take for a claim
            what = f": it leads to {to}, not {row.address}"
        return Finding(NOTE, "way-unsure", row.guest, what, None, rule)

    def _way(self, row: ForwardStatus) -> Finding | None:
        """The blocker on the way of the answers."""
        network = find_network_at(self._inventory, row.address)
        if network is None or row.is_loopback:
            return None
        inside = frozenset(self._inventory.bridge_addresses())
        marks = values(self._state)
        paths = ReturnPath(self._inventory.routes, inside, tables=marks)
        guest = parse_address(row.address)
        is_every = row.host_ip in EVERY
        hosts = (
            paths.outside(family_of(guest))
            if is_every
            else [parse_address(row.host_ip)]
        )
        forward = self._entries.find(row)
        is_returned = bool(forward and forward.options.return_path)
        index = self._inventory.index(network.bridge)
        for host in hosts:
            try:
                found = paths.find(host, guest, index, is_returned)
            except OSError:
                continue  # the kernel could not be asked
            if found:
                return replace(found, level=NOTE) if is_every else found
        return None

    def _back(self, row: ForwardStatus) -> Iterator[Finding]:
        if row.is_loopback:
            return
        what = "way back: answers leave as the host's own do"
        yield self._way(row) or Finding(OK, "way-back-open", row.guest, what)

    def _answer(self, row: ForwardStatus) -> Iterator[Finding]:
        if is_unanswered(row):
            yield tell_unanswered(row, WRONG)
            return
        if row.protocol != "tcp":
            what = f"answer: unknown, since nobody is asked by {row.protocol}"
            seen = f"the forward is {row.protocol}"
            yield Finding(NOTE, "guest-not-asked", row.guest, what, None, seen)
            return
        port = parse_ports(row.target).first
        where = f"tcp port {port} of {row.address}"
        said = self._ask(row.address, port)
        if not said:
            what = f"answer: {where} answers"
            yield Finding(OK, "guest-answers", row.guest, what)
        elif said == "refused":
            what = f"answer: {where} refuses: nobody listens there in the guest"
            yield Finding(WRONG, "guest-refuses", row.guest, what, _LOOK, said)
        else:
            what = f"answer: {where} does not answer this host ({said})"
            yield Finding(WRONG, "guest-silent", row.guest, what, _LOOK, said)
