"""reconciler: how long a holder of the lock goes on; what he does is made up. What
comes of events on a host is in tests/faults/test_rounds.py."""

from __future__ import annotations

from unittest.mock import Mock, patch

import pytest

from vfwhooks.reconcile import reconciler
from vfwhooks.reconcile.reconciler import Reconciler
from vfwhooks.reconcile.sync_report import NO_NEWS


class Endless(Reconciler):
    """One for whom there is always an event more."""

    def __init__(
        self, *, is_cutting: bool, variant: str = "", is_intact: bool = True
    ) -> None:
        self._main, self._is_apart = "", True
        self._state = Mock(base=lambda: {"variant": variant})
        self._sync = Mock(cuts=Mock(has_any=is_cutting), is_intact=lambda: is_intact)


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


@pytest.mark.parametrize(
    ("variant", "is_intact", "why"),
    [
        ("nft", True, ""),
        ("legacy", True, NO_NEWS),
        ("legacy", False, "our base ruleset is not as it was left"),
    ],
)
def test_a_look_at_legacy(variant: str, is_intact: bool, why: str) -> None:
    """It compares everything, as often as the service looks: the mark of what our rules
    are like is taken after a change, and somebody else's of that moment is in it. That
    is no news for the log."""
    one = Endless(is_cutting=False, variant=variant, is_intact=is_intact)
    with (
        patch.object(reconciler, "last_good"),
        patch.object(reconciler, "stamps_in_force", return_value="1"),
        patch.object(reconciler, "waiting", return_value=[]),
    ):
        found = one._why_checked(False)

    assert found == why
