"""Which connections a change may have to cut: noted with the change, and read when it
is in force (see noted_cuts), whoever does that. Pure."""

from __future__ import annotations

from ..store.entry_text import format_entry, parse_entry
from ..store.records import seal, unseal
from ..values.entries import Dnat, Reject, Snat
from ..values.protocols import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..values.entries import Entry


def may_cut(removed: Iterable[Entry], added: Iterable[Entry]) -> bool:
    """Whether connections may have to be cut for these entries."""
    return any(isinstance(entry, (Dnat, Snat)) for entry in removed) or any(
        isinstance(entry, Snat)
        or (
            isinstance(entry, (Dnat, Reject))
            and entry.published.protocol in (Protocol.UDP, Protocol.ALL)
        )
        for entry in added
    )


def beside(removed: Iterable[Entry], held: Collection[Entry]) -> list[Dnat]:
    """Those of the entries that are held now which lead to a guest that removed ones
    lead to: what they forward in the same way stays forwarded. An entry that is among
    both has come to another guest."""
    gone = {entry for entry in removed if isinstance(entry, Dnat)}
    guests = {entry.address for entry in gone}
    return [
        entry
        for entry in (held if guests else ())
        if isinstance(entry, Dnat) and entry.address in guests and entry not in gone
    ]


def cut_text(
    removed: Iterable[Entry], added: Iterable[Entry], stay: Iterable[Entry]
) -> str:
    """Entries whose connections are to be cut, and those beside them, as they are
    kept."""
    signed = ("-", removed), ("+", added), ("=", stay)
    lines = (f"{sign} {format_entry(e)}\n" for sign, some in signed for e in some)
    return seal("".join(lines))


def parse_cut(text: str) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """The removed entries that were kept, the added ones, and those that stay. Raises
    ValueError for what is not whole."""
    found: dict[str, list[Entry]] = {"-": [], "+": [], "=": []}
    for line in unseal(text).split("\n"):
        sign, _, entry = line.partition(" ")
        if sign in found:
            found[sign].append(parse_entry(entry))
    return found["-"], found["+"], found["="]
