"""Which entries a change leaves stale connections of, and the notes of them.

A note is written into the state directory with the change, and carried out by the same
or the next holder of the lock when no hook waits any more; conntrack_cleanup finds the
connections.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from ..libvirt.inventory import Inventory
from ..store.entry_text import format_entry, parse_entry
from ..store.records import Pair, seal, unseal
from ..store.state import State
from ..values.entries import Dnat, Entry, Reject, Snat
from ..values.errors import OutOfTime, VfwError
from ..values.protocols import Protocol
from .port_index import overruling


class StaleNotes:
    """The notes in the state directory, for a holder of the lock."""

    def __init__(self, state: State, inventory: Inventory) -> None:
        self._state = state
        self._inventory = inventory
        self.has_any = bool(state.names("cuts"))

    def note(
        self,
        removed: list[Entry],
        added: list[Entry],
        held: Collection[Entry],
        pairs: list[Pair],
    ) -> None:
        """Write down the entries that may leave stale connections; the pairs are the
        records before and after.

        A search for them takes the kernel 9 ms and more; libvirt need not wait for
        this.
        """
        removed = find_stale(pairs, removed)
        if may_leave_stale(removed, added):
            removed, added = list(dict.fromkeys(removed)), list(dict.fromkeys(added))
            stay = [*beside(removed, held), *on_addresses(added, removed, held)]
            text = cut_text(removed, added, dict.fromkeys(stay))
            self._state.write(f"cuts/{time.monotonic_ns():020d}", text)
            self.has_any = True

    def carry_out(self, until: float) -> list[str]:
        """Cut the noted connections, also those of a holder that was killed; the
        problems.

        The lock stays held from the change on, so that none of the connections is newer
        than the change. So there is a time limit `until` (monotonic): the rest is not
        cut, and does not hold up the next holders. A note that has killed two holders
        is dropped.
        """
        self.has_any = False
        problems: list[str] = []
        for name in self._state.names("cuts"):
            file = self._state.try_again(f"cuts/{name}")
            if file:
                problems += self._cut(file, until)
                self._state.remove(file)
            else:
                what = f"cuts/{name} ended whoever tried it: it is left undone"
                problems.append(f"conntrack: {what}")
                self._state.remove(f"cuts/{name}")
        return problems

    def _cut(self, file: str, until: float) -> list[str]:
        """Cut the stale connections of one note; the problems."""
        from ..host.conntrack import Flows  # as a rule in a child
        from ..host.netlink import Netlink
        from .conntrack_cleanup import cut

        text = self._state.read(file)
        if not text:
            return []
        try:
            with Netlink() as link:
                cut(Flows(link, until), self._inventory, *parse_cut(text))
        except OutOfTime as error:
            problem = f"{error}: some still lead where nothing is forwarded any more"
            return [f"conntrack: {problem}"]
        except (OSError, VfwError) as error:
            return [f"conntrack: {error}"]
        except (ValueError, LookupError):
            self._state.set_aside(file)
        return []


def find_stale(pairs: list[Pair], removed: list[Entry]) -> list[Entry]:
    """Of removed entries those whose connections are to be cut: not those that a guest
    has left for a migration, which may fail; these follow when it has stopped."""
    left = {entry for _, new in pairs if new for entry in new.left}
    before = [entry for old, _ in pairs if old for entry in old.left]
    if not left and not before:
        return removed
    held = {entry for _, new in pairs if new for entry in new.entries}
    return [one for one in [*removed, *before] if one not in left and one not in held]


def may_leave_stale(removed: Iterable[Entry], added: Iterable[Entry]) -> bool:
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


def on_addresses(
    added: Iterable[Entry], removed: Iterable[Entry], held: Collection[Entry]
) -> list[Dnat]:
    """The entries in force on the addresses on which an added entry takes over UDP from
    entries on every address: what they forward stays theirs."""
    hosts = {one.published.host for one in overruling(added)}
    gone = set(removed) if hosts else set()
    return [
        entry
        for entry in (held if hosts else ())
        if isinstance(entry, Dnat)
        and entry.published.host in hosts
        and entry not in gone
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
