"""The commands of the command line, and their exit status."""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..config import kept_over_boot
from ..diagnosis.doctor import check_config, examine
from ..diagnosis.forward_path import follow
from ..firewall.backend import clear_all
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.client import (
    known_guests,
    reserve,
    running_guests,
)
from ..libvirt.inventory import Inventory
from ..reconcile.hairpin_mode import Hairpins
from ..reconcile.return_path import ReturnRoutes
from ..reconcile.route_localnet import restore_other_localnet
from ..store.files import CONFIG, STATE
from ..store.state import State
from ..values.errors import VfwError
from ..values.findings import WRONG, render
from .applied import apply, ask_libvirtd, find_taken
from .checked import check_files
from .edit import EditTarget, add_entries, remove_entries
from .edit_outcome import preview
from .editor_session import edit_file
from .explained import explained
from .known_names import find_known, refuse_unknown
from .metrics_file import show_metrics
from .output import (
    complain,
    print_findings,
    print_followed,
)
from .parser import parse
from .reserve import reserve_guest
from .status_command import show_status
from .terminal_lines import for_reader

DONE, FAILED, BAD = 0, 1, 2
INTERRUPTED = 130  # as a shell has it, after Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done or same, 1 failed or differs, 2
    bad usage or bad configuration."""
    if refuse_unknown(argv, _COMMANDS):
        return BAD
    arguments = parse(argv)
    gc.disable()  # no object lives longer than one command, and a pass costs 20 ms
    try:
        if arguments.command not in _FOR_ALL and _is_roots():
            raise PermissionError(_state_path())
        return _COMMANDS[arguments.command](arguments)
    except VfwError as error:
        complain(error.message, error.hint)
    except PermissionError as error:
        typed = render(("vfwhooks", *(sys.argv[1:] if argv is None else argv)))
        complain(f"needs root: sudo {typed}" if os.geteuid() else str(error))
    except OSError as error:
        complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED


def check(arguments: argparse.Namespace) -> int:
    """Print every problem of a file."""
    return DONE if check_files(arguments, _config(), _state_path()) else BAD


def status(arguments: argparse.Namespace) -> int:
    """Print what is forwarded."""
    is_well = show_status(arguments, _state_path(), _config())
    return DONE if is_well else FAILED


def doctor(arguments: argparse.Namespace) -> int:
    """Print findings about the host as a whole, or the hops of a forward."""
    if arguments.about:
        state = State(_state_path())
        followed = follow(state, _config(), arguments.about)
        print_followed(followed, arguments.json)
        return DONE if all(one.is_whole for one in followed) else FAILED
    answer = ask_libvirtd()
    known = known_guests() if answer else set()
    found = examine(State(_state_path()), _config(), answer, known)
    print_findings(found, arguments.json)
    if any(one.level == WRONG for one in check_config(_config(), _state_path())):
        return BAD
    return FAILED if any(one.level == WRONG for one in found) else DONE


def explain_rules(arguments: argparse.Namespace) -> int:
    """Print all about one guest's forwards, one port, or a whole ruleset."""
    lines, is_well = explained(arguments, State(_state_path()), _config())
    try:
        for line in for_reader(lines):
            print(line, flush=bool(arguments.trace))  # a trace waits for its reader
    except BrokenPipeError:  # the reader, a pager say, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE if is_well else FAILED


def metrics(arguments: argparse.Namespace) -> int:
    """Print or write what Prometheus collects."""
    show_metrics(State(_state_path()), _config(), arguments.output)
    return DONE


def watch(_: argparse.Namespace) -> int:
    """Replace this process by the service, without the imports of the command line."""
    package = str(Path(__file__).resolve().parents[2])
    code = "import sys; sys.path[:0] = [sys.argv[1]]; "
    code += "from vfwhooks.service.daemon import main; main(*sys.argv[2:])"
    argv = ["-IX", "utf8", "-c", code, package, _state_path(), _config()]
    os.execv(sys.executable, [sys.executable, *argv])


def keep_address(arguments: argparse.Namespace) -> int:
    """Reserve the guest's present addresses."""
    inventory = Inventory(f"{_state_path()}/networks")
    lines, problems = reserve_guest(
        arguments.guest, running_guests(), inventory, reserve
    )
    for line in lines:
        print(line)
    for problem in problems:
        complain(problem)
    return FAILED if problems else DONE


def purge(_: argparse.Namespace) -> int:
    """Remove all our rules, and all state except forwards.yaml."""
    state = State(_state_path())
    lock = state.lock()
    inventory = Inventory(f"{state.path}/networks")
    link = Netlink()
    hairpins = Hairpins()
    for record in state.records():
        for port in record.hairpins:
            hairpins.give_back(port)
    hairpins.close()
    problems = restore_other_localnet(state, set()) + ReturnRoutes(state).sync(set())
    for problem in problems + hairpins.problems:
        complain(problem)
    cleared = clear_all(state.base(), link, Run(keep=(lock.fd,)), inventory)
    kept_over_boot.forget(state)
    shutil.rmtree(state.path)
    lock.close()
    link.close()
    print("removed all rules: " + (", ".join(cleared) or "there were none"))
    return DONE


def import_from(arguments: argparse.Namespace) -> int:
    """Print a forwards.yaml made from another tool's forwards, or replace its
    rules."""
    if arguments.replace and _is_roots():
        raise PermissionError(_state_path())
    from .import_forwards import import_forwards  # no other command needs its readers

    return import_forwards(arguments, _state_path(), _config())


def metadata(arguments: argparse.Namespace) -> int:
    """Show or change a guest's forwards in the metadata of its domain."""
    from .metadata import run_metadata  # no other command writes to a domain

    return run_metadata(arguments, _state_path())


def complete(arguments: argparse.Namespace) -> int:
    """Print the words for a completion, one a line."""
    for name in find_known(_state_path(), _config(), arguments.what):
        print(name)
    return DONE


def _edit_target() -> EditTarget:
    state = State(_state_path())
    return EditTarget(
        Path(_config()),
        state.path,
        lambda: apply(state, _config(), is_dry=False),
        lambda main: preview(state, main, ask_libvirtd, find_taken),
    )


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "add": lambda arguments: add_entries(arguments, _edit_target()),
    "apply": lambda one: apply(State(_state_path()), _config(), one.dry_run),
    "check": check,
    "complete": complete,
    "doctor": doctor,
    "edit": lambda arguments: edit_file(arguments, _edit_target()),
    "explain": explain_rules,
    "import": import_from,
    "metadata": metadata,
    "metrics": metrics,
    "purge": purge,
    "remove": lambda arguments: remove_entries(arguments, _edit_target()),
    "reserve": keep_address,
    "status": status,
    "watch": watch,
}


_FOR_ALL = "check", "complete", "import"  # look at files that anybody may read


def _is_roots() -> bool:
    """Whether the state is root's, and we are somebody else."""
    try:
        return os.geteuid() != 0 and Path(_state_path()).stat().st_uid == 0
    except OSError:
        return False  # whoever uses it is told


def _config() -> str:
    return os.environ.get("VFWHOOKS_CONFIG", CONFIG)


def _state_path() -> str:
    return os.environ.get("VFWHOOKS_STATE", STATE)


if __name__ == "__main__":
    sys.exit(main())
