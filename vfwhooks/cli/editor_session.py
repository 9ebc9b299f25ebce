"""`vfwhooks edit`: the administrator's editor on a copy, which counts when it is good.

What was typed is never lost: where it does not come into force, the copy stays.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..config.yaml_nodes import Problem
from ..values.errors import VfwError, show
from .edit import EditTarget, find_new_problems, put_in_force
from .edited_files import file_to_be, read_bytes
from .outcome import BAD, FAILED
from .printed_problems import print_plain
from .safe_write import edited_alone, replace_file

# Not Debian's sensible-editor: it looks for these, and says in six lines that it has
# found none.
_EDITORS = ("editor", "vi", "nano")
_PREFIX = "vfwhooks-edit-"
_QUESTION = "what now? e(dit again), x (discard): "


class End(Enum):
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
        before = read_bytes(path)
        copy = Copy(
            path.name,
            before,
            b"guests: {}\n" if before is None else before,
            lambda after: find_new_problems(target.main, {path: after}, path),
            lambda after: replace_file(path, before, after),
        )
        end = edit_copy(copy, argv)
    if end is End.WRITTEN:
        return put_in_force(path, target)
    return tell_unchanged(str(path), end)


def tell_unchanged(name: str, end: End) -> int:
    """Say why nothing is written; the exit status."""
    print(f"{show(name)} is unchanged: {end.value}")
    return {End.SAME: 0, End.BROKEN: FAILED}.get(end, BAD)


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


@dataclass(frozen=True)
class Copy:
    """What is edited: the name of the copy's file, what was there before (None for
    nothing) and what the copy begins with; `check` gives the problems of an edit,
    `write` puts a good one in its place."""

    name: str
    before: bytes | None
    first: bytes
    check: Callable[[bytes], list[Problem]]
    write: Callable[[bytes], None]


def edit_copy(wanted: Copy, argv: list[str]) -> End:
    """Have a copy edited until it is good or given up; it stays if it may be wanted."""
    left = _left_behind()
    if left:
        said = f"vfwhooks: what an earlier edit left is in {left[-1]}"
        more = f" ({len(left)} in {left[-1].parent.parent}/{_PREFIX}*)"
        print(show(said + (more if len(left) > 1 else "")))
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    copy = directory / wanted.name
    end = End.SAME  # while the copy is made, and says nothing new
    try:
        with _locked(directory, fcntl.LOCK_EX):
            copy.write_bytes(wanted.first)
            end = End.KEPT
            end = _edit(wanted, copy, argv)
    finally:
        if end is End.KEPT and directory.is_dir():
            print(f"vfwhooks: what was edited is kept in {copy}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return end


def _left_behind() -> list[Path]:
    """Copies of ours that stayed and that nobody edits, the last at the end. Nobody may
    have been told of them: the terminal may have gone."""
    found = []
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with (
            suppress(OSError),  # somebody edits there, or has just ended
            _locked(directory, fcntl.LOCK_SH | fcntl.LOCK_NB) as fd,
        ):
            if os.fstat(fd).st_uid == os.geteuid():
                found += [(one.lstat().st_mtime_ns, one) for one in directory.iterdir()]
    return [path for _, path in sorted(found)]


@contextmanager
def _locked(directory: Path, how: int) -> Iterator[int]:
    """A directory of ours locked, as a descriptor. Raises OSError, also if it is none
    or, without waiting, if another one has the lock."""
    fd = os.open(directory, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, how)
        yield fd
    finally:
        os.close(fd)


def _edit(wanted: Copy, copy: Path, argv: list[str]) -> End:
    first = copy.read_bytes()
    while True:
        failure = _run([*argv, str(copy)])
        after = read_bytes(copy)
        if failure:
            print(f"vfwhooks: {show(failure)}", file=sys.stderr)
            return End.BROKEN if after in (first, None) else End.KEPT
        if after in (None, first):  # where there was no file, none is made
            return End.SAME
        problems = wanted.check(after)
        print_plain(problems)
        if all(one.is_warning for one in problems):
            wanted.write(after)
            return End.WRITTEN
        answer = _ask()
        if answer != "e":
            return End.DISCARDED if answer else End.KEPT


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
