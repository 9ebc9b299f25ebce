"""`vfwhooks apply`: libvirtd is asked who runs, and all rules are brought to what
forwards.yaml says. The lock is not held while libvirtd is asked."""

from __future__ import annotations

import time
from pathlib import Path

from ..config import compiled_file, kept_over_boot
from ..config.compiler import compile_file
from ..config.schema import read_forwards
from ..foreign.named_rules import NONE, Named
from ..libvirt.client import Answer, running_guests
from ..reconcile.foreign_survey import survey
from ..reconcile.reconciler import Reconciler
from ..store import asking
from ..store.foreign_ports import build
from ..store.state import State
from ..values.errors import VfwError, show
from . import progress
from .outcome import BAD, DONE, FAILED, Outcome
from .output import complain, diff_lines
from .printed_problems import print_with_excerpts


def apply(state: State, config: str, is_dry: bool, without: Named = NONE) -> int:
    """Bring the rules of every running guest to what the file says, past rules of
    others that are about to be taken out; the exit status."""
    try:
        with progress.cleared():
            wrong, outcome = _apply(state, config, is_dry, without)
    finally:
        asking.withdraw(state)
    for line in diff_lines(outcome):
        print(show(line))
    for line in dict.fromkeys(outcome.named):
        print(f"note: {show(line)}")
    for problem in outcome.problems:
        complain(problem)
    return BAD if wrong else FAILED if outcome.problems else DONE


def _apply(
    state: State, config: str, is_dry: bool, without: Named
) -> tuple[bool, Outcome]:
    """Whether the file is wrong, and what was changed."""
    asked = time.monotonic_ns()
    asking.begin(state)
    progress.tell("asking libvirtd who runs")
    answer = ask_libvirtd()
    progress.tell("reading the rules of others")
    taken = find_taken(state, without)
    progress.tell(f"reading {config}")
    if is_dry:
        from .dry_run import dry_run  # apply itself needs none

        outcome = dry_run(state, config, answer, asked, taken)
        wrong = [p for p in read_forwards(Path(config))[1] if not p.is_warning]
        progress.clear()
        print_with_excerpts(wrong)
        return bool(wrong), outcome
    wrong = [p for p in compile_file(Path(config), state) if not p.is_warning]
    progress.clear()
    print_with_excerpts(wrong)
    progress.tell(lambda: f"putting {_count_forwards(state):,} forwards in force")
    reconcile = Reconciler(state, config)
    try:
        reconcile.apply(answer, asked, taken)
        asking.end(state)
    finally:
        reconcile.close()
    report = reconcile.report
    problems = report.problems + _keep(state)
    return bool(wrong), Outcome(report.removed, report.added, problems, report.named)


def _count_forwards(state: State) -> int:
    try:
        compiled = compiled_file.load(state.path)
        guests = compiled.guests().values() if compiled else ()
    except VfwError:  # it is damaged, and made anew
        guests = ()
    return sum(line.startswith("forward ") for lines in guests for line in lines)


def find_taken(state: State, without: Named = NONE) -> bytes | None:
    """The ports that foreign DNAT rules take now; None if they cannot be read."""
    try:
        return build(survey(state, without).claims)
    except (OSError, VfwError) as error:
        complain(f"rules of others: {error}", "going by what was known of them")
        return None


def _keep(state: State) -> list[str]:
    """Keep the configuration in force over a boot. Returns problems."""
    try:
        kept_over_boot.keep(state)
    except OSError as error:
        return [kept_over_boot.complaint(state, error)]
    return []


def ask_libvirtd() -> Answer | None:
    """The running guests; None if libvirtd does not answer."""
    try:
        return running_guests()
    except VfwError as error:
        complain(str(error), "going by what the hooks have recorded")
        return None
