"""What the service has a child do, since it takes long, or many imports: asking
libvirtd, and SELinux, and reading rules of others.
"""

import posix
import sys
import syslog
import time
from pathlib import Path

from . import files
from .errors import VfwError, show
from .hookfiles import DIRECTORY, is_on_noexec
from .monitor import Rulesets
from .process import PATH, Run
from .schedule import Schedule
from .selinuxfs import is_enforcing
from .state import State

_SECONDS = 60
_QUIET, _LATEST, _APART = 0.5, 5.0, 3.0
_LEGACY, _LEGACY6 = "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"
_PACKAGE = __file__.rpartition("/vfwhooks/")[0]
_APPLY = (
    "import sys; sys.path[:0] = [sys.argv[1]]; "
    "from vfwhooks.cli import main; sys.exit(main(['apply']))"
)
_WITHDRAW = (
    "import sys; sys.path[:0] = [sys.argv[1]]; from vfwhooks.hooktrial import main; "
    "sys.exit(main(['withdraw', '--state', sys.argv[2]]))"
)
_SURVEY = (
    "import sys; sys.path[:0] = [sys.argv[1]]; from vfwhooks.survey import main; "
    "sys.exit(main(sys.argv[2]))"
)


class Surveyor:
    """Has DNAT rules of others read when they change, by one child at a time, for which
    nobody waits: a mark in the state directory tells that there is news."""

    def __init__(self, state: State, schedule: Schedule, rulesets: Rulesets) -> None:
        self._state = state
        self._schedule = schedule
        self._rulesets = rulesets
        self._child = 0
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
        if self._child and posix.waitpid(self._child, posix.WNOHANG)[0]:
            self._child = 0
        now = time.monotonic()
        if is_due and (self._child or now < self._next):
            self._schedule.add("taken", max(_QUIET, self._next - now), _LATEST)
        elif is_due:
            python, path = sys.executable, self._state.path
            argv = [python, "-IXutf8", "-c", _SURVEY, _PACKAGE, path]
            self._child = posix.posix_spawn(python, argv, {"PATH": PATH})
            self._next = now + _APART


def ask_libvirtd() -> None:
    """Who runs, by libvirtd's word: at the start, whatever happened before it, and when
    a record could not be read."""
    _have_done(_APPLY)


def withdraw_hooks(state: State) -> None:
    """Take hooks away that libvirt would fail over, by SELinux's policy as it is now or
    by the mount they are on; where neither can be, nothing is asked."""
    if is_enforcing() or is_on_noexec(Path(DIRECTORY)):
        for line in _have_done(_WITHDRAW, state.path).splitlines():
            syslog.syslog(syslog.LOG_WARNING, show(line))


def _have_done(code: str, *arguments: str) -> str:
    """What a child said; what was wrong with it goes to the log."""
    child = [sys.executable, "-IXutf8", "-c", code, _PACKAGE, *arguments]
    try:
        return Run(seconds=_SECONDS)(child)
    except VfwError as error:
        syslog.syslog(syslog.LOG_WARNING, show(str(error)))
        return ""
