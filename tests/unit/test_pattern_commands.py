"""Guests by pattern in the commands: add, remove and edit, status, explain, doctor and
completion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unit.builders import UUID, fresh_state, refusal
from unit.test_cli import configured, vfwhooks
from unit.test_edit import edited, run
from vfwhooks.cli.edit import EditTarget
from vfwhooks.cli.known_names import find_known
from vfwhooks.config.matched_names import find_matching
from vfwhooks.config.schema import read_forwards
from vfwhooks.diagnosis import forward_hops
from vfwhooks.diagnosis.explain import explain
from vfwhooks.diagnosis.forward_path import follow

__all__ = ["edited"]  # the fixture
FILE = "guests:\n  mail: [25]\npatterns:\n  web*: [8080:80, 443]\n  d?:\n    - 5432\n"
NOBODY = "no guest runs that has its forwards by this pattern"


@pytest.fixture
def patterned(edited: EditTarget) -> EditTarget:
    """A host where libvirt knows web1, mail and db; mail has an entry of its own."""
    edited.main.write_text(FILE)
    return edited


@pytest.mark.parametrize(
    ("words", "at", "line"),
    [
        (["remove", "web1"], "4:3", "4: web*: [8080:80, 443]"),
        (["remove", "web1", "443"], "4:3", "4: web*: [8080:80, 443]"),
        (["remove", "db", "5432"], "5:3", "6: - 5432"),
    ],
)
def test_remove(patterned: EditTarget, words: list[str], at: str, line: str) -> None:
    """What a guest has by a pattern is not its own to remove: the pattern's line is
    shown, and what to do for all or for one."""
    said = refusal(run, patterned, *words)

    pattern = "web*" if words[1] == "web1" else "d?"
    where = f"by the pattern {pattern} ({patterned.main}:{at})"
    for_all = "vfwhooks edit changes that for all that it matches"
    alone = f"an entry below guests: is {words[1]}'s alone"
    assert said == (
        f"{words[1]} has no entry of its own: it is {where}; line {line} "
        f"({for_all}; {alone})"
    )
    assert patterned.main.read_text() == FILE


OWN = FILE.replace("  mail: [25]\n", "  mail: [25]\n  web1: [8090:80]\n")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("web1: [8090:80]", ["web1", "8090"]),
        ("web1: [8090:80]", ["web1"]),
        ("web1: [8090:80]", ["web1", "8090", "--dry-run"]),
        ("web1: []", ["web1"]),
        (f"{UUID}: [8090:80]", ["web1"]),
    ],
)
def test_remove_opens(
    patterned: EditTarget,
    capsys: pytest.CaptureFixture[str],
    entry: str,
    words: list[str],
) -> None:
    """A guest whose own entry goes gets what a pattern publishes: that is told, and how
    it has nothing."""
    patterned.main.write_text(OWN.replace("web1: [8090:80]", entry))

    status = run(patterned, "remove", *words)

    what = "web1 has no entry of its own now, and gets tcp/8080, tcp/443 by the pattern"
    cure = "'web1: []' below guests: keeps it without"
    said = f"{patterned.main}:4:3: warning: {what} web*; {cure}\n"
    assert (status, capsys.readouterr().err) == (0, said)


def test_kept_without(patterned: EditTarget) -> None:
    """What the warning names is valid, and no pattern counts for that guest."""
    patterned.main.write_text(OWN.replace("[8090:80]", "[]"))

    guests, problems = read_forwards(patterned.main)

    errors = [one for one in problems if not one.is_warning]
    assert (errors, find_matching(guests, "web1")) == ([], None)


@pytest.mark.parametrize(
    ("guest", "patterns"), [("web1", "web*: []"), ("mail", "web*: [8080:80]")]
)
def test_remove_opens_nothing(
    patterned: EditTarget,
    capsys: pytest.CaptureFixture[str],
    guest: str,
    patterns: str,
) -> None:
    """Nothing is said where no pattern publishes anything for the guest."""
    text = f"guests:\n  {guest}: [1]\n  db: [2]\npatterns:\n  {patterns}\n"
    patterned.main.write_text(text)

    run(patterned, "remove", guest)

    assert "by the pattern" not in capsys.readouterr().err


def test_edit_opens(
    patterned: EditTarget,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same is told of an edit by hand."""
    patterned.main.write_text(OWN)
    monkeypatch.setenv("VISUAL", "sed -i /web1/d")

    status = run(patterned, "edit")

    said = "web1 has no entry of its own now, and gets tcp/8080, tcp/443 by the pattern"
    assert (status, said in capsys.readouterr().err) == (0, True)
    assert patterned.main.read_text() == FILE


@pytest.mark.parametrize(
    ("ports", "lost"),
    [(["22"], ": it loses tcp/8080, tcp/443"), (["22", "443"], ": it loses tcp/8080")],
)
def test_add(
    patterned: EditTarget,
    capsys: pytest.CaptureFixture[str],
    ports: list[str],
    lost: str,
) -> None:
    """The first entry of its own takes from a guest what it has by a pattern."""
    status = run(patterned, "add", "web1", *ports)

    said = f"web1 had its forwards by the pattern web* ({patterned.main}:4:3)"
    said = f"warning: {said}; an entry of its own counts in place of them{lost}\n"
    assert (status, said in capsys.readouterr().err) == (0, True)


