"""cli: commands, exit codes and what they print, as far as no kernel is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unit.builders import CHECKOUT, fresh_state, parsed, refusal
from vfwhooks import __version__
from vfwhooks.cli import explained
from vfwhooks.cli.main import main
from vfwhooks.cli.outcome import Outcome
from vfwhooks.cli.output import diff_lines, status_json
from vfwhooks.config.compiler import compile_file
from vfwhooks.diagnosis.overview import Overview
from vfwhooks.diagnosis.status_rows import GuestStatus
from vfwhooks.rulesets.packet import ANYBODY
from vfwhooks.values.entries import HairpinMode

if TYPE_CHECKING:
    from vfwhooks.values.entries import Kept


def vfwhooks(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors on a host whose files are below `directory`."""
    done = subprocess.run(
        [sys.executable, "-m", "vfwhooks", *arguments],
        capture_output=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "VFWHOOKS_CONFIG": f"{directory}/forwards.yaml",
            "VFWHOOKS_STATE": f"{directory}/state",
        },
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def configured(directory: Path, text: str) -> None:
    """A host where this forwards.yaml is in force, and nothing has happened yet."""
    (directory / "forwards.yaml").write_text(text)
    assert compile_file(directory / "forwards.yaml", fresh_state(directory)) == []


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii", "utf-8"])
def test_characters_that_a_terminal_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """They are escaped: no traceback ends a command between its writing and its
    work."""
    monkeypatch.setenv("PYTHONIOENCODING", f"{encoding}:strict")
    monkeypatch.setenv("PYTHONUTF8", "0")
    strange = tmp_path / os.fsdecode(b"\xff.yaml")
    strange.write_text("guests: {}\n")

    checked = vfwhooks(tmp_path, "check", str(strange))
    added = vfwhooks(tmp_path, "add", "a→b", "8080")

    assert checked == (0, f"{tmp_path}/\\udcff.yaml: 0 forwards for 0 guests\n", "")
    assert (added[0], "Traceback" in added[2]) == (0, False)


def test_version(tmp_path: Path) -> None:
    """The package's own."""
    found = vfwhooks(tmp_path, "--version")

    assert found == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["apply", "x"], ["status", "-x"]]
)
def test_bad_usage(tmp_path: Path, arguments: list[str]) -> None:
    """Exit 2, and nothing is done."""
    status, output, _ = vfwhooks(tmp_path, *arguments)

    assert (status, output, [*tmp_path.iterdir()]) == (2, "", [])


def test_no_command(tmp_path: Path) -> None:
    """All commands with what they do, as --help has them."""
    found = vfwhooks(tmp_path)

    assert found == (2, "", vfwhooks(tmp_path, "--help")[1])


@pytest.mark.parametrize(
    ("word", "hint"), [("stauts", "did you mean status"), ("xyz", "there are add, ")]
)
def test_no_such_command(tmp_path: Path, word: str, hint: str) -> None:
    """The one that may be meant is named, or all of them are but the hidden one."""
    status, _, said = vfwhooks(tmp_path, word)

    lines = said.splitlines()
    assert (status, lines[0]) == (2, f"vfwhooks: there is no command {word}")
    assert (lines[1].startswith(f"  {hint}"), "complete" in said) == (True, False)


def test_explain_a_file(tmp_path: Path) -> None:
    """A saved ruleset is told; what changed since another one was saved is a
    difference, as diff has it."""
    (tmp_path / "old").write_text("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")
    rule = "-A INPUT -i eth0 -j DROP"
    (tmp_path / "new").write_text(f"*filter\n:INPUT ACCEPT [0:0]\n?\n{rule}\nCOMMIT\n")
    old, new = f"{tmp_path}/old", f"{tmp_path}/new"

    found = [
        vfwhooks(tmp_path, "explain", *arguments)
        for arguments in ([new], ["--diff", old, new], ["--diff", old, old], ["./no"])
    ]

    does = "A packet that comes in by eth0 is dropped without an answer."
    who = "somebody by hand, or a script without a mark"
    assert found == [
        (
            0,
            f"1 rule\n  1 of {who}\n"
            "not read: line 3: ?: it is neither a chain nor a rule\n\n"
            "ip filter, chain INPUT (packets to the host itself; policy ACCEPT)\n"
            f"  line 4: {rule[9:]}\n    made by: {who}\n    does:    {does}\n"
            "    why:     The ruleset does not say why.\n"
            "    if lost: The packets get through.\n",
            "",
        ),
        (
            1,
            f"+ ip filter, chain INPUT, line 4: {rule[9:]}\n"
            f"    {does} (made by {who})\n",
            "",
        ),
        (0, "nothing has changed\n", ""),
        (1, "", "vfwhooks: no: no such file\n"),
    ]


