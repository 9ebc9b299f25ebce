"""Connections that are to be cut: noted in the state directory with a change, and cut
when nobody waits for that any more, also by the next holder of the lock."""

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
    """What is noted in the state directory, for a holder of the lock."""

    def __init__(self, state: State, inventory: Inventory) -> None:
        self._state = state
        self._inventory = inventory
        self.has_any = bool(state.names("cuts"))

    def note(
        self, removed: list[Entry], added: list[Entry], held: Collection[Entry]
    ) -> None:
        """Write down what connections may have to be cut for.

        A look at them takes the kernel 9 ms and more, for which libvirt need not wait.
        """
        if may_cut(removed, added):
            removed, added = list(dict.fromkeys(removed)), list(dict.fromkeys(added))
            text = cut_text(removed, added, beside(removed, held))
            self._state.write(f"cuts/{time.monotonic_ns():020d}", text)
            self.has_any = True

    def carry_out(self, until: float) -> list[str]:
        """Cut the connections that lead where nothing is forwarded any more, also those
        that a holder who was killed has left; what went wrong.

        The lock is held on from the change, so that none of them is a newer one. So
        what there is no time for `until` then is left undone, and the next ones are not
        held up by it; nor are they for ever by what kills whoever tries it.
        """
        self.has_any = False
        problems: list[str] = []
        for name in self._state.names("cuts"):
            file = self._state.try_again(f"cuts/{name}")
            if file:
                from .stale_connections import cut_file  # for a child, as a rule

                problems += cut_file(self._state, self._inventory, file, until)
                self._state.remove(file)
            else:
                what = f"cuts/{name} ended whoever tried it: it is left undone"
                problems.append(f"conntrack: {what}")
                self._state.remove(f"cuts/{name}")
        return problems
