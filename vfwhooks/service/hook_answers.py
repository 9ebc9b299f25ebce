"""When ringing hooks are answered: after their events have been carried out, and after
an edit that is about to come into force, as long as a hook can wait for that."""

from __future__ import annotations

from collections.abc import Callable

from ..config import last_good
from ..store.state import State
from .background_jobs import BackgroundJobs
from .ringing_hooks import RingingHooks
from .schedule import Schedule

_EDIT_PATIENCE = 0.5  # seconds that a ringing hook waits for an edit to come into force


class HookAnswers:
    """Answers hooks; `carry_out` carries out their events and returns lines for the
    log."""

    def __init__(
        self,
        state: State,
        config: str,
        ringing: RingingHooks,
        jobs: BackgroundJobs,
        schedule: Schedule,
        carry_out: Callable[[], list[str]],
    ) -> None:
        self._state = state
        self._config = config
        self._ringing = ringing
        self._jobs = jobs
        self._schedule = schedule
        self._carry_out = carry_out

    def give(self, is_late: bool = False) -> list[str]:
        """Answer the hooks that ring, or have `answer` be due, unless it `is_late`;
        the lines for the log."""
        if not last_good.has_good(self._state):
            self._jobs.compile_edited()
            self._ringing.answer()  # a hook compiles for itself
            return []
        # With many hooks there is no room for more before these are answered.
        is_late = is_late or self._ringing.is_full()
        if not is_late and not last_good.is_in_force(self._state, self._config):
            self._jobs.compile_edited()
            self._schedule.add("answer", _EDIT_PATIENCE)
            return []
        said = self._carry_out() if self._ringing.waits_for_work() else []
        self._ringing.answer()
        return said
