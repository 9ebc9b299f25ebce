"""Mistakes that others have made: docs/peers.md says which test keeps each away."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from unit.builders import parsed
from vfwhooks.config.schema import read_forwards
from vfwhooks.firewall.iptables_rules import render
from vfwhooks.store.state import record_name

TOP = Path(__file__).resolve().parent.parent.parent
TABLE = (TOP / "docs" / "peers.md").read_text()
ROWS = re.findall(r"(?m)^\| (\d+) \| (.*) \| (.*) \|$", TABLE)


def test_every_defect_has_a_row() -> None:
    """Sixteen were found."""
    assert [number for number, _, _ in ROWS] == [str(n) for n in range(1, 17)]


@pytest.mark.parametrize(("number", "tests"), [(n, tests) for n, _, tests in ROWS])
def test_every_row_names_tests_that_are_there(number: str, tests: str) -> None:
    """A test that was renamed or dropped is missed here."""
    named = re.findall(r"`(\S+)::(\w+)`", tests)

    missing = [
        f"{file}::{name}"
        for file, name in named
        if name not in functions(TOP / "tests" / file)
    ]

    assert (bool(named), missing) == (True, [])


def functions(path: Path) -> set[str]:
    """The names of a file's functions."""
    tree = ast.parse(path.read_text()) if path.exists() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_sample_that_is_installed_is_good() -> None:
    """The forwards.yaml that comes with us has no problem, and forwards nothing."""
    assert read_forwards(TOP / "templates" / "forwards.yaml") == ([], [])


def test_guest_with_ranges_alone(tmp_path: Path) -> None:
    """A guest needs no single port."""
    file = tmp_path / "forwards.yaml"
    file.write_text("guests:\n  web1: [5000-5010, 7000-7010:6000-6010/udp]\n")

    guests, problems = read_forwards(file)

    shown = [(f.protocol, str(f.published), str(f.target)) for f in guests[0].forwards]
    assert (shown, problems) == (
        [("tcp", "5000-5010", "5000-5010"), ("udp", "7000-7010", "6000-6010")],
        [],
    )


def test_long_names_that_begin_alike() -> None:
    """Guests whose names differ at the end share no chain and no record."""
    names = "production-database-server-01", "production-database-server-02"
    uuids = (
        "6b33ec13-96d6-4581-bc2f-38dee79d5ae5",
        "6b33ec13-96d6-4581-bc2f-38dee79d5ae6",
    )

    entry = "dnat 4 * tcp 8080 8080 192.168.122.10 80"
    chains = [set(render(uuid, parsed(entry), "4").own) for uuid in uuids]
    records = [record_name(("qemu", name)) for name in names]

    assert (len(chains[0] | chains[1]), len(set(records))) == (2, 2)
