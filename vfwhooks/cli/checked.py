"""`vfwhooks check`: every problem of forwards.yaml, for a terminal, a pipe or a
program."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ..config.compiler import find_gone
from ..config.config_files import find_files, find_passed_over, in_file_order
from ..config.forwards import GuestForwards
from ..config.guest_names import find_misnamed, find_strangers, find_twins
from ..config.matched_names import named
from ..config.pattern_warnings import find_pattern_warnings
from ..config.schema import read_forwards
from ..config.yaml_nodes import Problem
from ..diagnosis.foreign_warnings import find_foreign_warnings
from ..diagnosis.host_warnings import find_host_warnings
from ..libvirt.client import guests_known_soon
from ..libvirt.inventory import Inventory
from ..libvirt.user_sessions import find_sessions
from ..values.errors import VfwError
from .edit import find_new_problems
from .edited_files import file_to_be
from .output import counted
from .printed_problems import print_with_excerpts


def check_files(arguments: argparse.Namespace, config: str, state: str) -> bool:
    """Print every problem of a file or of the files in use; whether it has no error."""
    path = arguments.file or Path(config)
    if arguments.file and not path.exists():
        raise VfwError(f"{path}: no such file")
    if arguments.place:
        return _check_in_place(arguments, Path(config))
    files = find_files(path)
    passed_over = sorted(find_passed_over(path), key=str)
    guests, problems = _find_problems(path, state, not arguments.file)
    problems = passed_over + in_file_order(problems, files)
    is_good = all(problem.is_warning for problem in problems)
    if arguments.format == "json":
        print(_as_json(files, problems))
        return is_good
    print_with_excerpts(problems)
    if not files and is_good:
        print(f"{path}: there is none, so nothing is forwarded")
    elif is_good:
        count = sum(len(guest.forwards) for guest in guests)
        some = named(guests)
        what = f"{counted(count, 'forward')} for {counted(len(some), 'guest')}"
        if len(some) < len(guests):
            what += f" and {counted(len(guests) - len(some), 'pattern')}"
        print(f"{path}: {what}")
    return is_good


def _check_in_place(arguments: argparse.Namespace, main: Path) -> bool:
    """Print what would be wrong with the file in the place where it is to be put, and
    with the others because of it; mistakes of others that are there already do not
    count."""
    if not arguments.file:
        raise VfwError("--as needs a file", f"vfwhooks check NEW --as {main}")
    place = file_to_be(arguments.place, main)
    new = {place: arguments.file.read_bytes()}
    problems = find_new_problems(main, new, place)
    if arguments.format == "json":
        print(_as_json(find_files(main, new), problems))
    else:
        print_with_excerpts(problems)
    return all(problem.is_warning for problem in problems)


def _find_problems(
    path: Path, state: str, is_in_use: bool
) -> tuple[list[GuestForwards], list[Problem]]:
    gone = _find_gone(path, state) if is_in_use else []
    if not find_files(path):
        return [], gone
    guests, problems = read_forwards(path)
    problems += gone
    problems += find_host_warnings(guests, Inventory(f"{state}/networks"))
    problems += find_foreign_warnings(guests, state)
    known = guests_known_soon() if guests else set()
    problems += find_pattern_warnings(guests, known)
    some = named(guests)
    problems += find_misnamed(some, known) + find_twins(some, known)
    problems += find_strangers(some, known, find_sessions())
    return guests, problems


def _find_gone(path: Path, state: str) -> list[Problem]:
    """The files that are gone, if the user may read the state directory."""
    try:
        return find_gone(path, state)
    except (OSError, VfwError):
        return []


def _as_json(files: Sequence[Path], problems: Sequence[Problem]) -> str:
    """The object for programs; the manual lists its fields."""
    shown = [
        {
            "file": one.place.file,
            "line": one.place.line,
            "column": one.place.column,
            "level": "warning" if one.is_warning else "error",
            "message": one.message,
        }
        for one in problems
    ]
    return json.dumps({"files": list(map(str, files)), "problems": shown})
