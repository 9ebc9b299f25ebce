"""The files that an edit is about: which one has a guest, and which are read at all."""

from __future__ import annotations

import codecs
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from ..config.compiled_file import load
from ..config.compiler import guest_lines
from ..config.config_files import find_files
from ..config.entry_spelling import names_in
from ..config.forwards import GuestForwards
from ..config.schema import read_forwards
from ..config.source_stamps import stamped
from ..config.yaml_nodes import Node, Place, Problem, Text
from ..config.yaml_tree import read_tree
from ..diagnosis.foreign_reasons import few
from ..values.errors import VfwError, show


def read_bytes(path: Path) -> bytes | None:
    """What is in the file; None where there is none."""
    if path.exists() and not path.is_file():
        raise VfwError(f"{path} is not a regular file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def find_guest(
    guest: str, known: Iterable[tuple[str, str]], main: Path
) -> tuple[Path, str, Node | None]:
    """The file that the guest stands in, its key there, and the file's tree; where it
    is in none, the main one and no tree."""
    names = [guest, *(b for a, b in known if a == guest)]
    names += [a for a, b in known if b == guest]
    for path, tree in _trees(main):
        there = names_in(tree)
        for name in names:
            if name in there:
                return path, name, tree
    return main, guest, None


def _trees(main: Path) -> Iterable[tuple[Path, Node]]:
    for path in find_files(main):
        problems: list[Problem] = []
        tree = read_tree(path, problems)
        if tree is None:
            raise VfwError(str(problems[0]), "mend that first: vfwhooks edit")
        yield path, tree or Text(Place(str(path)), "")


def refuse_loss(main: Path, state: str, edited: Mapping[Path, bytes]) -> None:
    """Raise VfwError where the main file is gone or empty, or forwards.d is gone, so
    that the last good one is in force, and the edit would make a file in its place that
    lacks some of its forwards."""
    gone = [one for one in (main, main.parent / "forwards.d") if _is_gone(one)]
    if not any(path in (one, one / path.name) for path in edited for one in gone):
        return
    there = {one.name: _forwards(guest_lines(one)) for one in _read(main, edited)}
    lost = [
        show(name)
        for name, lines in _in_force(gone, state).items()
        if not _forwards(lines) <= there.get(name, set())
    ]
    if lost:
        what = f"{gone[0]} is {'empty' if gone[0].exists() else 'gone'}"
        what += "; the last good one is in force, and this would end it for"
        cure = "put it back, or write all of it again: vfwhooks edit"
        raise VfwError(f"{what} {few(lost)}", cure)


def _is_gone(path: Path) -> bool:
    """Whether it is not there, or a file with comments alone."""
    if path.is_dir():
        return False
    lines = (read_bytes(path) or b"").removeprefix(codecs.BOM_UTF8).splitlines()
    return all(line.strip()[:1] in (b"", b"#") for line in lines)


def _read(main: Path, edited: Mapping[Path, bytes]) -> list[GuestForwards]:
    return read_forwards(main, edited)[0]


def _in_force(gone: Collection[Path], state: str) -> dict[str, list[str]]:
    """The lines of guests and patterns, if one of these was there when they were
    compiled."""
    try:
        compiled = load(state)
        if compiled is None:
            return {}
        had = {one for path in stamped(compiled.stamps) for one in _with_parent(path)}
        if had.isdisjoint(gone):
            return {}
        return {**compiled.guests(), **compiled.patterns()}
    except VfwError:  # it is damaged
        return {}


def _with_parent(path: str) -> tuple[Path, Path]:
    return Path(path), Path(path).parent


def _forwards(lines: Iterable[str]) -> set[str]:
    return {one for one in lines if one.startswith(("forward ", "claimed "))}


def all_names(main: Path) -> list[str]:
    """The guests of all files, by the names that stand there."""
    return [name for _, tree in _trees(main) for name in names_in(tree)]


def is_one(path: Path, other: Path) -> bool:
    """Whether both are one file, links followed."""
    return os.path.realpath(path) == os.path.realpath(other)


def file_to_be(path: Path, main: Path) -> Path:
    """A file that is read, whether it is there or not."""
    drop_ins = main.parent / "forwards.d"
    for directory, is_fit in (
        (main.parent, path.name == main.name),
        (drop_ins, path.suffix == ".yaml" and not path.name.startswith(".")),
    ):
        if is_fit and is_one(path.parent, directory):
            return directory / path.name
    raise VfwError(f"{path} is not read", f"{main} and {drop_ins}/*.yaml are")