def test_add_to_a_guest_with_an_entry(
    patterned: EditTarget, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has nothing by a pattern, and loses nothing."""
    run(patterned, "add", "mail", "26")

    assert "by the pattern" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("web*", "web* is a pattern, in {}:4:3 (change it with: vfwhooks edit)"),
        (
            "x-[0-9]",
            "x-[0-9] is a pattern, and stands below patterns: "
            "(write it with: vfwhooks edit)",
        ),
    ],
)
def test_add_to_a_pattern(patterned: EditTarget, pattern: str, said: str) -> None:
    """It is never written among the guests."""
    found = refusal(run, patterned, "add", pattern, "22")

    assert found == said.format(patterned.main)
    assert patterned.main.read_text() == FILE


def test_add_to_a_guest_that_is_called_so(patterned: EditTarget) -> None:
    """A guest of the file may have a star in its name."""
    patterned.main.write_text("guests: {'w*': [1]}\n")

    status = run(patterned, "add", "w*", "2")

    assert (status, patterned.main.read_text()) == (0, "guests: {'w*': [1, 2]}\n")


def rows(directory: Path, *about: str) -> list[tuple[str, ...]]:
    """What status --json says of forwards."""
    _, output, _ = vfwhooks(directory, "status", "--json", *about)
    keys = "guest", "published", "state", "reason", "source", "pattern"
    return [tuple(one[key] for key in keys) for one in json.loads(output)["forwards"]]


def test_status_of_patterns(tmp_path: Path) -> None:
    """One that nobody has stands there itself, and is found by its own name."""
    configured(tmp_path, FILE)

    found = rows(tmp_path), rows(tmp_path, "d?"), rows(tmp_path, "mail")

    mail = ("mail", "25", "stopped", "the guest is not running", "file", "")
    of_db = ("d?", "5432", "stopped", NOBODY, "pattern", "d?")
    assert found == (
        [
            mail,
            ("web*", "8080", "stopped", NOBODY, "pattern", "web*"),
            ("web*", "443", "stopped", NOBODY, "pattern", "web*"),
            of_db,
        ],
        [of_db],
        [mail],
    )


def test_status_of_a_guest_that_does_not_run(tmp_path: Path) -> None:
    """It will have its forwards by a pattern when it runs."""
    configured(tmp_path, FILE)

    found = rows(tmp_path, "db", "mail")
    _, text, _ = vfwhooks(tmp_path, "status", "db")

    why = "the guest is not running"
    assert found == [
        ("mail", "25", "stopped", why, "file", ""),
        ("db", "5432", "stopped", why, "pattern", "d?"),
    ]
    assert "db (d?)" in text


def test_status_of_a_stranger(tmp_path: Path) -> None:
    """A guest that neither an entry nor a pattern means is refused as before."""
    configured(tmp_path, FILE)

    status, _, errors = vfwhooks(tmp_path, "status", "other")

    said = "other does not run, and no forward in force is for it"
    assert (status, said in errors) == (1, True)


@pytest.mark.parametrize("about", ["db", "d?", "5432"])
def test_explain(tmp_path: Path, about: str) -> None:
    """A guest that does not run, a pattern and a port: where it is written, and why it
    is not in force."""
    configured(tmp_path, FILE)

    lines, is_well = explain(fresh_state(tmp_path), f"{tmp_path}/forwards.yaml", about)

    name, why = ("db", "the guest is not running") if about == "db" else ("d?", NOBODY)
    assert (lines, is_well) == (
        [
            f"5432/tcp → {name}:5432: stopped",
            f"  written  {tmp_path}/forwards.yaml:6:7, for d?",
            f"  why      {why}",
        ],
        False,
    )


def test_explain_a_pattern_that_is_not_in_force(tmp_path: Path) -> None:
    """What was edited since is told for the guests that it will match."""
    configured(tmp_path, FILE)
    path = tmp_path / "forwards.yaml"
    path.write_text(FILE.replace("5432", "5433"))

    lines, _ = explain(fresh_state(tmp_path), str(path), "db")

    gone = f"  written  not any more in {path}, and still in force"
    new = [f"  written  {path}:6:7, and not in force; run: vfwhooks apply"]
    assert (lines[1].startswith(gone), lines[-1:]) == (True, new)


@pytest.mark.parametrize(
    ("about", "guest"),
    [
        ("web1", "guest: the guest is not running"),
        ("web9", "guest: libvirt has no guest web9; did you mean web1"),
        ("web*", f"guest: {NOBODY}"),
    ],
)
def test_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: str, guest: str
) -> None:
    """The first hop names the pattern, the second one who does not run."""
    configured(tmp_path, FILE)
    known = {("web1", "")}
    monkeypatch.setattr(
        forward_hops, "guests_known_soon", lambda ask=None: set() if ask else known
    )
    path = f"{tmp_path}/forwards.yaml"

    found = follow(fresh_state(tmp_path), path, about, lambda *_: "")

    hops = [one.hops for one in found]
    written = [f"written: {path}:4:{at}, for web*" for at in (10, 19)]
    assert [one[0].said for one in hops] == written
    assert hops[0][1].said.startswith(guest)


def test_completion(tmp_path: Path) -> None:
    """A pattern is no guest; its ports are ports."""
    configured(tmp_path, FILE)

    found = [
        find_known(state, f"{tmp_path}/forwards.yaml", ["guests", "ports"])
        for state in (fresh_state(tmp_path).path, f"{tmp_path}/none")
    ]

    assert found == [["mail", "25", "8080", "443", "5432"]] * 2


def test_check_counts_patterns(tmp_path: Path) -> None:
    """Beside the guests."""
    configured(tmp_path, FILE)

    _, output, _ = vfwhooks(tmp_path, "check")

    path = tmp_path / "forwards.yaml"
    assert output == f"{path}: 4 forwards for 1 guest and 2 patterns\n"