def test_status_before_the_first_event(tmp_path: Path) -> None:
    """Forwards of guests that do not run, in the shape that is promised."""
    few = "{published: 8080, target: 80, allow_from: ['2001:db8::/32', 198.51.100.7]}"
    listed = f"[{few}, '[::]:5000-5001:5000-5001/udp']"
    configured(tmp_path, f"guests: {{web1: {listed}}}\n")

    status, output, errors = vfwhooks(tmp_path, "status", "--json")

    row = {
        "guest": "web1",
        "host_ip": "*",
        "published": "8080",
        "target": "80",
        "protocol": "tcp",
        "address": "",
        "state": "stopped",
        "reason": "the guest is not running",
        "connections": 0,
        "source": "file",
        "pattern": "",
        "allow_from": ["198.51.100.7/32", "2001:db8::/32"],
    }
    other = {**row, "host_ip": "::", "published": "5000-5001", "target": "5000-5001"}
    other.update(protocol="udp", allow_from=[])
    guest: dict[str, object]
    guest = {"name": "web1", "uuid": "", "state": "stopped", "addresses": []}
    guest["metadata"] = ""
    told = json.loads(output)
    assert told.pop("service") in ("running", "stopped")
    assert (status, errors, told) == (
        0,
        "",
        {"backend": "", "guests": [guest], "forwards": [row, other], "problems": []},
    )


def without_hooks(text: str) -> str:
    """Without what status says of hooks: that is of this machine, where a test beside
    this one may run a service. (test_hook_trial has that line.)"""
    return re.sub("(?m)^hooks    .+$", "hooks    ...", text)


def test_status_for_people(tmp_path: Path) -> None:
    """The paths in use, then a table."""
    configured(tmp_path, 'guests: {web1: [8080:80], "a\\e[1mb": [443]}\n')

    status, output, errors = vfwhooks(tmp_path, "status")

    lines = [
        f"config   {tmp_path}/forwards.yaml",
        f"state    {tmp_path}/state",
        "hooks    ...",
        "backend  none yet",
        "GUEST      HOST  PUBLISHED  TARGET  STATE    CONNECTIONS",
        "a\\x1b[1mb  *     443/tcp    - 443   stopped  0            "
        "the guest is not running",
        "web1       *     8080/tcp   - 80    stopped  0            "
        "the guest is not running",
    ]
    text = without_hooks(output)
    assert (status, text, errors) == (0, "\n".join(lines) + "\n", "")


def test_status_of_a_host_without_forwards(tmp_path: Path) -> None:
    """No table."""
    configured(tmp_path, "guests: {}\n")

    status, output, errors = vfwhooks(tmp_path, "status")

    lines = [
        f"config   {tmp_path}/forwards.yaml",
        f"state    {tmp_path}/state",
        "hooks    ...",
        "backend  none yet",
    ]
    text = without_hooks(output)
    assert (status, text, errors) == (0, "\n".join(lines) + "\n", "")


def test_status_of_some_guests(tmp_path: Path) -> None:
    """Each by its name, in a pipe as ever and as JSON; all others are left out."""
    configured(tmp_path, "guests: {web1: [1], web2: [2], mail: [3]}\n")

    table = vfwhooks(tmp_path, "status", "web2", "mail")
    told = json.loads(vfwhooks(tmp_path, "status", "--json", "web1")[1])

    rows = [line.split()[0] for line in table[1].splitlines()[4:]]
    assert (table[0], rows, [row["guest"] for row in told["forwards"]]) == (
        0,
        ["GUEST", "mail", "web2"],
        ["web1"],
    )


