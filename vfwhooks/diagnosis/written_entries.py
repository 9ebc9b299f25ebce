"""Entries of forwards.yaml beside what is in force: the first hop of a forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..config import compiled_file, source_stamps
from ..config.compiler import find_gone, forward_line
from ..config.forwards import Forward, GuestForwards
from ..config.guest_names import find_near
from ..config.matched_names import find_matching
from ..config.port_mappings import METADATA
from ..config.schema import read_forwards
from ..store.files import quote
from ..store.state import State
from ..values.errors import VfwError, show
from ..values.findings import APPLY, OK, WRONG, Cure, Finding, by_hand
from ..values.protocols import ALL_PROTOCOLS
from .asked_forwards import asked_ports, ports_of
from .status_rows import IN_METADATA, ForwardStatus

_EXAMPLE = "8080:80"
_EDITED = "the files have changed since they were compiled"


class WrittenEntries:
    """The entries as the files have them now."""

    def __init__(self, state: State, main: str) -> None:
        self._main = main
        self.guests, problems = read_forwards(Path(main))
        problems = find_gone(Path(main), state.path) + problems
        self.is_broken = any(not one.is_warning for one in problems)
        taken = compiled_file.stamps_in_force(state.path)
        is_current = bool(taken) and source_stamps.is_current(taken, main)
        self._is_edited = not is_current and not self.is_broken
        self._former = compiled_file.load(state.path)
        self._lines: dict[str, set[str]] = {}
        self._names = {r.guest.uuid: r.guest.name for r in state.records()}
        self._forwards = {
            (self._name(guest), guest.is_pattern, _key(one)): one
            for guest in self.guests
            for one in (*guest.forwards, *guest.unplaced)
        }

    def _name(self, guest: GuestForwards) -> str:
        """The guest's name, if it stands there by its UUID; or the pattern."""
        if guest.is_pattern:
            return guest.name
        return self._names.get(guest.name, guest.name)

    def find(self, row: ForwardStatus) -> Forward | None:
        """The entry of a forward that is in force."""
        key = row.host_ip, row.protocol, str(ports_of(row))
        return self._forwards.get((row.pattern or row.guest, bool(row.pattern), key))

    def hop(self, row: ForwardStatus) -> Finding:
        """Where a forward that is in force is written."""
        is_of_file = row.source != METADATA
        forward = self.find(row) if is_of_file else None
        if forward and self._is_changed(row, forward):
            what = f"written: {forward.place}, and not in force as it is there"
            return _waits(row.guest, what)
        if forward or not (is_of_file and self._is_edited and self._former):
            where = str(forward.place) if forward else self._main
            where += f", for {show(row.pattern)}" if row.pattern else ""
            where = where if is_of_file else IN_METADATA
            return Finding(OK, "entry-found", row.guest, f"written: {where}")
        what = f"written: not any more in {self._main}, and still in force"
        return Finding(WRONG, "entry-withdrawn", row.guest, what, APPLY, _EDITED)

    def _is_changed(self, row: ForwardStatus, forward: Forward) -> bool:
        """Whether an entry says of its ports something else than what is in force."""
        if not self._is_edited or not self._former:
            return False
        name = row.guest
        if name not in self._lines:
            uuids = [uuid for uuid, one in self._names.items() if one == name]
            lines = self._former.lines_of(name, "".join(uuids[:1]))
            if row.pattern == name:
                lines = self._former.patterns().get(name, [])
            self._lines[name] = {one.partition(" ")[2] for one in lines}
        return _line(forward) not in self._lines[name]

    def waiting(
        self, about: str, rows: Sequence[ForwardStatus]
    ) -> Iterator[tuple[str, Finding]]:
        """The entries about a guest or a port that are not in force yet, each with its
        line."""
        there = {
            (
                r.pattern or r.guest,
                bool(r.pattern),
                (r.host_ip, r.protocol, str(ports_of(r))),
            )
            for r in rows
        }
        for key, forward in self._forwards.items() if self._is_edited else ():
            name = key[0]
            if self._is_about(about, name, forward) and key not in there:
                host = key[2][0]
                where = "" if host == "*" else f"{show(host)} "
                to = f"{forward.published}/{forward.protocol} → {show(name)}"
                what = f"written: {forward.place}, and not in force"
                found = _waits(name, what)
                yield f"{where}{to}:{forward.target}", found

    def _is_about(self, about: str, name: str, forward: Forward) -> bool:
        if name == self._names.get(about, about):
            return True
        pattern = find_matching(self.guests, self._names.get(about, about))
        if pattern and pattern.name == name and forward in pattern.forwards:
            return True
        try:
            port, protocols = asked_ports(about)
        except VfwError:
            return False  # another guest
        is_of = forward.protocol in (*protocols, ALL_PROTOCOLS)
        return is_of and forward.published.has(port)

    def nothing(self, about: str, is_known: bool = False) -> Finding:
        """The finding for a port without a forward in force, or for a guest, which
        libvirt may know."""
        names = [guest.name for guest in self.guests]
        some = [one for one in self.guests if one.name == about]
        if any(one.forwards or one.unplaced for one in some):
            what = f"{self._main} names {show(about)}, and nothing for it is in force"
            return _waits(about, what)
        cure: Cure | None = None
        if is_known or about in names:
            what = f"nothing is published for {show(about)}"
            cure = by_hand("run: {run}", "vfwhooks", "add", about, _EXAMPLE)
        else:
            near = find_near(about, names)
            what = f"{self._main} has no forward for {show(about)}"
            what += f"; did you mean {show(near[0])}" if near else ""
        seen = f"{self._main} has {len(names)} guests"
        return Finding(WRONG, "entry-missing", about, what, cure, seen)


def _waits(name: str, what: str) -> Finding:
    return Finding(WRONG, "entry-not-in-force", name, what, APPLY, _EDITED)


def _key(one: Forward) -> tuple[str, str, str]:
    """What a forward publishes, in the words of status."""
    host = str(one.host_ip or one.interface or "*")
    return host, one.protocol, str(one.published)


def _line(one: Forward) -> str:
    """Its compiled line behind the first word; one without a free address on its
    interface has the interface there."""
    is_unplaced = one.interface and not one.host_ip
    return (f"{quote(one.interface)} " if is_unplaced else "") + forward_line(one)
