"""Completions in real shells: what stands on the line when Tab has been pressed."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from product import HERE

from vfwhooks.cli.commands import find_commands
from vfwhooks.cli.made_files import main
from vfwhooks.cli.parser import make_parser

# One name is a command for whoever expands it.
FORWARDS = """\
guests:
  web1: [8080:80]
  mail server: ["53:53/udp"]
  "$(touch hurt)": [9443:443]
"""
COMMAND = """\
#!/bin/sh
exec /usr/bin/python3 -IB -c 'import sys
sys.path.insert(0, "{}")
from vfwhooks.cli.main import main
sys.exit(main())' "$@"
"""
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {}/bash/vfwhooks"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "fpath=({}/zsh $fpath); autoload -U compinit; compinit -u -D",
    ),
    "fish": (["fish", "--no-config", "-i"], "source {}/fish/vfwhooks"),
}
BEGINNING, END = "\x01", "\x05"  # of the line, as keys
PRINTED = re.compile(r"<vfwhooks>((?:<[^<>]*>)*)<over>")

Complete = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The completions, a command, and a forwards.yaml that names guests."""
    directory = tmp_path_factory.mktemp("shells")
    main(str(directory))
    (directory / "zsh/vfwhooks").rename(directory / "zsh/_vfwhooks")
    (directory / "forwards.yaml").write_text(FORWARDS)
    command = directory / "bin/vfwhooks"
    command.parent.mkdir()
    command.write_text(COMMAND.format(HERE))
    command.chmod(0o755)
    return directory


@pytest.fixture(scope="module", params=SHELLS)
def complete(request: pytest.FixtureRequest, made: Path) -> Iterator[Complete]:
    """The words of a line behind the command when Tab has completed it in the shell."""
    shell: str = request.param
    argv, setup = SHELLS[shell]
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *argv],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=made,
        env={
            "PATH": f"{made}/bin:/usr/sbin:/usr/bin",
            "HOME": str(made),
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
            "VFWHOOKS_CONFIG": f"{made}/forwards.yaml",
            "VFWHOOKS_STATE": f"{made}/state",
        },
    )
    os.close(terminal)

    def answer(line: str, until: Callable[[str], object]) -> str:
        """What the screen shows when it shows what is waited for."""
        os.write(screen, line.encode())
        shown = ""
        deadline = time.monotonic() + 60
        while not until(shown):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([screen], [], [], left)[0], shown
            shown += os.read(screen, 65536).decode(errors="replace")
        return shown

    def press_tab(typed: str) -> list[str]:
        ask = f"{typed}\t{BEGINNING}printf '<%s>' {END} over\r"
        shown = answer(ask, PRINTED.search)
        printed = PRINTED.search(shown)
        assert printed
        return re.findall("<([^<>]*)>", printed[1])

    try:
        answer(f"{setup.format(made)}; echo rea''dy\r", lambda shown: "ready" in shown)
        yield press_tab
    finally:
        process.kill()
        process.wait()
        os.close(screen)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("vfwhooks che", ["check"]),
        ("vfwhooks apply --d", ["apply", "--dry-run"]),
        ("vfwhooks explain we", ["explain", "web1"]),
        ("vfwhooks explain 80", ["explain", "8080"]),
        ("vfwhooks explain 53", ["explain", "53/udp"]),
        ("vfwhooks reserve mail", ["reserve", "mail server"]),
        ("vfwhooks reserve 80", ["reserve", "80"]),
        ("vfwhooks add ma", ["add", "mail server"]),
        ("vfwhooks remove web1 53", ["remove", "web1", "53/udp"]),
        ("vfwhooks check forw", ["check", "forwards.yaml"]),
        ("vfwhooks reserve \\$", ["reserve", "$(touch hurt)"]),
        ("vfwhooks explain --save forw", ["explain", "--save", "forwards.yaml"]),
        ("vfwhooks check --format j", ["check", "--format", "json"]),
        ("vfwhooks doctor we", ["doctor", "web1"]),
        ("vfwhooks explain ./forw", ["explain", "./forwards.yaml"]),
        ("vfwhooks explain --svg forw", ["explain", "--svg", "forwards.yaml"]),
        ("vfwhooks doctor ./forw", ["doctor", "./forw"]),
        ("vfwhooks status web1 ma", ["status", "web1", "mail server"]),
        ("vfwhooks explain --from we", ["explain", "--from", "we"]),
        ("vfwhooks import --from hoo", ["import", "--from", "hooks-json"]),
        ("vfwhooks metadata cl", ["metadata", "clear"]),
        ("vfwhooks metadata get we", ["metadata", "get", "web1"]),
        (
            "vfwhooks metadata set web1 forw",
            ["metadata", "set", "web1", "forwards.yaml"],
        ),
        ("vfwhooks nonsense we", ["nonsense", "we"]),
    ],
)
def test_tab(complete: Complete, made: Path, typed: str, words: list[str]) -> None:
    """Commands, options, guests, ports and files, each where it belongs, and none is
    carried out on the way."""
    found = complete(typed)

    assert (found, (made / "hurt").exists()) == (words, False)


def test_every_command_is_there(made: Path) -> None:
    """A command that is added is completed, by each of the shells."""
    texts = [
        (made / place).read_text()
        for place in ("bash/vfwhooks", "zsh/_vfwhooks", "fish/vfwhooks")
    ]

    missing = [
        name
        for name in find_commands(make_parser())
        for text in texts
        if not re.search(rf"\b{name}\b", text)
    ]

    assert missing == []


def test_bash_is_clean(made: Path) -> None:
    """shellcheck has nothing to say."""
    argv = ["shellcheck", "-s", "bash", f"{made}/bash/vfwhooks"]

    done = subprocess.run(argv, capture_output=True, check=False, text=True)

    assert done.stdout == ""
