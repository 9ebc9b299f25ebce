"""Deltas of entries: what the kernel holds of an owner, and what it should hold.
Pure."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable
from dataclasses import dataclass

from ..store.records import Pair, Record
from ..values.entries import Entry, HairpinMode, Kept, LoopbackBridge

Named = list[tuple[str, Kept]]  # each with the guest's name


@dataclass(eq=False)
class Delta:
    """One owner's entries: `old` may be in the kernel, `new` is the desired state."""

    owner: str
    old: list[Entry]
    new: list[Entry]

    def removed(self) -> list[Entry]:
        """The entries to delete."""
        return _less(self.old, self.new)

    def added(self) -> list[Entry]:
        """The entries to add."""
        return _less(self.new, self.old)


def _less(some: list[Entry], others: list[Entry]) -> list[Entry]:
    """The entries of `some` that are not among the others. No entry is hashed if both
    are the same list, or if there are no others: lists may have tens of thousands."""
    if some is others or not others:
        return [] if some is others else list(some)
    known = set(others)
    return [entry for entry in some if entry not in known]


@dataclass(eq=False)
class SyncResult:
    """The entries that a full sync removed and added, and the problems that it met."""

    removed: list[Entry]
    added: list[Entry]
    problems: list[str]


@dataclass(eq=False)
class Held:
    """What the kernel holds of the wanted entries: each entry with its connections so
    far, and those that are cut off, since a rule of ours ahead of them is missing."""

    connections: dict[Entry, int]
    cut_off: set[Entry]


def checksum(text: str) -> str:
    """A word that stands for a base ruleset, or for rules around ours."""
    return f"{len(text)}-{crc32(text.encode()):08x}"


def deltas_of(old: Record | None, new: Record | None) -> list[Delta]:
    """The deltas between a guest's old record and its new one."""
    if old and new and old.owner == new.owner:
        return [Delta(new.owner, old.entries, new.entries)]
    deltas = [Delta(old.owner, old.entries, [])] if old else []
    return deltas + ([Delta(new.owner, [], new.entries)] if new else [])


def changes_of(
    pairs: Iterable[Pair],
) -> tuple[list[Delta], list[Entry], list[Entry]]:
    """The deltas of guests' old records and new ones, and the entries that they remove
    and add."""
    deltas = [delta for pair in pairs for delta in deltas_of(*pair)]
    removed = [entry for delta in deltas for entry in delta.removed()]
    return deltas, removed, [entry for delta in deltas for entry in delta.added()]


def loopback_bridges(entries: Iterable[Entry]) -> set[str]:
    """The bridges of these entries that packets with loopback addresses pass."""
    return {entry.bridge for entry in entries if isinstance(entry, LoopbackBridge)}


def modes(of: Record, other: Record | None) -> Named:
    """The ports that need hairpin mode by one record and not by the other, each with
    the guest's name."""
    known = {port[:2] for port in other.hairpins} if other else set()
    ports = [port[:2] for port in of.hairpins if port[:2] not in known]
    return [(of.guest.name, HairpinMode(bridge, device)) for device, bridge in ports]
