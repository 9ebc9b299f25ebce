"""A hook without a service: it carries out all events itself, with the lock."""

from collections.abc import Callable

from ..config import last_good
from ..reconcile.hook_events import read_event
from ..reconcile.reconciler import Reconciler
from ..store.lock import Lock
from ..store.spool import HookEvent
from ..store.state import State


def carry_out(
    path: str,
    config: str,
    mine: "HookEvent | None",
    lock: "Lock | None",
    until: float,
    detach: Callable[[], None],
) -> list[str]:
    """Carry out the events in the spool, and `mine`, which could not be written there;
    the lines for the log. Tools may run until the time `until` (monotonic). `detach`
    lets libvirt go on before the work that changes no rule. Raises VfwError, OSError.
    """
    state = State(path)
    last_good.await_settled(state, config)
    reconcile = Reconciler(state, config, until=until, lock=lock)
    try:
        reconcile.carry_out(read_event(state, mine) if mine else None)
    finally:
        if reconcile.is_slow_to_close:
            detach()
        reconcile.close()
    return state.problems + reconcile.report.problems + reconcile.report.said
