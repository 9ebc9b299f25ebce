"""add, remove and edit: what is written, what is refused, and that nothing is lost."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from unit.builders import CHECKOUT, UUID, fresh_state, refusal
from vfwhooks.cli import edit
from vfwhooks.cli.edit import (
    EditTarget,
    add_entries,
    find_new_problems,
    remove_entries,
)
from vfwhooks.cli.editor_session import Copy, End, edit_copy, edit_file, find_editor
from vfwhooks.cli.parser import make_parser
from vfwhooks.cli.safe_write import edited_alone, replace_file
from vfwhooks.config.compiler import compile_file
from vfwhooks.config.forwards import GuestForwards
from vfwhooks.config.yaml_nodes import Problem
from vfwhooks.diagnosis.overview import Overview
from vfwhooks.diagnosis.status_rows import ForwardStatus, GuestStatus
from vfwhooks.store.state import State

NONE = Overview("nftables", (), (), (), {})
BEFORE = "guests:\n  web1: [8080:80]  # the shop\n  mail:\n    ports: [25]\n"


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EditTarget:
    """A host with a forwards.yaml where libvirt knows web1, mail and db."""
    known = {("web1", UUID), ("mail", ""), ("db", "")}
    monkeypatch.setattr(edit, "guests_known_soon", lambda: known)
    monkeypatch.setattr(edit, "find_host_warnings", lambda *_: [])
    monkeypatch.setattr(edit, "find_foreign_warnings", lambda *_: [])
    main = tmp_path / "forwards.yaml"
    main.write_text(BEFORE)
    fresh_state(tmp_path)
    return EditTarget(
        main, f"{tmp_path}/state", lambda: print("applied") or 0, lambda _: ([], NONE)
    )


def arguments(*words: str) -> argparse.Namespace:
    """A command line, read."""
    return make_parser().parse_args(words)


def run(edited: EditTarget, *words: str) -> int:
    """Carry out a command line."""
    does = {"add": add_entries, "remove": remove_entries, "edit": edit_file}
    return does[words[0]](arguments(*words), edited)


def test_add(edited: EditTarget, capsys: pytest.CaptureFixture[str]) -> None:
    """The entry is written and put in force; the line is shown, and where the guest
    is."""
    status = run(edited, "add", "web1", "443")

    after = BEFORE.replace("80]", "80, 443]")
    line = f"{edited.main}:2:"
    assert (status, edited.main.read_text(), capsys.readouterr().out) == (
        0,
        after,
        f"{line} - web1: [8080:80]  # the shop\n"
        f"{line} + web1: [8080:80, 443]  # the shop\n"
        "applied\n"
        "web1 does not run; its forwards come with its start\n",
    )


def test_add_dry(edited: EditTarget, capsys: pytest.CaptureFixture[str]) -> None:
    """With --dry-run it is only shown."""
    status = run(edited, "add", "db", "5432", "--dry-run")

    line = f"{edited.main}:5: + db: [5432]"
    output = capsys.readouterr().out.splitlines()
    assert (status, edited.main.read_text(), output[0]) == (0, BEFORE, line)
    assert "applied" not in output


def test_add_with_options(edited: EditTarget) -> None:
    """What the short form cannot say is written in the long one."""
    options = ["--allow-from", "198.51.100.0/24", "--allow-from", "2001:db8::/32"]
    run(edited, "add", "db", "5432/udp", *options)
    run(edited, "add", "db", "99:9", "--host-ip", "2001:db8::5")
    run(edited, "add", "db", "98:9", "--host-ip", "127.0.0.1")

    allow = 'allow_from: [198.51.100.0/24, "2001:db8::/32"]'
    long = f"{{published: 5432, target: 5432, protocol: udp, {allow}}}"
    line = f'  db: [{long}, "[2001:db8::5]:99:9", 127.0.0.1:98:9]\n'
    assert edited.main.read_text() == BEFORE + line


def test_add_in_place_of_another(edited: EditTarget) -> None:
    """The entry for the port that is named goes, and the new one stands there."""
    run(edited, "add", "web1", "443", "8443")
    allow = "--allow-from", "198.51.100.0/24"

    status = run(edited, "add", "web1", "444:443", "--replace", "443/tcp", *allow)

    long = "{published: 444, target: 443, allow_from: 198.51.100.0/24}"
    after = BEFORE.replace("80]", f"80, {long}, 8443]")
    assert (status, edited.main.read_text()) == (0, after)


@pytest.mark.parametrize(
    ("old", "words", "gone"),
    [
        ("{published: 7, allow_from: 10.0.0.0/8}", [], "allow_from"),
        (
            "{published: 7, host_ip: 203.0.113.5, allow_from: 10.0.0.0/8}",
            [],
            "allow_from and host_ip",
        ),
        ("203.0.113.5:7:7", [], "host_ip"),
        ("203.0.113.5:7:7", ["--host-ip", "203.0.113.6"], ""),
        ("{published: 7, allow_from: 10.0.0.0/8}", ["--allow-from", "10.0.0.9"], ""),
        ("7", [], ""),
    ],
)
def test_what_opens_a_port_wider(
    edited: EditTarget,
    capsys: pytest.CaptureFixture[str],
    old: str,
    words: list[str],
    gone: str,
) -> None:
    """An entry without the limits of that in whose place it stands is told."""
    edited.main.write_text(f"guests:\n  web1:\n    - {old}\n")
    capsys.readouterr()

    status = run(edited, "add", "web1", "8", "--replace", "7", *words)

    said = f"warning: the entry for 7 of web1 had {gone}, and the new one has not\n"
    assert (status, capsys.readouterr().err) == (0, said if gone else "")


@pytest.mark.parametrize("port", ["", "x"])
def test_in_place_of_no_port(edited: EditTarget, port: str) -> None:
    """A script's empty variable does not add beside what was to go."""
    found = refusal(run, edited, "add", "web1", "81", "--replace", port)

    assert found.startswith(f"{port!r} is not a port")
    assert edited.main.read_text() == BEFORE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["web1", "1", "2"], "--replace takes one entry for another one"),
        (["db", "1"], "db is not in forwards.yaml"),
        (["mail", "1"], "mail has no entry for 8080"),
        (["long", "1"], "the entry for 8080 of long has more keys than this can write"),
    ],
)
def test_what_is_not_replaced(edited: EditTarget, words: list[str], said: str) -> None:
    """Where it is not clear what goes, or something would be lost."""
    more = "  long: [{published: 8080, target: 80, masquerade: true}]\n"
    edited.main.write_text(BEFORE + more)

    found = refusal(run, edited, "add", *words, "--replace", "8080")

    assert found.startswith(said)
    assert edited.main.read_text() == BEFORE + more


