"""Background jobs: the service leaves to children what takes long, needs many imports
or waits for another process: compiling, asking libvirtd, asking SELinux, reading
foreign rules."""

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
    """One child at a time for each job; a request meanwhile makes it run once more."""

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

    def compile_edited(self) -> None:
        """Have an edited configuration compiled, unless it is still being written. A
        large file takes longer than any hook may wait."""
        is_in_force = last_good.is_in_force(self._state, self._config)
        if not is_in_force and last_good.is_settled(self._config):
            self._compile("config")

    def compile(self) -> None:
        """Compile the configuration for other addresses of the host."""
        self._compile("routing")

    def _compile(self, news: str) -> None:
        """Compile the configuration; after that, `compiled` is due. A child that runs
        already may have read what was there before these news: they are due again."""
        if self._children.is_at(COMPILE):
            self._again.add(news)
            return
        attempt = last_good.Attempt(self._state, self._config)

        def on_end(ended: Ended) -> None:
            if ended.status:
                said = ended.said.strip().splitlines()[:1]
                what = f"{sys.executable}: {''.join(said) or _how(ended.status)}"
                kind = Refused if ended.status > 0 else VfwError
                attempt.note_failure(kind(what))
            self._schedule.add("compiled", 0)
            for one in self._again & {"config", "routing"}:
                self._again.remove(one)
                self._schedule.add(one, 0)

        self._start(COMPILE, attempt.argv, on_end)

    def ask_libvirtd(self) -> None:
        """Ask libvirtd for the running guests: at the start, when libvirtd has come up,
        and when a record could not be read. After that, `asked` is due; if the child
        was killed, `daemon` is due later."""
        self._run(ASK, _ASK, self.ask_libvirtd)

    def withdraw_hooks(self) -> None:
        """Remove hooks that libvirt cannot run, under SELinux's policy as it is now or
        on their mount. No child starts if neither can forbid it."""
        if is_enforcing() or is_on_noexec(Path(DIRECTORY)):
            self._run(WITHDRAW, _WITHDRAW, self.withdraw_hooks, self._state.path)

    def survey(self) -> bool:
        """Read the foreign rules; False if a child is reading them already."""
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
                if ended.status < 0:  # libvirtd did not answer in time
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
        """Log the output of a child: of the one that removes hooks always, of another
        only its failure."""
        lines = ended.said.strip().splitlines()
        if name == WITHDRAW and not ended.status:
            for line in lines:
                self._log.say(line, WARNING)
        elif ended.status:
            said = " ".join(lines[:2]) or _how(ended.status)
            self._log.say(f"{sys.executable}: {said}", WARNING)


class Surveyor:
    """Has foreign DNAT rules read after they have changed; the child asks for a full
    sync by a mark in the state directory."""

    def __init__(
        self, jobs: BackgroundJobs, schedule: Schedule, rulesets: Rulesets
    ) -> None:
        self._jobs = jobs
        self._schedule = schedule
        self._rulesets = rulesets
        self._next = 0.0

    def hear(self) -> None:
        """Rules have changed: read them after they have been quiet for a while."""
        if self._rulesets.may_have_foreign:
            self._schedule.add("foreign", _QUIET, _LATEST)

    def poll(self) -> None:
        """Have iptables' legacy variant read now and then: it reports no changes."""
        tables = files.read(_LEGACY) or b""
        tables += files.read(_LEGACY6) or b""
        if b"nat" in tables.split():
            self._schedule.add("taken", 0)

    def work(self, ready: set[str]) -> None:
        """Do the jobs of `ready` that are the surveyor's, and remove them from it."""
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
