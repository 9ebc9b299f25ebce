"""Blockers that keep libvirt's daemons from running our hooks, or the service from its
work, as the kernel and its log tell them. For doctor, for status and for the installer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..libvirt.daemons import SERVES, find_concerned, find_daemons, noticed_at
from ..values.errors import VfwError
from ..values.findings import OK, WRONG, Cure, Finding, by_hand, render, run
from .denials import SELINUX, Denial, find_denials
from .hook_files import DIRECTORY, DRIVERS, NO_EXEC, find_laid, installer, is_on_noexec
from .selinux import DAEMONS, Right, ask_rights, ask_service, find_label
from .selinux_policy import Verdict, is_enforcing
from .service_process import find_service

AskRights = Callable[..., Sequence[Right]]


def find_refused(root: str = "", ask: AskRights = ask_rights) -> dict[str, str]:
    """The daemons on this host that SELinux keeps from running hooks, with the
    reason."""
    if not is_enforcing(root):
        return {}
    concerned = find_concerned(root)
    return {
        right.daemon: f"{right.reason} (SELinux)"
        for right in ask(root=root)
        if right.verdict is Verdict.DENIED and right.daemon in concerned
    }


def refused_drivers(refused: dict[str, str]) -> dict[str, str]:
    """The refused drivers with the reason; one refused daemon of a driver is enough."""
    found: dict[str, str] = {}
    for daemon, reason in refused.items():
        for driver in SERVES[daemon]:
            found.setdefault(driver, reason)
    return {driver: found[driver] for driver in DRIVERS if driver in found}


def hooks_line(root: str = "", ask: AskRights = ask_rights) -> str:
    """A line for status: how starts of guests are noticed here, and why not by
    hooks."""
    laid = [driver for driver in find_laid(root) if driver in DRIVERS]
    if laid:
        said = ", ".join(laid)
    elif find_service(root):
        said = "none: the service follows libvirt's files"
    else:
        said = "none, and the service does not run: no start is noticed"
    is_refused = not laid and is_on_noexec(Path(root + DIRECTORY))
    why = [NO_EXEC] if is_refused else _asked(root, ask).values()
    return "; ".join(dict.fromkeys([said, *why]))


def _asked(root: str, ask: AskRights) -> dict[str, str]:
    try:
        return find_refused(root, ask)
    except VfwError:
        return {}  # only root may ask


def check_confinement(
    state: str, refused: dict[str, str], root: str = ""
) -> Iterator[Finding]:
    """The denials of SELinux and AppArmor against hooks, and whether the service may do
    its work. `refused` are daemons that SELinux keeps from running hooks now."""
    for path in find_laid(root).values():
        yield from _label(path, root)
    noticed = {one.name: noticed_at(one, state) for one in find_daemons(root)}
    for denial in find_denials(root):
        if not denial.is_permissive and not _is_over(denial, refused, noticed):
            what = f"{denial.by} has refused {denial.subject} to {denial.what}"
            what, cure = f"{what} {denial.path}", _cure(denial, root)
            seen = f"the kernel's log, at {denial.at:.0f} s since 1970"
            yield Finding(WRONG, "hook-denied", denial.subject, what, cure, seen)
    if is_enforcing(root):
        service = ask_service(root)
        for refusal in service.refused:
            what = f"the service, as {service.domain}, may not {refusal.work}"
            what, cure = (
                f"{what}: {refusal.reason}",
                by_hand("its policy has to allow that"),
            )
            seen = refusal.reason
            yield Finding(WRONG, "service-refused", service.domain, what, cure, seen)
        if service.domain and not service.refused:
            what = f"the service may do its work as {service.domain}"
            yield Finding(OK, "service-allowed", service.domain, what)


def _label(path: Path, root: str) -> Iterator[Finding]:
    """Whether the file has the label of a libvirt hook."""
    shown = str(path)[len(root) :]
    try:
        has = os.getxattr(path, "security.selinux").rstrip(b"\0").decode()
    except OSError:
        return  # a host without SELinux
    wanted = find_label(shown, root)
    if has.split(":")[:3] != wanted.split(":")[:3]:
        what = f"{shown} is labelled {has}, and not {wanted}"
        cure, seen = run("restorecon", "-F", shown), f"label {has}"
        yield Finding(WRONG, "hook-mislabelled", shown, what, cure, seen)


def _is_over(
    denial: Denial, refused: dict[str, str], noticed: dict[str, float]
) -> bool:
    """Whether a denial is out of date: the policy has changed, or a hook has run
    since."""
    if denial.by == SELINUX and denial.subject in DAEMONS.values():
        return denial.subject not in {DAEMONS[name] for name in refused}
    daemon = denial.subject.rpartition("/")[2]
    return noticed.get(daemon, 0) > denial.at


def _cure(denial: Denial, root: str) -> Cure:
    if denial.by == SELINUX:
        said = f"run: {{run}}; or without hooks: {render(installer(root))}"
        return by_hand(said, *installer(root, has_module=True))
    rules = f"{DIRECTORY}/** rmix, and /usr/bin/* PUx,"
    local = f"/etc/apparmor.d/local/{denial.subject.strip('/').replace('/', '.')}"
    said = f"write into {local}: {rules} then run: {{run}}"
    return by_hand(said, "systemctl", "reload", "apparmor")