def test_add_by_uuid(edited: EditTarget) -> None:
    """A guest that stands in the file under its name is found by its UUID."""
    run(edited, "add", UUID, "443")

    assert edited.main.read_text() == BEFORE.replace("80]", "80, 443]")


def test_add_to_a_new_file(edited: EditTarget) -> None:
    """A file of forwards.d is made where it is named; no other file is."""
    path = edited.main.parent / "forwards.d/20-db.yaml"

    status = run(edited, "add", "db", "5432", "--file", str(path))
    said = refusal(run, edited, "add", "x", "1", "--file", f"{edited.main}.new")

    assert (status, path.read_text()) == (0, "guests:\n  db: [5432]\n")
    assert said.startswith(f"{edited.main}.new is not read")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "web1", "80.5"], "'80.5' is not a port or a range of ports"),
        (["add", "web1", "1", "--host-ip", "x"], "'x' is not an address"),
        (
            ["add", "web1", "1", "--allow-from", "10.0.0.1/8"],
            "10.0.0.1/8 has host bits",
        ),
        (["add", "web1", "1.2.3.4:1:1", "--host-ip", "1.2.3.5"], "1.2.3.4:1:1 names"),
        (
            ["add", "8081:80", "web1"],
            "8081:80 stands where the guest's name belongs"
            " (write vfwhooks add web1 8081:80)",
        ),
        (["add", "web1", "80:81:82"], "80:81:82: three ports; two are HOST:GUEST"),
        (["remove", "wbe1"], "wbe1 is not in forwards.yaml (did you mean web1)"),
        (["remove", "web1", "80"], "web1 has no entry for 80"),
        (["remove", "web1", "8080/udp"], "web1 has no entry for 8080/udp"),
        (["remove", "web1", "8080/x"], "8080/x: after the slash stands a protocol"),
    ],
)
def test_refused_at_once(edited: EditTarget, words: list[str], said: str) -> None:
    """In the words that the file's reader has for it; nothing is changed."""
    found = refusal(run, edited, *words)

    assert (found.startswith(said), edited.main.read_text()) == (True, BEFORE)


