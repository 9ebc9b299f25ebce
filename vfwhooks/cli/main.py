"""The commands of the command line, and their exit status.

Each command imports what it needs when it is called: to import all of them took three
times as long as to print the help.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..store.files import CONFIG, STATE
from ..store.state import State
from ..values.errors import VfwError
from ..values.findings import WRONG, render
from .outcome import BAD, DONE, FAILED
from .output import complain, print_findings, print_followed
from .parser import parse
from .standard_streams import make_dependable
from .unknown_command import refuse_unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .edit import EditTarget

INTERRUPTED = 130  # as a shell has it, after Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done or same, 1 failed or differs, 2
    bad usage or bad configuration."""
    make_dependable()
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
    from .checked import check_files

    return DONE if check_files(arguments, _config(), _state_path()) else BAD


def status(arguments: argparse.Namespace) -> int:
    """Print what is forwarded."""
    from .status_command import show_status

    is_well = show_status(arguments, _state_path(), _config())
    return DONE if is_well else FAILED


def doctor(arguments: argparse.Namespace) -> int:
    """Print findings about the host as a whole, or the hops of a forward."""
    from ..diagnosis.doctor import check_config, examine
    from ..diagnosis.forward_path import follow
    from ..libvirt.client import known_guests
    from .applied import ask_libvirtd

    if arguments.about is not None:
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
    from .explained import explained
    from .terminal_lines import for_reader

    lines, is_well = explained(arguments, State(_state_path()), _config())
    for line in for_reader(lines):
        print(line, flush=bool(arguments.trace))  # a trace waits for its reader
    return DONE if is_well else FAILED


def metrics(arguments: argparse.Namespace) -> int:
    """Print or write what Prometheus collects."""
    from .metrics_file import show_metrics

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
    from ..libvirt.client import reserve, running_guests
    from ..libvirt.inventory import Inventory
    from .reserve import reserve_guest

    inventory = Inventory(f"{_state_path()}/networks")
    lines, problems = reserve_guest(
        arguments.guest, running_guests(), inventory, reserve
    )
    for line in lines:
        print(line)
    for problem in problems:
        complain(problem)
    return FAILED if problems else DONE


def apply_all(arguments: argparse.Namespace) -> int:
    """Bring the rules to what forwards.yaml says."""
    from .applied import apply

    return apply(State(_state_path()), _config(), arguments.dry_run)


def purge(_: argparse.Namespace) -> int:
    """Remove all our rules, and all state except forwards.yaml."""
    from .purged import purge_all

    purge_all(State(_state_path()))
    return DONE


def import_from(arguments: argparse.Namespace) -> int:
    """Print a forwards.yaml made from another tool's forwards, or replace its
    rules."""
    if arguments.replace and _is_roots():
        raise PermissionError(_state_path())
    from .import_forwards import import_forwards

    return import_forwards(arguments, _state_path(), _config())


def metadata(arguments: argparse.Namespace) -> int:
    """Show or change a guest's forwards in the metadata of its domain."""
    from .metadata import run_metadata

    return run_metadata(arguments, _state_path())


def complete(arguments: argparse.Namespace) -> int:
    """Print the words for a completion, one a line."""
    from .known_names import find_known

    for name in find_known(_state_path(), _config(), arguments.what):
        print(name)
    return DONE


def add(arguments: argparse.Namespace) -> int:
    """Add forwards to a file."""
    from .edit import add_entries

    return add_entries(arguments, _edit_target())


def remove(arguments: argparse.Namespace) -> int:
    """Remove a guest's forwards from a file."""
    from .edit import remove_entries

    return remove_entries(arguments, _edit_target())


def edit(arguments: argparse.Namespace) -> int:
    """Edit a file in an editor."""
    from .editor_session import edit_file

    return edit_file(arguments, _edit_target())


def _edit_target() -> EditTarget:
    from .applied import apply, ask_libvirtd, find_taken
    from .edit import EditTarget
    from .edit_outcome import preview

    state = State(_state_path())
    return EditTarget(
        Path(_config()),
        state.path,
        lambda: apply(state, _config(), is_dry=False),
        lambda main: preview(state, main, ask_libvirtd, find_taken),
    )


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "add": add,
    "apply": apply_all,
    "check": check,
    "complete": complete,
    "doctor": doctor,
    "edit": edit,
    "explain": explain_rules,
    "import": import_from,
    "metadata": metadata,
    "metrics": metrics,
    "purge": purge,
    "remove": remove,
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
