"""A trial whether libvirt's daemons may run hooks here: SELinux is asked, then a hook
is run.

A hook that libvirt may not execute keeps guests and networks from starting. So the
`daemon` hook goes first: it has the label of the others, libvirt calls it on every
reload, and libvirt ignores its result. Only daemons that have run it get the other
hooks. Without hooks the service follows libvirt's own files.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..host.run import Run, find
from ..libvirt.daemons import SERVES, find_concerned, find_daemons, reload, wake
from ..store.files import STATE
from ..store.state import State
from ..values.errors import VfwError, show
from .denials import find_denials
from .hook_files import DIRECTORY, DRIVERS, NO_EXEC, find_laid, is_on_noexec
from .hook_permissions import AskRights, find_refused, refused_drivers
from .selinux import BOOLEAN, ask_rights, ask_service
from .selinux_policy import is_enforcing


@dataclass(frozen=True)
class Trial:
    """The drivers whose hooks may be installed, and why other daemons may run none."""

    drivers: tuple[str, ...]
    refused: dict[str, str]


def try_hooks(
    source: Path,
    place: Path,
    state: State,
    root: str = "",
    ask: AskRights = ask_rights,
) -> Trial:
    """Install the daemon hook, if any daemon may run it, and see which daemons run it.

    The hook stays if a daemon has run it. If no daemon runs and none can be started,
    there is no trial: SELinux's answer and the mount options decide.
    """
    refused = find_refused(root, ask)
    running = {daemon.name for daemon in find_daemons(root)}
    concerned = [name for name in find_concerned(root) if name not in refused]
    for name in set(concerned) - running:
        wake(name)
    daemons = [one for one in find_daemons(root) if one.name not in refused]
    if daemons:
        _lay(source, place)
        reached = reload(daemons, state)
        for name in [one.name for one in daemons if one.name not in reached]:
            refused[name] = _why_not(name, place, root)
    elif running:
        reached = set()
    else:
        can_run = not is_on_noexec(place.parent)
        reached = set(concerned if can_run else ())
        for name in set(concerned) - reached:
            refused[name] = _why_not(name, place, root)
    served = {driver for name in reached for driver in SERVES[name]}
    served -= set(refused_drivers(refused))
    drivers = tuple(driver for driver in DRIVERS if driver in served)
    if drivers:
        _lay(source, place)
    else:
        place.unlink(missing_ok=True)
    return Trial(drivers, refused)


def _lay(source: Path, place: Path) -> None:
    """Install a hook by rename, with the label that the policy wants."""
    # Not beside the hook if libvirt runs every file in that directory.
    directory = place.parent.parent if place.parent.suffix == ".d" else place.parent
    new = directory / ".vfwhooks.new"
    shutil.copyfile(source, new)
    new.chmod(0o755)
    new.rename(place)
    if is_enforcing() and find("restorecon"):
        Run()(["restorecon", "-F", str(place)])


def _why_not(name: str, place: Path, root: str) -> str:
    """Why a daemon may not have run our daemon hook."""
    if is_on_noexec(place.parent):
        return NO_EXEC
    for denial in reversed(find_denials(root)):
        if denial.path in (str(place), place.name) and not denial.is_permissive:
            return f"{denial.subject} may not {denial.what} {place} ({denial.by})"
    return f"{name} was told to reload, and did not run {place}"


def explain_refusal(refused: dict[str, str], root: str = "") -> Iterator[str]:
    """Lines for an administrator: the blocker, what was done, and how to get hooks."""
    names = " and ".join(refused)
    reasons = "; ".join(dict.fromkeys(refused.values()))
    yield f"{names} may not run hooks here: {reasons}"
    service = ask_service(root) if is_enforcing(root) else None
    runs_as = f" (as {service.domain})" if service and service.domain else ""
    yield (
        f"no hook is laid for {'them' if len(refused) > 1 else 'it'}: the service"
        f"{runs_as} follows libvirt's own files; nothing else on this host was changed"
    )
    if any("(SELinux)" in reason for reason in refused.values()):
        what = f"loads a policy module and switches {BOOLEAN} on"
        yield f"to have hooks: ./install.sh --selinux-module, which {what}"
    else:
        yield "to have hooks: mend that, then run ./install.sh again"
    for refusal in service.refused if service else ():
        yield f"the service may not {refusal.work}: {refusal.reason}"


def withdraw(state: State, root: str = "", ask: AskRights = ask_rights) -> list[str]:
    """Remove hooks that libvirt would fail to run, before a guest fails. Returns lines
    about it. The daemons reload, since they remember which hooks exist."""
    laid = find_laid(root)
    if is_on_noexec(Path(root + DIRECTORY)):
        refused = dict.fromkeys(laid, NO_EXEC)
    else:
        refused = refused_drivers(find_refused(root, ask))
    gone = [driver for driver in laid if driver in refused]
    if not gone:
        return []
    if set(laid) - set(gone) == {"daemon"}:
        gone.append("daemon")
    for driver in gone:
        laid[driver].unlink()
    reload(find_daemons(root), state)
    reason = next(iter(refused.values()))
    what = f"hooks taken away, for guests would not start: {', '.join(gone)}: {reason}"
    return [f"{what}; libvirt's own files are followed"]


def main(argv: Sequence[str] | None = None) -> int:
    """The commands for install.sh and the service.

    `try SOURCE PLACE` prints `may DRIVER…`, and a line `say …` for each message; `tell`
    makes the daemons look for hooks; `withdraw` prints what was removed.
    """
    parser = argparse.ArgumentParser(prog="hooktrial")
    parser.add_argument("what", choices=("try", "tell", "withdraw"))
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--state", default=STATE)
    arguments = parser.parse_args(argv)
    state = State(arguments.state)
    try:
        if arguments.what == "try":
            source, place = arguments.paths
            trial = try_hooks(source, place, state)
            print("may", *trial.drivers)
            for line in explain_refusal(trial.refused) if trial.refused else ():
                print("say", show(line))
        elif arguments.what == "withdraw":
            for line in withdraw(state):
                print(show(line))
        else:
            reload(find_daemons(), state)
    except (OSError, VfwError) as error:
        print(f"install.sh: {show(str(error))}", file=sys.stderr)
        return 1
    return 0