def test_taken_port(edited: EditTarget, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that another guest has is refused in check's words, with what was to be
    written; the file stays."""
    status = run(edited, "add", "db", "8080")

    said = (
        f"{edited.main}:5:8: host port tcp/8080 is taken by web1 ({edited.main}:2:10)\n"
        f"vfwhooks: {edited.main} is left as it is; what was to be written:\n"
        "  5: + db: [8080]\n"
    )
    assert (status, capsys.readouterr().err, edited.main.read_text()) == (
        2,
        said,
        BEFORE,
    )


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        (["8080:80"], "8080:80"),
        (["443", "8080:81", "--allow-from", "198.51.100.0/24"], "8080:80"),
        (["8000-8100/tcp"], "8080:80"),
        (["10.0.0.1:53:5353/udp"], "10.0.0.1:53:53/udp"),
    ],
)
def test_port_of_its_own(
    edited: EditTarget,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    whole: str,
) -> None:
    """A port that the guest has already is no port that somebody took: it says how to
    change that."""
    text = "guests: {web1: [8080:80, 10.0.0.1:53:53/udp]}\n"
    edited.main.write_text(text)

    status = run(edited, "add", "web1", *words)

    said = f"vfwhooks: {whole} is published for web1 already, in line 1; "
    said += "change it with: vfwhooks edit\n"
    found = capsys.readouterr().err
    assert (status, found, edited.main.read_text()) == (2, said, text)


def test_not_the_same_port(edited: EditTarget) -> None:
    """Another protocol or another address is another port."""
    added = ["8080:80/udp", "203.0.113.5:8080:80"]

    assert run(edited, "add", "web1", *added) == 0


@pytest.mark.parametrize("host_ip", ["203.0.113.5", "{name: ours}", "{interface: lo}"])
def test_beside_a_port_on_one_address(edited: EditTarget, host_ip: str) -> None:
    """The same port on every address is another one, however that address is
    written."""
    port = f"{{published: 8080, host_ip: {host_ip}}}"
    text = f"addresses: {{ours: 203.0.113.5}}\nguests:\n  web1: [{port}]\n"
    edited.main.write_text(text)

    status = run(edited, "add", "web1", "8080")

    wanted = text.replace("}]", "}, 8080]")
    assert (status, edited.main.read_text()) == (0, wanted)


def overview(*rows: ForwardStatus) -> Overview:
    """A host where web1 runs, with these rows."""
    web1 = GuestStatus("web1", UUID, "running", ["192.168.122.10"])
    return Overview("nftables", (web1,), rows, (), {})


def row(published: str, state: str, reason: str = "") -> ForwardStatus:
    """A row of web1's."""
    address = "192.168.122.10"
    return ForwardStatus(
        "web1", "*", published, published, "tcp", address, state, reason, 0
    )


def test_add_what_is_not_in_force(
    edited: EditTarget,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The entry is written, and so the status is 0; the last line says of the new
    forward what status says, and nothing of older ones."""
    rows = row("22", "conflict", "sshd listens on it"), row("8080", "blocked", "x")
    monkeypatch.setattr(edit, "look", lambda *_: overview(*rows))

    status = run(edited, "add", "web1", "22")

    output, errors = capsys.readouterr()
    said = "vfwhooks: 22/tcp is not in force: sshd listens on it\n"
    assert (status, output.splitlines()[-1], errors) == (
        0,
        "web1 is at 192.168.122.10",
        said,
    )


def test_add_dry_says_what_add_says(
    edited: EditTarget, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rules that would come, where the guest is and what would not be in force: by
    the edited files, in a copy."""
    seen = []

    def preview(main: str) -> tuple[list[str], Overview]:
        seen.append(Path(main).read_text())
        rows = row("22", "conflict", "sshd listens on it"), row("443", "blocked", "x")
        return ["+ tcp 443 → web1 192.168.122.10:443"], overview(*rows)

    status = run(replace(edited, preview=preview), "add", "web1", "22", "443", "--dry")

    output, errors = capsys.readouterr()
    assert (status, output.splitlines()[2:], errors, seen) == (
        0,
        ["+ tcp 443 → web1 192.168.122.10:443", "web1 is at 192.168.122.10"],
        "vfwhooks: 22/tcp is not in force: sshd listens on it\n",
        [BEFORE.replace("80]", "80, 22, 443]")],
    )


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        ("[8080:80, 53/udp]", ["  vfwhooks add web1 8080:80 53/udp"]),
        (
            '[80, {target: 22, published: 2222, allow_from: [10.0.0.0/8, "fd00::/8"]}]',
            [
                "  vfwhooks add web1 80",
                "  vfwhooks add web1 2222:22 --allow-from 10.0.0.0/8 "
                "--allow-from fd00::/8",
            ],
        ),
    ],
)
def test_remove_a_whole_guest(
    edited: EditTarget, capsys: pytest.CaptureFixture[str], guest: str, said: list[str]
) -> None:
    """Whoever forgot the port is told what brings all of it back."""
    edited.main.write_text(f"guests:\n  web1: {guest}\n")

    run(edited, "remove", "web1")

    output = capsys.readouterr().out
    found = output.splitlines()
    for line in said:
        run(edited, *shlex.split(line)[1:])
    back = f"{edited.main.read_text()}"
    assert found[-len(said) - 1 :] == ["to have it back:", *said]
    assert find_new_problems(edited.main, {}) == []
    assert back.startswith("guests:\n  web1: [")


