"""What the service has a child do, since it takes long, or many imports: asking
libvirtd, and SELinux.
"""

import sys
import syslog
from pathlib import Path

from .errors import VfwError, show
from .hookfiles import DIRECTORY, is_on_noexec
from .process import Run
from .selinuxfs import is_enforcing
from .state import State

_SECONDS = 60
_PACKAGE = __file__.rpartition("/vfwhooks/")[0]
_APPLY = (
    "import sys; sys.path[:0] = [sys.argv[1]]; "
    "from vfwhooks.cli import main; sys.exit(main(['apply']))"
)
_WITHDRAW = (
    "import sys; sys.path[:0] = [sys.argv[1]]; from vfwhooks.hooktrial import main; "
    "sys.exit(main(['withdraw', '--state', sys.argv[2]]))"
)


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
