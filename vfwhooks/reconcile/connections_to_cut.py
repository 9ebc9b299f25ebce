"""Which connections a change may make stale: a text that is noted with the change, and
that the holder of the lock reads when the change is in force (see noted_cuts). Pure."""

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
    """Whether these changes may leave stale connections."""
    return any(isinstance(entry, (Dnat, Snat)) for entry in removed) or any(
        isinstance(entry, Snat)
        or (
            isinstance(entry, (Dnat, Reject))
            and entry.published.protocol in (Protocol.UDP, Protocol.ALL)
        )
        for entry in added
    )


def beside(removed: Iterable[Entry], held: Collection[Entry]) -> list[Dnat]:
    """The entries in force that lead to the same guests as removed entries: a
    connection that such an entry forwards in the same way is not stale. An entry that
    is in both lists now leads to another guest, and does not count."""
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
    """Removed and added entries, and those that stay, as a text for cuts/."""
    signed = ("-", removed), ("+", added), ("=", stay)
    lines = (f"{sign} {format_entry(e)}\n" for sign, some in signed for e in some)
    return seal("".join(lines))


def parse_cut(text: str) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """The removed entries, the added ones, and those that stay. Raises ValueError if
    the text is not whole."""
    found: dict[str, list[Entry]] = {"-": [], "+": [], "=": []}
    for line in unseal(text).split("\n"):
        sign, _, entry = line.partition(" ")
        if sign in found:
            found[sign].append(parse_entry(entry))
    return found["-"], found["+"], found["="]
