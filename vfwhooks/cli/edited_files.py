"""The files that an edit is about: which one has a guest, and which are read at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..config.config_files import find_files
from ..config.entry_spelling import names_in
from ..config.yaml_nodes import Node, Place, Problem, Text
from ..config.yaml_tree import read_tree
from ..values.errors import VfwError


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