@pytest.mark.parametrize(
    "guest",
    ["{ports: [80], address: 10.0.0.7}", "[{target: 80, protocol: [tcp, udp]}]"],
)
def test_remove_what_add_cannot_write(
    edited: EditTarget, capsys: pytest.CaptureFixture[str], guest: str
) -> None:
    """Then its lines, which were shown, are what to write again."""
    edited.main.write_text(f"guests:\n  web1: {guest}\n")

    run(edited, "remove", "web1")

    said = "what begins with - above is written again by: vfwhooks edit"
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_old_warnings_are_not_said_again(
    edited: EditTarget,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What check warns of an entry that was there is no news where its line is
    edited."""

    def warn(guests: list[GuestForwards], _: object) -> list[Problem]:
        return [
            Problem(forward.place, f"{forward.published} is taken", is_warning=True)
            for guest in guests
            for forward in guest.forwards
        ]

    monkeypatch.setattr(edit, "find_host_warnings", warn)

    run(edited, "add", "web1", "443")

    said = f"{edited.main}:2:19: warning: 443 is taken\n"
    assert capsys.readouterr().err == said


def test_old_mistakes_are_no_new_ones(edited: EditTarget) -> None:
    """What check had against the file before does not keep an entry out."""
    edited.main.write_text(f"{BEFORE}  bad: [x]\n")

    status = run(edited, "add", "web1", "443")

    after = BEFORE.replace("80]", "80, 443]")
    assert (status, edited.main.read_text()) == (0, f"{after}  bad: [x]\n")


def test_unknown_guest(edited: EditTarget, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that libvirt does not know is a warning with near ones."""
    status = run(edited, "add", "Web2", "443")

    said = "warning: libvirt has no guest Web2; did you mean web1\n"
    assert (status, capsys.readouterr().err) == (0, said)


def test_remove(edited: EditTarget) -> None:
    """The last port of a guest takes its key along."""
    run(edited, "add", "web1", "53/udp", "443")
    run(edited, "remove", "web1", "8080", "53/udp")
    one = edited.main.read_text()
    run(edited, "remove", "web1", "443")
    none = edited.main.read_text()
    run(edited, "remove", "mail")

    assert one == BEFORE.replace("8080:80", "443")
    assert none == "guests:\n  mail:\n    ports: [25]\n"
    assert edited.main.read_text() == "guests: {}\n"


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ("53", "53 of g may be 53/tcp or 53/udp; write which"),
        ("7001", "g has no entry for 7001 alone; it is part of 7000-7010/tcp"),
        ("99/udp", "99/udp of g is in one entry with tcp (vfwhooks edit changes"),
    ],
)
def test_remove_what_is_not_clear(edited: EditTarget, port: str, said: str) -> None:
    """What one port may mean is said; nothing is guessed."""
    long = "{published: 99, protocol: [tcp, udp]}"
    text = f"guests: {{g: [53, 53:5/udp, 7000-7010, {long}]}}\n"
    edited.main.write_text(text)

    found = refusal(run, edited, "remove", "g", port)

    assert (found.startswith(said), edited.main.read_text()) == (True, text)


