"""`vfwhooks edit`: the administrator's editor on a copy, which counts when it is good.

What was typed is never lost: where it does not come into force, the copy stays.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from ..values.errors import VfwError, show
from .edit import (
    BAD,
    FAILED,
    EditTarget,
    file_to_be,
    find_new_problems,
    print_problems,
    put_in_force,
    read_bytes,
)
from .safe_write import edited_alone, replace_file

# Not Debian's sensible-editor: it looks for these, and says in six lines that it has
# found none.
_EDITORS = ("editor", "vi", "nano")
_PREFIX = "vfwhooks-edit-"
_QUESTION = "what now? e(dit again), x (discard): "


class _End(Enum):
    """What became of an edit."""

    WRITTEN = "written"
    SAME = "nothing is edited"
    DISCARDED = "what was edited is discarded"
    BROKEN = "the editor has failed, and nothing is edited"
    KEPT = "the copy is kept"


def edit_file(arguments: argparse.Namespace, target: EditTarget) -> int:
    """Edit forwards.yaml, or a file of forwards.d."""
    path = file_to_be(arguments.file, target.main) if arguments.file else target.main
    argv = find_editor(os.environ)
    with edited_alone(target.main):
        end = _edit_copy(path, argv, target)
    if end is _End.WRITTEN:
        return put_in_force(path, target)
    print(f"{show(str(path))} is unchanged: {end.value}")
    if end is _End.SAME:
        return 0
    return FAILED if end is _End.BROKEN else BAD


def find_editor(environment: Mapping[str, str]) -> list[str]:
    """The administrator's editor as a command; VfwError where there is none."""
    for variable in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(environment.get(variable, ""))
        except ValueError as error:
            raise VfwError(f"${variable}: {error}") from None
        if words and not shutil.which(words[0]):
            raise VfwError(f"${variable}: there is no {words[0]}")
        if words:
            return words
    for name in _EDITORS:
        if shutil.which(name):
            return [name]
    raise VfwError("there is no editor", "set EDITOR to the one that you have")


def _edit_copy(path: Path, argv: list[str], target: EditTarget) -> _End:
    """Have a copy edited until it is good or given up; it stays if it may be wanted."""
    before = read_bytes(path)
    left = _left_behind()
    if left:
        said = f"vfwhooks: what an earlier edit left is in {left[-1]}"
        more = f" ({len(left)} in {left[-1].parent.parent}/{_PREFIX}*)"
        print(show(said + (more if len(left) > 1 else "")))
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    copy = directory / path.name
    end = _End.SAME  # while the copy is made, and says nothing new
    try:
        copy.write_bytes(b"guests: {}\n" if before is None else before)
        end = _End.KEPT
        end = _edit(path, copy, before, argv, target)
    finally:
        if end is _End.KEPT and directory.is_dir():
            print(f"vfwhooks: what was edited is kept in {copy}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return end


def _left_behind() -> list[Path]:
    """Copies of ours that stayed, the last at the end. Nobody may have been told of
    them: the terminal may have gone. The lock is ours, so that nobody edits them."""
    found = []
    for directory in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        about = directory.lstat()
        if stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid():
            found += sorted(directory.iterdir())
    return sorted(found, key=lambda one: one.lstat().st_mtime_ns)


def _edit(
    path: Path, copy: Path, before: bytes | None, argv: list[str], target: EditTarget
) -> _End:
    first = copy.read_bytes()
    while True:
        failure = _run([*argv, str(copy)])
        after = read_bytes(copy)
        if failure:
            print(f"vfwhooks: {show(failure)}", file=sys.stderr)
            return _End.BROKEN if after in (first, None) else _End.KEPT
        if after is None or after == before:
            return _End.SAME
        problems = find_new_problems(target.main, {path: after}, path)
        print_problems(problems)
        if all(one.is_warning for one in problems):
            replace_file(path, before, after)
            return _End.WRITTEN
        answer = _ask()
        if answer != "e":
            return _End.DISCARDED if answer else _End.KEPT


def _run(argv: list[str]) -> str:
    """Let the editor have the terminal; why it has failed, '' if it has not."""
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=[signal.SIGINT])
        _, status = os.waitpid(child, 0)
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    finally:
        signal.signal(signal.SIGINT, ours)
    code = os.waitstatus_to_exitcode(status)
    how = f"signal {-code}" if code < 0 else f"status {code}"
    return f"{argv[0]} has ended with {how}" if code else ""


def _ask() -> str:
    """e or x; '' where nobody is there to answer."""
    while True:
        try:
            answer = input(_QUESTION).strip().lower()[:1]
        except (EOFError, KeyboardInterrupt):
            print()
            return ""
        if answer in ("e", "x"):
            return answer
