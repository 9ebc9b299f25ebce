"""A hook without a service: it carries out, with the lock, all that waits."""

import faulthandler
import posix
import sys

from . import configuration
from .hook import DEADLINE
from .hookevents import read_event
from .lock import Lock
from .reconcile import Reconcile
from .spool import Event
from .state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def detach() -> None:
    """End for libvirt, which need not wait for what is left: a child goes on, with the
    lock, and without our standard input, which libvirt may be writing to.
    """
    faulthandler.cancel_dump_traceback_later()  # its thread does not come along
    try:
        if posix.fork():
            posix._exit(0)
    except OSError:
        pass  # no room for a child: libvirt has to wait
    posix.dup2(1, 0)
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=sys.stderr)


def carry_out(
    path: str,
    config: str,
    mine: "Event | None",
    lock: "Lock | None",
    until: float,
    detach: "Callable[[], None]" = detach,
) -> list[str]:
    """Carry out what waits, and an event that could not be written down; the lines for
    the log. Tools may run `until` then (monotonic). Raises VfwError, OSError."""
    state = State(path)
    configuration.await_settled(state, config)
    reconcile = Reconcile(state, config, until=until, lock=lock)
    try:
        reconcile.carry_out(read_event(state, mine) if mine else None)
    finally:
        if reconcile.is_slow_to_close:
            detach()
        reconcile.close()
    return state.problems + reconcile.report.problems + reconcile.report.said
