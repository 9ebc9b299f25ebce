"""What is written beside what is in force, and who may connect: doctor and explain."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.builders import fresh_state
from unit.test_cli import configured
from unit.test_unanswered import row
from vfwhooks.config.schema import read_forwards
from vfwhooks.diagnosis import forward_path
from vfwhooks.diagnosis.allowed_clients import tell_clients
from vfwhooks.diagnosis.explain import explain
from vfwhooks.diagnosis.forward_path import follow

CURE = "run: vfwhooks apply"
LIMITED = "{published: 2222, target: 22, allow_from: [198.51.100.0/24]}"


def explained(directory: Path, about: str) -> tuple[list[str], bool]:
    """What explain says, and whether all is well."""
    return explain(fresh_state(directory), f"{directory}/forwards.yaml", about)


def hop(directory: Path, about: str) -> str:
    """The first hop, by doctor."""
    path = f"{directory}/forwards.yaml"
    [found] = follow(fresh_state(directory), path, about, lambda *_: "")
    return str(found.hops[0])


def test_explain_what_is_not_in_force(tmp_path: Path) -> None:
    """A port that was written since, one that was taken out, both by their guest; and
    one that a broken file may have."""
    configured(tmp_path, "guests: {web1: [8080:80]}\n")
    path = tmp_path / "forwards.yaml"
    path.write_text("guests: {web1: [81], web2: [82]}\n")
    found = [explained(tmp_path, about) for about in ("81", "8080", "web1", "web2")]
    path.write_text("guests: {web1: [81, }\n")
    broken = explained(tmp_path, "81")[0][-1]

    new, other = (
        [
            f"{port}/tcp → {name}:{port}: not in force",
            f"  written  {path}:1:{at}, and not in force; {CURE}",
        ]
        for port, name, at in ((81, "web1", 17), (82, "web2", 29))
    )
    old = [
        "8080/tcp → web1:80: stopped",
        f"  written  not any more in {path}, and still in force; {CURE}",
        "  why      the guest is not running",
    ]
    assert found == [(one, False) for one in (new, old, old + new, other)]
    assert broken == f"  as it was, since {path} has a problem; run: vfwhooks check"


def test_an_entry_that_has_changed(tmp_path: Path) -> None:
    """The same port in other words: what is in force is something else."""
    configured(tmp_path, "guests: {web1: [2222:22]}\n")
    path = tmp_path / "forwards.yaml"
    path.write_text(f"guests: {{web1: [{LIMITED}]}}\n")
    found = hop(tmp_path, "2222"), explained(tmp_path, "2222")[0][1]

    written = f"{path}:1:17, and not in force as it is there; {CURE}"
    assert found == (f"wrong  written: {written}", f"  written  {written}")


def test_only_a_comment_has_changed(tmp_path: Path) -> None:
    """Each entry is in force as it stands there."""
    configured(tmp_path, "guests: {web1: [2222:22]}\n")
    (tmp_path / "forwards.yaml").write_text("guests: {web1: [2222:22]} # ssh\n")

    found = hop(tmp_path, "2222")

    assert found == f"ok     written: {tmp_path}/forwards.yaml:1:17"


def test_who_may_connect(tmp_path: Path) -> None:
    """The networks, by explain; of a list that is not in force, the chain that is."""
    path = tmp_path / "forwards.yaml"
    configured(tmp_path, f"guests: {{web1: [{LIMITED}]}}\n")
    found = [explained(tmp_path, "2222")[0][-1]]
    path.write_text("guests: {web1: [2222:22]}\n")
    found += explained(tmp_path, "2222")[0][-1].split("_")[:1]

    assert found == [
        "  clients  only from 198.51.100.0/24",
        "  clients  only from the networks of the chain allow",
    ]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            LIMITED,
            "note   clients: only from 198.51.100.0/24; for one of them, or another: "
            "vfwhooks explain --trace tcp/2222 --from ADDRESS --wait 0",
        ),
        ("2222:22", "None"),
    ],
)
def test_the_hop_of_the_clients(tmp_path: Path, entry: str, said: str) -> None:
    """A forward that refuses most of the world is not just well."""
    path = tmp_path / "forwards.yaml"
    path.write_text(f"guests: {{web1: [{entry}]}}\n")
    [forward] = read_forwards(path)[0][0].forwards

    assert str(tell_clients(row("*", "2222", "22"), forward)) == said


def test_a_guest_that_libvirt_alone_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no misspelt one, also beside one of nearly the same name."""
    path = tmp_path / "forwards.yaml"
    path.write_text("guests: {mailserver1: [81]}\n")
    known = {("mailserver", "a-uuid")}
    monkeypatch.setattr(forward_path, "guests_known_soon", lambda: known)

    [found] = follow(fresh_state(tmp_path), str(path), "mailserver")

    what = "nothing is published for mailserver; run: vfwhooks add mailserver 8080:80"
    assert [str(hop) for hop in found.hops] == [f"wrong  {what}"]
