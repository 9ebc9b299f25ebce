"""Changes of entries: what the kernel holds of an owner's, and what it should. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..store.records import Record
from ..values.entries import Entry, HairpinMode, Kept, LoopbackBridge

Named = list[tuple[str, Kept]]  # each with its guest's name


@dataclass(eq=False)
class Delta:
    """One owner's entries: what the kernel may hold of them, what it should hold."""

    owner: str
    old: list[Entry]
    new: list[Entry]

    def removed(self) -> list[Entry]:
        """The entries to take out."""
        return _less(self.old, self.new)

    def added(self) -> list[Entry]:
        """The entries to put in."""
        return _less(self.new, self.old)


def _less(some: list[Entry], others: list[Entry]) -> list[Entry]:
    """What is not among the others; nothing of tens of thousands is looked up where
    they are the same list, or there are no others."""
    if some is others or not others:
        return [] if some is others else list(some)
    known = set(others)
    return [entry for entry in some if entry not in known]


@dataclass(eq=False)
class SyncResult:
    """What a full comparison changed, and what it could not do."""

    removed: list[Entry]
    added: list[Entry]
    problems: list[str]


def deltas_of(old: Record | None, new: Record | None) -> list[Delta]:
    """What changes for a guest, as it was and as it will be."""
    if old and new and old.owner == new.owner:
        return [Delta(new.owner, old.entries, new.entries)]
    deltas = [Delta(old.owner, old.entries, [])] if old else []
    return deltas + ([Delta(new.owner, [], new.entries)] if new else [])


def opened_bridges(entries: Iterable[Entry]) -> set[str]:
    """The bridges that are to pass packets with loopback addresses."""
    return {entry.bridge for entry in entries if isinstance(entry, LoopbackBridge)}


def modes(of: Record, other: Record | None) -> Named:
    """The ports that are to be in hairpin mode by one record and not by the other, with
    the guest's name."""
    known = {port[:2] for port in other.hairpins} if other else set()
    ports = [port[:2] for port in of.hairpins if port[:2] not in known]
    return [(of.guest.name, HairpinMode(bridge, device)) for device, bridge in ports]