RANGE = "9-10:19-20/udp"


@pytest.mark.parametrize(
    ("port", "left"),
    [
        ("53/udp", f"53, 7:8, 10.0.0.1:7:8, {RANGE}"),
        ("53/tcp", f"53:5/udp, 7:8, 10.0.0.1:7:8, {RANGE}"),
        ("10.0.0.1:7", f"53, 53:5/udp, 7:8, {RANGE}"),
        ("7:8", f"53, 53:5/udp, 10.0.0.1:7:8, {RANGE}"),
        ("9-10:19-20", "53, 53:5/udp, 7:8, 10.0.0.1:7:8"),
    ],
)
def test_remove_one_of_several(edited: EditTarget, port: str, left: str) -> None:
    """By address, by protocol, or as it stands there."""
    text = f"guests: {{g: [53, 53:5/udp, 7:8, 10.0.0.1:7:8, {RANGE}]}}\n"
    edited.main.write_text(text)

    run(edited, "remove", "g", port)

    assert edited.main.read_text() == f"guests: {{g: [{left}]}}\n"


def test_public_ip(edited: EditTarget) -> None:
    """A first port would shut the others, and the last would take the address along:
    both are left to the administrator."""
    edited.main.write_text("guests: {a: {public_ip: 203.0.113.7}}\n")
    first = refusal(run, edited, "add", "a", "80")
    edited.main.write_text("guests: {a: {public_ip: 203.0.113.7, ports: [80]}}\n")
    last = refusal(run, edited, "remove", "a", "80")

    assert first.startswith("a has all ports of its public_ip")
    assert last.startswith("a has a public_ip, which would go with its last port")


def test_two_at_once(edited: EditTarget) -> None:
    """The second is told at once, and by whom; then nothing is left behind."""
    with edited_alone(edited.main):
        said = refusal(run, edited, "add", "web1", "443")
    status = run(edited, "add", "web1", "443")

    who = f"somebody else edits {edited.main.parent} now, process {os.getpid()}"
    assert (said.startswith(who), status) == (True, 0)
    assert sorted(path.name for path in edited.main.parent.iterdir()) == [
        "forwards.yaml",
        "state",
    ]


def test_one_is_killed(edited: EditTarget) -> None:
    """The kernel lets the lock go with the process: nobody has to remove it."""
    code = (
        "from pathlib import Path; from vfwhooks.cli.safe_write import edited_alone\n"
    )
    code += f"with edited_alone(Path({str(edited.main)!r})): print(flush=True), input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    ) as other:
        assert other.stdout
        other.stdout.readline()
        said = refusal(run, edited, "add", "web1", "443")
        other.kill()
    status = run(edited, "add", "web1", "443")

    whose = f"somebody else edits {edited.main.parent} now, process {other.pid}"
    assert (said.startswith(whose), status) == (True, 0)


def test_file_stays_what_it_is(tmp_path: Path) -> None:
    """Mode and owner are kept, and a link leads to the file that is written."""
    target = tmp_path / "there.yaml"
    target.write_text("a")
    target.chmod(0o640)
    link = tmp_path / "forwards.yaml"
    link.symlink_to(target)

    replace_file(link, b"a", b"b")

    mode = stat.S_IMODE(target.stat().st_mode)
    assert (link.is_symlink(), target.read_text(), mode) == (True, "b", 0o640)


def test_acl_of_the_directory(tmp_path: Path) -> None:
    """Who may write into new files of the directory gets no right to the file by an
    edit."""
    who = (1, 7, -1), (2, 6, 1234), (4, 5, -1), (16, 7, -1), (32, 5, -1)
    default = struct.pack("<i", 2) + b"".join(struct.pack("<hhi", *one) for one in who)
    path = tmp_path / "forwards.yaml"
    path.write_text("a")
    path.chmod(0o664)
    os.setxattr(tmp_path, "system.posix_acl_default", default)

    replace_file(path, b"a", b"b")

    mode = stat.S_IMODE(path.stat().st_mode)
    assert (os.listxattr(path), path.read_text(), mode) == ([], "b", 0o664)


