"""What is written beside what is in force, and who may connect: doctor and explain."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.builders import UUID, fresh_state
from unit.test_cli import configured
from unit.test_unanswered import row
from vfwhooks.cli import status_command
from vfwhooks.config.schema import read_forwards
from vfwhooks.diagnosis import explain as explaining
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


def test_an_interface_without_an_address(tmp_path: Path) -> None:
    """Its forward stands in the file as long as it does, whatever else is edited; and a
    new one waits to be put in force."""
    path = tmp_path / "forwards.yaml"
    one = "{published: 8080, host_ip: {interface: nosuch0}}"
    configured(tmp_path, f"guests: {{web1: [{one}]}}\n")
    found = [hop(tmp_path, "web1")]
    path.write_text(f"guests: {{web1: [{one}, {one.replace('8080', '81')}]}}\n")
    found += [hop(tmp_path, "8080")]
    new = explained(tmp_path, "81")[0]
    path.write_text(f"guests: {{web1: [{one[:-1]}, allow_from: 10.0.0.0/8}}]}}\n")
    found += [hop(tmp_path, "8080")]

    there = f"ok     written: {path}:1:17"
    assert found == [
        there,
        there,
        f"wrong  written: {path}:1:17, and not in force as it is there; {CURE}",
    ]
    assert new == [
        "nosuch0 81/tcp → web1:81: not in force",
        f"  written  {path}:1:67, and not in force; {CURE}",
    ]


def test_a_guest_without_forwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits to be put in force: there is nothing."""
    monkeypatch.setattr(forward_path, "guests_known_soon", lambda: {("spare", UUID)})
    configured(tmp_path, "guests: {spare: []}\n")

    what = "nothing is published for spare; run: vfwhooks add spare 8080:80"
    assert hop(tmp_path, "spare") == f"wrong  {what}"


@pytest.mark.parametrize(("written", "asked"), [("web1", UUID), (UUID, "web1")])
def test_a_guest_by_its_other_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, asked: str
) -> None:
    """One that does not run is found by its name and by its UUID, whichever stands in
    the file; a pattern that matches its name does not count for it."""
    for module in forward_path, explaining, status_command:
        monkeypatch.setattr(module, "guests_known_soon", lambda: {("web1", UUID)})
    more = "patterns: {web*: [81]}"
    configured(tmp_path, f"guests: {{{written}: [8080:80]}}\n{more}\n")
    path = tmp_path / "forwards.yaml"

    said = hop(tmp_path, asked), explained(tmp_path, asked)[0][:2]
    names = status_command._in_force(fresh_state(tmp_path), [asked, "other"])

    place = f"{path}:1:{len(written) + 13}"
    assert said == (
        f"ok     written: {place}",
        [f"8080/tcp → {written}:80: stopped", f"  written  {place}"],
    )
    assert names == [written, "other"]
