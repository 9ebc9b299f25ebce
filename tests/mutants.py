#!/usr/bin/env python3
"""Changes the package's sources one spot at a time and counts how many the tests see.

    tests/mutants.py [-n MUTANTS] [-s SEED] [MODULE…]

Each mutant is a copy of the package in which one comparison, operator, constant,
condition or statement is another. The unit tests of its module run against it in a
child; a mutant is caught when they fail or do not end. Survivors are printed. Left out
is what no test can see: imports for type checkers alone, and __slots__.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import difflib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "vfwhooks"
TESTS = {
    "config/compiled_file": "compiled_file compiler last_good",
    "config/source_stamps": "source_stamps compiler last_good",
    "config/port_mappings": "port_mappings planner compiler nft_elements "
    "iptables_rules",
    "config/yaml_tree": "yaml_tree check schema",
    "config/edited_text": "edited_text edit",
    "reconcile/guest_addresses": "guest_addresses planner",
    "reconcile/conntrack_cleanup": "conntrack_cleanup",
    "reconcile/stale_connections": "stale_connections",
    "installation/denials": "denials",
    "foreign/dnat_rules": "dnat_rules",
    "firewall/nft_elements": "nft_elements nft_netlink port_mappings",
    "host/conntrack": "conntrack conntrack_cleanup unanswered",
    "firewall/iptables_rules": "iptables_rules",
    "foreign/dnat_rules_iptables": "dnat_rules",
    "foreign/dnat_rules_nft": "dnat_rules",
    "store/records": "records state",
    "reconcile/port_conflicts": "port_conflicts planner",
    "service/schedule": "schedule",
    "installation/selinux": "selinux",
    "installation/selinux_policy": "selinux",
    "reconcile/references": "references",
    "store/state": "state records pending_changes kept_over_boot",
    "store/foreign_ports": "foreign_ports foreign_conflicts",
    "diagnosis/foreign_reasons": "foreign_conflicts",
    "reconcile/foreign_conflicts": "foreign_conflicts",
    "diagnosis/unanswered": "unanswered",
    "service/watched_files": "watched_files",
}
SECONDS = 240
# hypothesis looks at its source for every failure: the first is enough.
_RUN = (
    "import sys, pytest; sys.path[:0] = ['tests', '.']; "
    "options = '-x -q -p no:cacheprovider -p no:xdist -p measured'; "
    "sys.exit(pytest.main([*options.split(), *sys.argv[1:]]))"
)
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


class Mutant(NamedTuple):
    """Where it is, what is another there, and the whole of its module."""

    module: str
    line: int
    said: str
    source: str


def mutants(module: str, text: str) -> Iterator[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse(text)
    for number, node in enumerate(ast.walk(tree)):
        for change in _changes(node):
            other = copy.deepcopy(tree)
            twin = list(ast.walk(other))[number]
            before = ast.unparse(other).splitlines()
            change(twin)
            source = ast.unparse(ast.fix_missing_locations(other))
            said = _difference(before, source.splitlines())
            if said:
                yield Mutant(module, getattr(node, "lineno", 0), said, source)


def _difference(before: list[str], after: list[str]) -> str:
    lines = difflib.unified_diff(before, after, n=0, lineterm="")
    heads = "---", "+++", "@@"
    changed = [line for line in lines if not line.startswith(heads)]
    return "  →  ".join(line[1:].strip() for line in changed[:2])


def _changes(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    yield from _of_operators(node)
    yield from _of_values(node)
    for at, statement in enumerate(_body(node)):
        kinds = ast.Expr, ast.Assign, ast.AugAssign
        if isinstance(statement, kinds) and not _is_unseen(statement):
            yield partial(_empty, at)


def _of_operators(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARED:
        yield lambda n: n.ops.__setitem__(0, _COMPARED[type(n.ops[0])]())
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield lambda n: setattr(n, "op", _COMPUTED[type(n.op)]())
    elif isinstance(node, ast.BoolOp):
        yield lambda n: setattr(n, "op", _other(n.op))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda n: setattr(n, "op", ast.UAdd())


def _of_values(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield lambda n: setattr(n, "test", ast.Constant(True))
        yield lambda n: setattr(n, "test", ast.Constant(False))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield lambda n: setattr(n, "value", ast.Constant(None))
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield lambda n: setattr(n, "value", n.value + 1)


def _body(node: ast.AST) -> list[ast.stmt]:
    """Its statements; what is after an `if` or a colon of a lambda is none."""
    body = getattr(node, "body", None)
    return body if isinstance(body, list) else []


def _is_unseen(statement: ast.Expr | ast.Assign | ast.AugAssign) -> bool:
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0]) in ("__slots__", "TYPE_CHECKING")
    return isinstance(statement.value, ast.Constant)


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
        files = [f"tests/unit/test_{name}.py" for name in TESTS[module].split()]
        files = [file for file in files if (checkout / file).exists()]
        argv = [sys.executable, "-c", _RUN, *files]
        child = subprocess.Popen(
            argv,
            cwd=checkout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = child.wait(SECONDS)
        except subprocess.TimeoutExpired:
            status = 1
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return status != 0


def main() -> None:
    """Try so many mutants of each module, spread evenly at random, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, help="mutants of each module (all of them)")
    parser.add_argument("-s", type=int, default=1, help="the seed")
    parser.add_argument("modules", nargs="*")
    arguments = parser.parse_args()
    total = caught = 0
    for module in arguments.modules or TESTS:
        text = (PACKAGE / f"{module}.py").read_text()
        assert not is_caught(module, text), f"{module}: its tests fail as they are"
        every = list(mutants(module, text))
        wanted = len(every) if arguments.n is None else min(arguments.n, len(every))
        some = random.Random(arguments.s).sample(every, wanted)
        some.sort(key=lambda one: one.line)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(is_mutant_caught, some))
        for one, seen in zip(some, found):
            if not seen:
                print(f"survived: {module}.py:{one.line}: {one.said}", flush=True)
        print(f"{module}: {sum(found)} of {wanted} caught, of {len(every)}", flush=True)
        total, caught = total + wanted, caught + sum(found)
    print(f"{caught} of {total} caught: {100 * caught / total:.1f} %")


def is_mutant_caught(one: Mutant) -> bool:
    """Whether the module's unit tests fail with the mutant in its place."""
    return is_caught(one.module, one.source)


if __name__ == "__main__":
    main()