@pytest.mark.parametrize(
    ("guest", "hint"),
    [("Web1", "did you mean web1"), ("x\x1b", "vfwhooks status shows all guests")],
)
@pytest.mark.parametrize("options", [[], ["--json"], ["--watch"]])
def test_status_of_a_guest_that_is_not_there(
    tmp_path: Path, options: list[str], guest: str, hint: str
) -> None:
    """It is said, with the guest that is meant if one is near; nothing is shown."""
    configured(tmp_path, "guests: {web1: [80]}\n")

    found = vfwhooks(tmp_path, "status", *options, "web1", guest)

    shown = guest.replace("\x1b", "\\x1b")
    said = f"vfwhooks: {shown} does not run, and no forward in force is for it"
    assert found == (1, "", f"{said}\n  {hint}\n")


COMMANDS = [
    "--help",
    "check",
    "check --format json",
    "complete guests",
    "explain tcp/80",
    "explain web1",
    "status",
]


def through_shell(directory: Path, line: str) -> tuple[int, str, str]:
    """Exit status, output and errors of a command line of bash; vf is ours."""
    ports = ", ".join(map(str, range(80, 3000)))
    configured(directory, f"guests: {{web1: [{ports}]}}\n")
    done = subprocess.run(
        ["bash", "-c", f'vf() {{ "{sys.executable}" -m vfwhooks "$@"; }}; {line}'],
        capture_output=True,
        check=False,
        cwd=CHECKOUT,
        env={
            **os.environ,
            "VFWHOOKS_CONFIG": f"{directory}/forwards.yaml",
            "VFWHOOKS_STATE": f"{directory}/state",
        },
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_who_ends(tmp_path: Path, command: str) -> None:
    """Nobody reads what is left, nothing is said of it, and the status stays."""
    status, _, said = through_shell(tmp_path, f"vf {command}")

    found = through_shell(tmp_path, f"vf {command} | true; exit ${{PIPESTATUS[0]}}")

    assert found == (status, "", said)


def test_a_reader_of_a_screen_who_ends(tmp_path: Path) -> None:
    """Where the screen is larger than a pipe, it ends in the middle of writing."""
    command = "timeout 60 bash -c 'vf status --watch' | head -n 1"

    found = through_shell(tmp_path, f"export -f vf; {command}; exit ${{PIPESTATUS[0]}}")

    assert found == (0, f"config   {tmp_path}/forwards.yaml\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_closed_streams(tmp_path: Path, command: str) -> None:
    """What has nowhere to go is dropped, and the status stays."""
    status, output, said = through_shell(tmp_path, f"vf {command}")

    found = [
        through_shell(tmp_path, f"vf {command} {closed}")
        for closed in (">&-", "<&- 2>&-", "<&- >&- 2>&-")
    ]

    # What stands in the output is the machine's affair, and may change meanwhile.
    shown = [(one, bool(out), error) for one, out, error in found]
    expected = [(status, False, said), (status, bool(output), ""), (status, False, "")]
    assert shown == expected


def test_status_while_an_edit_waits(tmp_path: Path) -> None:
    """What is not in force yet is a problem, and how it comes into force."""
    configured(tmp_path, "guests: {}\n")
    (tmp_path / "forwards.yaml").write_text("guests: {web1: [80]}\n")

    status, output, _ = vfwhooks(tmp_path, "status")

    waits = "has changed and is not in force yet; run vfwhooks apply"
    problem = f"problem  {tmp_path}/forwards.yaml {waits}"
    assert (status, output.splitlines()[4:]) == (1, [problem])


def test_status_while_the_file_is_broken(tmp_path: Path) -> None:
    """Everything that is wrong, as check says it; the last good one is shown."""
    configured(tmp_path, "guests: {web1: [80]}\n")
    (tmp_path / "forwards.yaml").write_text("guests: {web2: [x, 0]}\n")
    compile_file(tmp_path / "forwards.yaml", fresh_state(tmp_path))

    status, output, _ = vfwhooks(tmp_path, "status")

    problems = [line for line in output.splitlines() if line.startswith("problem")]
    name = f"problem  {tmp_path}/forwards.yaml"
    assert (status, problems, "web1" in output) == (
        1,
        [
            f"{name}:1:17: 'x' is not a port or a range of ports",
            f"{name}:1:20: 0: ports are 1 to 65535",
        ],
        True,
    )


def test_status_while_the_file_is_gone(tmp_path: Path) -> None:
    """What can be done about it; apply would say the same."""
    configured(tmp_path, "guests: {}\n")
    (tmp_path / "forwards.yaml").unlink()

    output = vfwhooks(tmp_path, "status")[1].splitlines()

    write = "put it back, or write it again: vfwhooks edit; guests: {} says none"
    what = f"is gone; the last good one stays in force; {write}"
    assert output[4:] == [f"problem  {tmp_path}/forwards.yaml:1:1: {what}"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status"], "needs root: sudo vfwhooks status\n"),
        (["explain", "a b"], "needs root: sudo vfwhooks explain 'a b'\n"),
        (["import", "/nonexistent"], "/nonexistent: no such file\n"),
    ],
)
def test_somebody_else_than_root(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    """One line, with the command as it was typed; files that anybody may read are
    read all the same."""
    monkeypatch.setenv("VFWHOOKS_STATE", str(tmp_path))
    monkeypatch.setattr("gc.disable", lambda: None)  # this process lives on
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    status = main(arguments)

    assert (status, capsys.readouterr().err) == (1, f"vfwhooks: {said}")


def test_from_belongs_to_trace(tmp_path: Path) -> None:
    """It is refused where it would be passed over in silence."""
    status, _, said = vfwhooks(tmp_path, "explain", "--from", "192.0.2.1", "8081")

    cure = "vfwhooks explain --trace 8081 --from 192.0.2.1"
    assert (status, said.splitlines()[-1]) == (
        2,
        f"vfwhooks: error: --from belongs to --trace: {cure}",
    )


def test_trace_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port alone is one of TCP."""
    asked: list[tuple[str, int]] = []

    class Verdicts:
        """Takes what it is asked."""

        @property
        def outside(self) -> Verdicts:
            """It makes packets, too."""
            return self

        def connection(self, _: object, protocol: str, port: int, __: str) -> None:
            """Note it."""
            asked.append((protocol, port))

        def trace(self, _: None) -> list[str]:
            """Nothing."""
            return []

    monkeypatch.setattr(explained, "live_verdicts", lambda _: Verdicts())
    for about in ("8081", "udp/53"):
        state = fresh_state(tmp_path)
        list(explained.trace(about, ANYBODY, 0, state, f"{tmp_path}/x"))

    assert asked == [("tcp", 8081), ("udp", 53)]


@pytest.mark.parametrize("about", ["tcp/²", "tcp/0", "tcp/80-90", f"tcp/{'9' * 5000}"])
def test_trace_no_port(tmp_path: Path, about: str) -> None:
    """What is no port is said to be none, not by a traceback."""
    state = fresh_state(tmp_path)

    said = refusal(list, explained.trace(about, ANYBODY, 0, state, f"{tmp_path}/x"))

    assert said == f"{about} cannot be traced (a protocol and a port: tcp/8080, udp/53)"


@pytest.mark.parametrize("words", [["doctor"], ["explain", "--trace"], ["explain"]])
def test_an_empty_word(tmp_path: Path, words: list[str]) -> None:
    """A script's empty variable is no question about the whole host."""
    configured(tmp_path, "guests: {}\n")

    status, output, said = vfwhooks(tmp_path, *words, "")

    assert (status, output, said.count("\n")) == (1, "", 2)


@pytest.mark.parametrize("is_link", [False, True])
def test_save_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_link: bool
) -> None:
    """A ruleset that is saved takes the place of its own file alone, for root."""
    monkeypatch.setattr(explained, "list_live", lambda: "rules")
    (tmp_path / "fw.new").write_text("mine")
    if is_link:
        (tmp_path / "there").write_text("old")
        (tmp_path / "fw").symlink_to("there")

    explained.save_host(tmp_path / "fw")

    found = tmp_path / "fw"
    assert (found.read_text(), found.stat().st_mode & 0o777) == ("rules", 0o600)
    assert (found.is_symlink(), (tmp_path / "fw.new").read_text()) == (is_link, "mine")


def test_a_state_directory_that_is_not_ours(tmp_path: Path) -> None:
    """Exit 1, what is wrong, and the next step."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)

    found = vfwhooks(tmp_path, "status")

    said = f"vfwhooks: {tmp_path}/state can be written by others\n  remove it\n"
    assert found == (1, "", said)


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A tool's user is told in one line, not in a traceback."""
    (tmp_path / "state").write_text("a file")

    status, output, errors = vfwhooks(tmp_path, "status")

    assert (status, output, "Traceback" in errors) == (1, "", False)


def test_a_state_directory_below_nothing(tmp_path: Path) -> None:
    """The same for a directory that is not there."""
    status, output, errors = vfwhooks(tmp_path / "no" / "where", "status")

    assert (status, output, "Traceback" in errors) == (1, "", False)


def webs(*entries: str) -> list[tuple[str, Kept]]:
    """What changes for web1."""
    return [("web1", entry) for entry in parsed(*entries)]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            "dnat 4 * tcp 80 80 192.168.122.10 8080",
            "tcp 80 → web1 192.168.122.10:8080",
        ),
        (
            "dnat 4 203.0.113.5 udp 53 54 192.168.122.10 53",
            "203.0.113.5 udp 53-54 → web1 192.168.122.10:53",
        ),
        ("dnat 6 * tcp 80 80 fd00:122::10 80", "tcp 80 → web1 [fd00:122::10]:80"),
        (
            "dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0",
            "203.0.113.7 all → web1 192.168.122.10",
        ),
        (
            "reject 4 203.0.113.7 all 0 65535",
            "203.0.113.7 all → rejected but for web1",
        ),
        (
            "snat 4 192.168.122.10 203.0.113.7",
            "web1 192.168.122.10 → leaves from 203.0.113.7",
        ),
    ],
)
def test_a_change_as_people_read_it(entry: str, line: str) -> None:
    """What goes, then what comes; only what leads somewhere is a forward."""
    others = "accept 4 192.168.122.10", "guard 4 * tcp 80 80 allow_1"

    found = diff_lines(
        Outcome(webs(entry, *others, "reject 4 * tcp 80 80"), webs(entry), [])
    )

    assert found == [f"- {line}", f"+ {line}"]


