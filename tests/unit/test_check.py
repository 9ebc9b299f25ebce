"""`vfwhooks check`: every kind of problem, by case, and how it is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unit.builders import CHECKOUT, working_in
from vfwhooks.cli.main import main
from vfwhooks.config.compiler import compile_file
from vfwhooks.store.state import State

CASES = sorted(path.name for path in (CHECKOUT / "tests/cases/check").iterdir())


def case(tmp_path: Path, name: str) -> Path:
    """A case's directory, copied so that it belongs to whoever runs the tests."""
    source = CHECKOUT / "tests/cases/check" / name
    copy = shutil.copytree(source, tmp_path / name, copy_function=shutil.copyfile)
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Path(copy)


def check(directory: Path, *arguments: str, **environment: str) -> list[str | int]:
    """Exit status, output and errors of `vfwhooks check`, a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "vfwhooks", "check", *arguments],
        capture_output=True,
        check=False,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        text=True,
    )
    return [done.returncode, done.stdout, done.stderr]


@pytest.mark.parametrize("name", CASES)
def test_case(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """All problems of a file are said at once, in file order, on standard error."""
    directory = case(tmp_path, name)

    with working_in(directory):
        status = main(["check", "forwards.yaml"])

    # Who listens on ports of the machine that runs the tests is its own affair.
    said = capsys.readouterr().err.splitlines()
    said = [line for line in said if " listens on " not in line]
    problems = (directory / "problems").read_text().splitlines()
    errors = [line for line in problems if ": warning: " not in line]
    assert (said, status) == (problems, 2 if errors else 0)


def test_there_are_cases() -> None:
    """A directory of cases that is not found would be a test that cannot fail."""
    assert len(CASES) > 60


def test_a_good_file(tmp_path: Path) -> None:
    """Exit 0, and a count on standard output."""
    found = check(case(tmp_path, "valid-drop-ins"), "forwards.yaml")

    assert found == [0, "forwards.yaml: 3 forwards for 3 guests\n", ""]


def test_a_broken_file(tmp_path: Path) -> None:
    """Exit 2, nothing on standard output."""
    found = check(case(tmp_path, "reversed-ranges"), "forwards.yaml")

    problems = (tmp_path / "reversed-ranges" / "problems").read_text()
    assert found == [2, "", problems]


def test_warnings_alone(tmp_path: Path) -> None:
    """A host_ip that this host does not have leaves the file valid."""
    found = check(case(tmp_path, "host-ip-not-here"), "forwards.yaml")

    problems = (tmp_path / "host-ip-not-here" / "problems").read_text()
    assert found == [0, "forwards.yaml: 2 forwards for 1 guest\n", problems]


def test_the_file_in_use_is_checked_by_default(tmp_path: Path) -> None:
    """Without a file named, it is the host's own."""
    directory = case(tmp_path, "valid-none")

    found = check(directory, VFWHOOKS_CONFIG="forwards.yaml")

    assert found == [0, "forwards.yaml: 0 forwards for 0 guests\n", ""]


def test_no_file_at_all(tmp_path: Path) -> None:
    """A host without a forwards.yaml has no forwards; that is no problem."""
    found = check(tmp_path, VFWHOOKS_CONFIG="forwards.yaml")

    assert found == [
        0,
        "forwards.yaml: there is none, so nothing is forwarded\n",
        "",
    ]


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """What was there is in force still, and `check` does not say that nothing is."""
    (tmp_path / "forwards.yaml").write_text("guests: {web1: [80]}\n")
    with working_in(tmp_path):
        compile_file(Path("forwards.yaml"), State("state"))
        Path("forwards.yaml").unlink()

    found = check(tmp_path, VFWHOOKS_CONFIG="forwards.yaml", VFWHOOKS_STATE="state")

    cure = "the last good one stays in force; put it back, or write it again: vfwhooks"
    cure += " edit; guests: {} says none"
    assert found == [2, "", f"forwards.yaml:1:1: is gone; {cure}\n"]


def test_drop_ins_alone(tmp_path: Path) -> None:
    """forwards.d counts without a forwards.yaml beside it, as it does for the hooks."""
    (tmp_path / "forwards.d").mkdir()
    (tmp_path / "forwards.d" / "10-a.yaml").write_text("guests: {web1: [http]}\n")

    found = check(tmp_path, VFWHOOKS_CONFIG="forwards.yaml")

    said = "forwards.d/10-a.yaml:1:17: 'http' is not a port or a range of ports\n"
    assert found == [2, "", said]


def test_files_that_are_not_read(tmp_path: Path) -> None:
    """A name that ends in .yml is no mistake, but its author should hear of it."""
    (tmp_path / "forwards.d").mkdir()
    for name in "forwards.yml", "forwards.d/20-b.yml", "forwards.d/10-a.yml":
        (tmp_path / name).write_text("guests: {web1: [80]}\n")
    (tmp_path / "forwards.d" / ".hidden.yml").write_text("")

    found = check(tmp_path, VFWHOOKS_CONFIG="forwards.yaml")

    why = ":1:1: warning: is not read; its name has to end in .yaml\n"
    names = "forwards.d/10-a.yml", "forwards.d/20-b.yml", "forwards.yml"
    said = "forwards.yaml: there is none, so nothing is forwarded\n"
    assert found == [0, said, "".join(name + why for name in names)]


def test_a_file_in_the_place_of_forwards_d(tmp_path: Path) -> None:
    """As `cp mail.yaml forwards.d` makes it where there was no such directory."""
    (tmp_path / "forwards.yaml").write_text("guests: {}\n")
    (tmp_path / "forwards.d").write_text("guests: {web1: [80]}\n")

    found = check(tmp_path, VFWHOOKS_CONFIG="forwards.yaml")

    what = "is not read; it has to be a directory, with files *.yaml in it"
    said = "forwards.yaml: 0 forwards for 0 guests\n"
    assert found == [0, said, f"forwards.d:1:1: warning: {what}\n"]


def test_a_named_file_is_read(tmp_path: Path) -> None:
    """Whatever its name is: it was named."""
    (tmp_path / "forwards.yml").write_text("guests: {}\n")

    found = check(tmp_path, "forwards.yml")

    assert found == [0, "forwards.yml: 0 forwards for 0 guests\n", ""]


def test_a_named_file_that_is_absent(tmp_path: Path) -> None:
    """A file named on the command line has to be there."""
    found = check(tmp_path, "mistyped.yaml")

    assert found == [1, "", "vfwhooks: mistyped.yaml: no such file\n"]


def test_a_file_of_another_name(tmp_path: Path) -> None:
    """A draft under another name reads the same, its defaults for drop-ins included."""
    directory = case(tmp_path, "defaults-reach-drop-ins")
    (directory / "forwards.yaml").rename(directory / "draft.yaml")

    found = check(directory, "draft.yaml")

    problems = (directory / "problems").read_text()
    renamed = problems.replace("forwards.yaml", "draft.yaml")
    assert found == [2, "", renamed]


def test_an_escape_sequence_reaches_no_terminal(tmp_path: Path) -> None:
    """A file's own path is shown harmless as well."""
    (tmp_path / "f\x1b.yaml").write_text("")

    found = check(tmp_path, "f\x1b.yaml")

    what = "the file says nothing; guests: {} says none"
    assert found == [2, "", f"f\\x1b.yaml:1:1: {what}\n"]


def test_bad_usage(tmp_path: Path) -> None:
    """Too many words are bad usage."""
    status, output, _ = check(tmp_path, "a", "b")

    assert (status, output) == (2, "")
