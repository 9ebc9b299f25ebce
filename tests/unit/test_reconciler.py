"""reconciler: how long a holder of the lock goes on; what he does is made up. What
comes of events on a host is in tests/faults/test_rounds.py."""

from __future__ import annotations

from unittest.mock import Mock, patch

import pytest

from vfwhooks.reconcile import reconciler
from vfwhooks.reconcile.reconciler import Reconciler


class Endless(Reconciler):
    """One for whom there is always an event more."""

    def __init__(self, *, is_cutting: bool) -> None:
        self._state = Mock()
        self._sync = Mock(cuts=Mock(has_any=is_cutting))


@pytest.mark.parametrize(("is_cutting", "rounds"), [(False, 3), (True, 1)])
def test_events_that_do_not_cease(*, is_cutting: bool, rounds: int) -> None:
    """Who came first is told when the kernel has his, and not when there are no more;
    and they are left to those who wait for the lock once they have taken a while, or at
    once where connections are to be cut."""
    clock = Mock(monotonic=Mock(side_effect=[100.0, 100.1, 101.0]))
    told = Mock()
    with (
        patch.object(reconciler, "time", clock),
        patch.object(reconciler, "waiting", return_value=[("spool/1-1.1", Mock())]),
        patch.object(Reconciler, "_round") as one,
    ):
        Endless(is_cutting=is_cutting).carry_out(tell=told)

    assert (one.call_count, told.call_count) == (rounds, rounds)
