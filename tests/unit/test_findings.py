"""findings: each is known by a name that stays, is described, and has its cure as a
command."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

import pytest

from unit.builders import CHECKOUT
from vfwhooks.values.findings import WRONG, Cure, Finding, by_hand, in_shell, quote, run

TROUBLESHOOTING = (CHECKOUT / "docs/troubleshooting.md").read_text()
FEWEST = 50


def made() -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """The level and the name of every Finding that the package makes."""
    for path in sorted((CHECKOUT / "vfwhooks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if not isinstance(node, ast.Call):
                continue
            if name == "_wrong":
                yield ast.Name("WRONG"), node.args[0]
            elif name == "Finding" and path.name != "return_path_check.py":
                yield node.args[0], node.args[1] if len(node.args) > 1 else None


def idents() -> Iterator[str]:
    """The names; '' for one that is no text in place."""
    return (text_of(ident) for _, ident in made())


def cured() -> Iterator[str]:
    """The names in decorators `cures` of tests on real hosts."""
    for path in (CHECKOUT / "tests/e2e").glob("test_*.py"):
        for test in ast.parse(path.read_text()).body:
            for one in getattr(test, "decorator_list", ()):
                if isinstance(one, ast.Call) and getattr(one.func, "id", "") == "cures":
                    yield from map(text_of, ast.walk(one))


def text_of(node: ast.AST | None) -> str:
    """A text that stands in place; '' for anything else."""
    return str(node.value) if isinstance(node, ast.Constant) else ""


def test_every_finding_has_a_name() -> None:
    """In small letters with dashes, and no two have the same: programs go by it."""
    found = list(idents())

    assert [one for one in found if not re.fullmatch(r"[a-z]+(-[a-z]+)+", one)] == []
    assert len(set(found)) == len(found) > FEWEST


def test_every_finding_is_described() -> None:
    """Whoever reads a name finds what it means; and no name there is of the past."""
    head = "## Findings of `doctor`, by name"
    part = TROUBLESHOOTING.partition(head)[2].partition("\n## ")[0]
    described = re.findall(r"(?m)^\| `([a-z-]+)` \|", part)

    assert sorted(described) == sorted(idents())


def test_every_cure_is_tried() -> None:
    """A finding that is not well is made on a real host, seen, and gone after its cure:
    `cures` (e2e/cures.py) holds that of the names that it is given."""
    ills = {
        text_of(ident)
        for level, ident in made()
        if not (isinstance(level, ast.Name) and level.id == "OK")
    }

    assert sorted(ills ^ ({*cured()} - {""})) == []


@pytest.mark.parametrize(
    ("cure", "kind", "said"),
    [
        (run("vfwhooks", "apply"), "vfwhooks", "run: vfwhooks apply"),
        (run("sysctl", "-w", "a.b=1"), "sysctl", "run: sysctl -w a.b=1"),
        (run("chmod", "755", "/a b"), "manual", "run: chmod 755 '/a b'"),
        (in_shell("a && b"), "manual", "run: a && b"),
        (by_hand("write it"), "manual", "write it"),
        (
            by_hand("edit, then {run}", "systemctl", "x"),
            "manual",
            "edit, then systemctl x",
        ),
        (Cure(("systemctl", "restart", "x"), "restart x"), "systemctl", "restart x"),
    ],
)
def test_cures(cure: Cure, kind: str, said: str) -> None:
    """The kind comes from the command, unless a person has to do more than that; what
    is said has the command as one would type it."""
    assert (cure.kind, str(cure)) == (kind, said)


@pytest.mark.parametrize("text", ["", "a", "a b", "it's", "$x", "~", "*", "é", "{run}"])
def test_words(text: str) -> None:
    """A shell reads back what is meant."""
    assert shlex.split(quote(text)) == [text]


def test_what_programs_are_told() -> None:
    """The sentence without the cure, which has its own words; no control characters."""
    what = "web\x1b1 runs and is not forwarded to"
    finding = Finding(WRONG, "a-b", "web\x1b1", what, run("vfwhooks", "apply"))

    assert finding.fields() == {
        "id": "a-b",
        "level": "wrong",
        "object": "web\x1b1",
        "evidence": "web\\x1b1 runs and is not forwarded to",
        "text": "web\\x1b1 runs and is not forwarded to",
        "cure": {
            "kind": "vfwhooks",
            "argv": ["vfwhooks", "apply"],
            "text": "run: vfwhooks apply",
        },
    }
