#!/usr/bin/env python3
"""Changes the package's sources one spot at a time and counts how many the tests see.

    tests/mutants.py [-n MUTANTS] [-s SEED] [MODULE…]

Each mutant is a copy of the package in which one comparison, operator, constant,
condition or statement is another. The unit tests of its module run against it in a
child; a mutant is caught when they fail or do not end. Survivors are printed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "vfwhooks"
TESTS = {
    "plan": "plan planner compiler elements iprules",
    "config": "config check schema",
    "address": "address planner",
    "elements": "elements nfnetlink plan",
    "iprules": "iprules",
    "state": "state records events",
}
SECONDS = 240
_COMPARED = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_COMPUTED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Every mutant of a module: the line, what was changed, and the whole."""
    nodes = list(ast.walk(tree))
    for number, node in enumerate(nodes):
        for change in _changes(node):
            other = copy.deepcopy(tree)
            twin = list(ast.walk(other))[number]
            before = ast.unparse(twin)
            change(twin)
            after = ast.unparse(twin)
            if before != after:
                said = f"{before.splitlines()[0]}  →  {after.splitlines()[0]}"
                yield getattr(node, "lineno", 0), said, ast.fix_missing_locations(other)


def _changes(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARED:
        yield lambda n: n.ops.__setitem__(0, _COMPARED[type(n.ops[0])]())
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield lambda n: setattr(n, "op", _COMPUTED[type(n.op)]())
    elif isinstance(node, ast.BoolOp):
        yield lambda n: setattr(n, "op", _other(n.op))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda n: setattr(n, "op", ast.UAdd())
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield lambda n: setattr(n, "test", ast.Constant(True))
        yield lambda n: setattr(n, "test", ast.Constant(False))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield lambda n: setattr(n, "value", ast.Constant(None))
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield lambda n: setattr(n, "value", n.value + 1)
    if isinstance(getattr(node, "body", None), list):
        for at, statement in enumerate(node.body):  # type: ignore[attr-defined]  # has it
            if isinstance(statement, (ast.Expr, ast.Assign, ast.AugAssign)) and not (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
            ):
                yield partial(_empty, at)


def _empty(at: int, node: Any) -> None:
    node.body[at] = ast.Pass()


def _other(operator: ast.boolop) -> ast.boolop:
    return ast.Or() if isinstance(operator, ast.And) else ast.And()


def is_caught(module: str, source: str) -> bool:
    """Whether the module's unit tests fail with this source in its place."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        checkout = Path(directory)
        for name in ("vfwhooks", "tests", "hooks", "templates"):
            ignored = shutil.ignore_patterns("__pycache__", "e2e", "traffic", "hosts")
            shutil.copytree(PACKAGE.parent / name, checkout / name, ignore=ignored)
        shutil.copy(PACKAGE.parent / "setup.cfg", checkout)
        (checkout / "vfwhooks" / f"{module}.py").write_text(source)
        child = os.fork()
        if child == 0:
            os.setpgrp()
            signal.alarm(SECONDS)
            os._exit(_run(checkout, TESTS[module].split()))
        _, status = os.waitpid(child, 0)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return status != 0


def _run(checkout: Path, names: list[str]) -> int:
    import pytest

    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    os.chdir(checkout)
    sys.path[:0] = [str(checkout / "tests"), str(checkout)]
    files = [f"tests/unit/test_{name}.py" for name in names]
    files = [file for file in files if Path(file).exists()]
    # hypothesis looks at its source for every failure: the first is enough.
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return int(pytest.main([*arguments, "-p", "measured", *files]))


def main() -> None:
    """Try so many mutants of each module, spread evenly at random."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=50, help="mutants of each module")
    parser.add_argument("-s", type=int, default=1, help="the seed")
    parser.add_argument("modules", nargs="*")
    arguments = parser.parse_args()
    total = caught = 0
    for module in arguments.modules or TESTS:
        text = (PACKAGE / f"{module}.py").read_text()
        assert not is_caught(module, text), f"{module}: its tests fail as they are"
        every = list(mutants(ast.parse(text)))
        some = random.Random(arguments.s).sample(every, min(arguments.n, len(every)))
        seen = 0
        for line, said, tree in sorted(some, key=lambda one: one[0]):
            if is_caught(module, ast.unparse(tree)):
                seen += 1
            else:
                print(f"survived: {module}.py:{line}: {said}", flush=True)
        print(f"{module}: {seen} of {len(some)} caught, of {len(every)}", flush=True)
        total, caught = total + len(some), caught + seen
    print(f"{caught} of {total} caught: {100 * caught / total:.1f} %")


if __name__ == "__main__":
    main()
