"""Stale connections to cut: noted in the state directory with the change, and cut by
the same or the next holder of the lock when no hook waits any more."""

from __future__ import annotations

import time

from .connections_to_cut import beside, cut_text, may_cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ..libvirt.inventory import Inventory
    from ..store.state import State
    from ..values.entries import Entry


class NotedCuts:
    """The notes in the state directory, for a holder of the lock."""

    def __init__(self, state: State, inventory: Inventory) -> None:
        self._state = state
        self._inventory = inventory
        self.has_any = bool(state.names("cuts"))

    def note(
        self, removed: list[Entry], added: list[Entry], held: Collection[Entry]
    ) -> None:
        """Write down the entries that may leave stale connections.

        A search for them takes the kernel 9 ms and more; libvirt need not wait for
        this.
        """
        if may_cut(removed, added):
            removed, added = list(dict.fromkeys(removed)), list(dict.fromkeys(added))
            text = cut_text(removed, added, beside(removed, held))
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
                from .stale_connections import cut_file  # as a rule in a child

                problems += cut_file(self._state, self._inventory, file, until)
                self._state.remove(file)
            else:
                what = f"cuts/{name} ended whoever tried it: it is left undone"
                problems.append(f"conntrack: {what}")
                self._state.remove(f"cuts/{name}")
        return problems