def test_changed_meanwhile(tmp_path: Path) -> None:
    """What somebody else has written is not overwritten."""
    path = tmp_path / "forwards.yaml"
    path.write_text("theirs")

    said = refusal(replace_file, path, b"a", b"b")

    assert (said[: len(f"{path} was")], path.read_text()) == (f"{path} was", "theirs")


def test_full_disk(edited: EditTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written leaves the file as it was, and nothing beside it."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        run(edited, "add", "web1", "443")

    assert (edited.main.read_text(), len([*edited.main.parent.iterdir()])) == (
        BEFORE,
        2,
    )


def test_not_in_force(edited: EditTarget, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever keeps it from being put in force, the file stays edited."""

    def fail() -> int:
        raise OSError("no netlink")

    status = run(replace(edited, apply=fail), "add", "web1", "443")

    said = f"vfwhooks: {edited.main} is written, and not in force yet: no netlink\n"
    assert (status, capsys.readouterr().err) == (1, said)
    assert edited.main.read_text() == BEFORE.replace("80]", "80, 443]")


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A script that a test writes, as $VISUAL; copies are made below `copies`."""
    script = tmp_path / "editor"
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    monkeypatch.setenv("VISUAL", f"sh {script}")
    yield script


def kept(edited: EditTarget) -> list[str]:
    """What copies there are."""
    return [path.read_text() for path in edited.main.parent.glob("copies/*/*")]


def test_edit(
    edited: EditTarget, editor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the editor has made of it is written and put in force."""
    editor.write_text('echo "  db: [5432]" >> "$1"')

    status = run(edited, "edit")

    assert (status, edited.main.read_text(), capsys.readouterr().out, kept(edited)) == (
        0,
        f"{BEFORE}  db: [5432]\n",
        "applied\n",
        [],
    )


def test_edit_nothing(edited: EditTarget, editor: Path) -> None:
    """Whoever only looks changes nothing."""
    editor.write_text(":")

    assert (run(edited, "edit"), edited.main.read_text(), kept(edited)) == (
        0,
        BEFORE,
        [],
    )


def test_edit_nothing_where_no_file_is(edited: EditTarget, editor: Path) -> None:
    """Whoever only looks at a file that is gone does not write that nothing is
    forwarded."""
    editor.write_text(":")
    edited.main.unlink()

    found = run(edited, "edit"), edited.main.exists()

    assert found == (0, False)


@pytest.mark.parametrize("text", [None, "", "\ufeff# all\n\n"])
def test_add_to_a_file_that_is_gone(edited: EditTarget, text: str | None) -> None:
    """The last good one stays in force: one new entry alone would end all others."""
    compile_file(edited.main, State(edited.state))
    edited.main.unlink()
    if text is not None:
        edited.main.write_text(text)

    said = refusal(run, edited, "add", "web1", "443")

    what = "gone" if text is None else "empty"
    said_of = f"{edited.main} is {what}; the last good one is in force, and this would"
    cure = "put it back, or write all of it again: vfwhooks edit"
    assert said == f"{said_of} end it for mail, web1 ({cure})"
    assert edited.main.exists() == (text is not None)


def test_add_to_a_directory_that_is_gone(edited: EditTarget) -> None:
    """The same for forwards.d: with a new file there, the others' end would count."""
    path = edited.main.parent / "forwards.d/a.yaml"
    path.parent.mkdir()
    path.write_text("guests:\n  db: [443]\n")
    compile_file(edited.main, State(edited.state))
    path.unlink()
    path.parent.rmdir()

    said = refusal(run, edited, "add", "new", "80", "--file", f"{path.parent}/b.yaml")
    status = run(edited, "add", "web1", "443")

    what = f"{path.parent} is gone; the last good one is in force, and this would end"
    assert said.startswith(f"{what} it for db (put it back")
    assert (status, path.parent.exists()) == (0, False)


def test_add_where_drop_ins_stand_alone(edited: EditTarget) -> None:
    """A forwards.yaml that never was is written."""
    edited.main.unlink()
    drop_in = edited.main.parent / "forwards.d/a.yaml"
    drop_in.parent.mkdir()
    drop_in.write_text(BEFORE)
    compile_file(edited.main, State(edited.state))

    status = run(edited, "add", "db", "443")

    assert (status, edited.main.read_text()) == (0, "guests:\n  db: [443]\n")


ANSWERS = {
    "again, and it is good": (["e"], 0, f"{BEFORE}  db: [2]\n", []),
    "discard": (["?", "x"], 2, BEFORE, []),
    "nobody there": ([], 2, BEFORE, [f"{BEFORE}  db: [x]\n"]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_edit_with_a_mistake(
    edited: EditTarget, editor: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is not written: one may edit it again, or discard it; with no terminal to ask
    the copy stays."""
    given, status, text, copies = ANSWERS[name]
    answers = iter(given)

    def answer(_: str) -> str:
        for one in answers:
            return one
        raise EOFError

    monkeypatch.setattr("builtins.input", answer)
    editor.write_text(
        'if grep -q "db: " "$1"; then sed -i "s/\\[x/[2/" "$1"\n'
        'else echo "  db: [x]" >> "$1"; fi'
    )

    found = run(edited, "edit")

    assert (found, edited.main.read_text(), kept(edited)) == (status, text, copies)


def test_edit_is_killed(
    edited: EditTarget, editor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An editor that was killed leaves what it has written in the copy, which is
    named."""
    editor.write_text('echo "# much work" >> "$1"; kill -9 $$')

    status = run(edited, "edit")

    said = capsys.readouterr().err
    (path,) = re.findall(r"kept in (\S+)\n", said)
    assert (status, edited.main.read_text()) == (2, BEFORE)
    assert Path(path).read_text() == f"{BEFORE}# much work\n"


def test_edit_after_the_terminal_was_gone(
    edited: EditTarget, editor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy that stayed is named by the next edit, and stays."""
    editor.write_text('echo "# much work" >> "$1"; kill -9 $$')
    run(edited, "edit")
    (copy,) = edited.main.parent.glob("copies/*/*")
    capsys.readouterr()
    editor.write_text(":")

    status = run(edited, "edit")

    said = f"vfwhooks: what an earlier edit left is in {copy}\n"
    assert (status, said in capsys.readouterr().out, copy.exists()) == (0, True, True)


def test_edit_after_several_were_left(
    edited: EditTarget, editor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last of them is named, and how many there are."""
    editor.write_text('echo "# $$" >> "$1"; kill -9 $$')
    for _ in range(3):
        run(edited, "edit")
    copies = [*edited.main.parent.glob("copies/*/*")]
    for number, copy in enumerate(copies):
        os.utime(copy, (number, number))
    capsys.readouterr()
    editor.write_text(":")

    run(edited, "edit")

    where = f"(3 in {edited.main.parent}/copies/vfwhooks-edit-*)"
    said = f"vfwhooks: what an earlier edit left is in {copies[-1]} {where}"
    assert capsys.readouterr().out.splitlines()[0] == said


def test_edit_beside_an_open_copy(
    edited: EditTarget, editor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy that somebody edits at the moment has not been left by anybody."""
    editor.write_text('echo "# more" >> "$1"')
    said = []

    def check(_: bytes) -> list[Problem]:
        run(edited, "edit")
        said.append(capsys.readouterr().out)
        return []

    copy = Copy("web1.yaml", None, b"", check, lambda _: None)
    end = edit_copy(copy, find_editor(os.environ))

    assert end is End.WRITTEN and "what an earlier edit left" not in said[0]


def test_edit_beside_another(
    edited: EditTarget, editor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the file was changed by another hand meanwhile, neither edit is lost."""
    editor.write_text(f'echo "# ours" >> "$1"; echo "# theirs" >> {edited.main}')

    said = refusal(run, edited, "edit")

    assert said.startswith(f"{edited.main} was changed meanwhile")
    assert edited.main.read_text() == f"{BEFORE}# theirs\n"
    assert kept(edited) == [f"{BEFORE}# ours\n"]


def test_which_editor() -> None:
    """VISUAL goes before EDITOR; one that is not there is named."""
    found = find_editor({"VISUAL": "sh -x 'a b'", "EDITOR": "cat"})
    said = refusal(find_editor, {"EDITOR": "no-such-editor"})

    assert (found, said) == (
        ["sh", "-x", "a b"],
        "$EDITOR: there is no no-such-editor",
    )
