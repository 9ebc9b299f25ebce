"""What the service has a child do, since it takes long, or many imports, or waits for
somebody else: compiling, asking libvirtd, asking SELinux, reading rules of others.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..config import last_good
from ..installation.hook_files import DIRECTORY, is_on_noexec
from ..installation.selinux_policy import is_enforcing
from ..store import files
from ..store.state import State
from ..values.errors import Refused, VfwError
from .children import Children, Ended
from .kernel_news import Rulesets
from .log import WARNING, Log
from .schedule import Schedule

_QUIET, _LATEST, _APART = 0.5, 5.0, 3.0
_ASK_AGAIN = 60.0
_LEGACY, _LEGACY6 = "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"
_PACKAGE = __file__.rpartition("/vfwhooks/")[0]
_ASK = "from vfwhooks.cli.main import main; sys.exit(main(['apply']))"
_WITHDRAW = (
    "from vfwhooks.installation.hook_trial import main; "
    "sys.exit(main(['withdraw', '--state', sys.argv[2]]))"
)
_SURVEY = (
    "from vfwhooks.reconcile.foreign_survey import main; sys.exit(main(sys.argv[2]))"
)
COMPILE, ASK, WITHDRAW, SURVEY = "compile", "ask", "withdraw", "survey"


class BackgroundJobs:
    """One child at a time for each; who asks while it runs has it run once more."""

    def __init__(
        self,
        state: State,
        config: str,
        children: Children,
        schedule: Schedule,
        log: Log,
    ) -> None:
        self._state = state
        self._config = config
        self._children = children
        self._schedule = schedule
        self._log = log
        self._again: set[str] = set()

    def compile(self) -> None:
        """Compile what was edited; when that is done, `compiled` is due."""
        if self._children.is_at(COMPILE):
            self._again.add(COMPILE)
            return
        attempt = last_good.Attempt(self._state, self._config)

        def on_end(ended: Ended) -> None:
            if ended.status:
                said = ended.said.strip().splitlines()[:1]
                what = f"{sys.executable}: {''.join(said) or _how(ended.status)}"
                kind = Refused if ended.status > 0 else VfwError
                attempt.note_failure(kind(what))
            self._schedule.add("compiled", 0)
            if COMPILE in self._again:
                self._again.remove(COMPILE)
                self._schedule.add("config", 0)

        self._start(COMPILE, attempt.argv, on_end)

    def ask_libvirtd(self) -> None:
        """Who runs, by libvirtd's word: at the start, when it has come up, and when a
        record could not be read. When that is done, `asked` is due; when it was ended,
        `daemon` is, later."""
        self._run(ASK, _ASK, self.ask_libvirtd)

    def withdraw_hooks(self) -> None:
        """Take hooks away that libvirt would fail over, by SELinux's policy as it is
        now or by the mount they are on; where neither can be, nothing is asked."""
        if is_enforcing() or is_on_noexec(Path(DIRECTORY)):
            self._run(WITHDRAW, _WITHDRAW, self.withdraw_hooks, self._state.path)

    def survey(self) -> bool:
        """Read the rules of others; False while that is being done."""
        if self._children.is_at(SURVEY):
            return False
        self._run(SURVEY, _SURVEY, lambda: None, self._state.path)
        return True

    def _run(
        self, name: str, code: str, again: Callable[[], None], *arguments: str
    ) -> None:
        if self._children.is_at(name):
            self._again.add(name)
            return

        def on_end(ended: Ended) -> None:
            self._tell(name, ended)
            if name == ASK:
                self._schedule.add("asked", 0)
                if ended.status < 0:  # libvirtd did not answer in a child's time
                    self._schedule.add("daemon", _ASK_AGAIN, _ASK_AGAIN)
            if name in self._again:
                self._again.remove(name)
                again()

        start = f"import sys; sys.path[:0] = [sys.argv[1]]; {code}"
        argv = [sys.executable, "-IXutf8", "-c", start, _PACKAGE, *arguments]
        self._start(name, argv, on_end)

    def _start(
        self, name: str, argv: list[str], on_end: Callable[[Ended], None]
    ) -> None:
        try:
            self._children.start(name, argv, on_end)
        except OSError as error:  # no memory, no room for a process
            self._log.say(f"{name}: {error}", WARNING)

    def _tell(self, name: str, ended: Ended) -> None:
        """What a child that takes hooks away says is news; another's is its failure."""
        lines = ended.said.strip().splitlines()
        if name == WITHDRAW and not ended.status:
            for line in lines:
                self._log.say(line, WARNING)
        elif ended.status:
            said = " ".join(lines[:2]) or _how(ended.status)
            self._log.say(f"{sys.executable}: {said}", WARNING)


class Surveyor:
    """Has DNAT rules of others read when they change: a mark in the state directory
    tells that there is news."""

    def __init__(
        self, jobs: BackgroundJobs, schedule: Schedule, rulesets: Rulesets
    ) -> None:
        self._jobs = jobs
        self._schedule = schedule
        self._rulesets = rulesets
        self._next = 0.0

    def hear(self) -> None:
        """Rules have changed: look once they are left alone."""
        if self._rulesets.may_have_foreign:
            self._schedule.add("foreign", _QUIET, _LATEST)

    def poll(self) -> None:
        """Look now and then at the old variant of iptables, which tells nobody."""
        tables = files.read(_LEGACY) or b""
        tables += files.read(_LEGACY6) or b""
        if b"nat" in tables.split():
            self._schedule.add("taken", 0)

    def work(self, ready: set[str]) -> None:
        """Do what is due, and take it out."""
        is_due = "taken" in ready
        if "foreign" in ready:
            is_due = self._rulesets.has_foreign() or is_due
        ready -= {"taken", "foreign"}
        now = time.monotonic()
        if not is_due:
            return
        if now >= self._next and self._jobs.survey():
            self._next = now + _APART
        else:
            self._schedule.add("taken", max(_QUIET, self._next - now), _LATEST)


def _how(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"ended by signal {-status}"