def test_a_claim_as_people_read_it() -> None:
    """What stays rejected without a guest is said once, for both families."""
    entries = webs("reject 4 * tcp 80 81", "reject 6 * tcp 80 81")

    found = diff_lines(Outcome([], entries, []))

    assert found == ["+ tcp 80-81 → rejected while web1 is stopped"]


def test_the_way_of_answers_as_people_read_it() -> None:
    """By which interface they leave, and whom the guest does not see."""
    back = webs("back 4 203.0.113.5 tcp 80 82 eth1 1")
    every = webs("backany 4 203.0.113.5 all 0 65535 eth1 1")
    masq = webs("masq 4 * udp 53 53", "masq 6 * udp 53 53")

    found = diff_lines(Outcome(back, [*every, *masq], []))

    assert found == [
        "- web1 203.0.113.5 tcp 80-82 → answered by eth1",
        "+ web1 203.0.113.5 all → answered by eth1",
        "+ web1 udp 53 → masqueraded",
    ]


def test_a_port_of_a_bridge_as_people_read_it() -> None:
    """Which goes into hairpin mode, or out of it."""
    vnet0, vnet1 = (
        ("web1", HairpinMode(f"virbr{number}", f"vnet{number}")) for number in (0, 1)
    )

    found = diff_lines(Outcome([vnet0], [vnet1], []))

    assert found == ["- web1 vnet0 → hairpin mode", "+ web1 vnet1 → hairpin mode"]


def test_what_programs_are_told() -> None:
    """Guests and forwards, whatever entries the kernel holds."""
    held = dict.fromkeys(parsed("accept 4 192.168.122.10"), 0)
    guest = GuestStatus("web1", "", "running", ["192.168.122.10"])

    found = status_json(Overview("nftables", (guest,), (), (), held))

    assert json.loads(found) == {
        "backend": "nftables",
        "guests": [
            {
                "name": "web1",
                "uuid": "",
                "state": "running",
                "addresses": ["192.168.122.10"],
                "metadata": "",
            }
        ],
        "forwards": [],
        "problems": [],
        "service": "stopped",
    }
