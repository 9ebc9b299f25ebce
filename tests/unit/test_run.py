"""run: real small tools, bounded in time, their own words kept."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from unit.builders import descriptors, refusal
from vfwhooks.host.run import PATH, Run, find
from vfwhooks.values.errors import Refused, VfwError


def run(*argv: str, text: str = "") -> str:
    """What a tool prints."""
    return Run()(list(argv), text)


def test_what_a_tool_prints() -> None:
    """Its standard output, given its standard input."""
    found = run("cat", text="bü\udcff\n")

    assert found == "bü\udcff\n"


def test_a_tool_without_words() -> None:
    """Nothing in, nothing out."""
    found = run("true")

    assert found == ""


def test_large_texts() -> None:
    """10,000 forwards are more than a pipe holds, both ways."""
    text = "add element inet vfwhooks dnat4\n" * 100_000

    found = run("cat", text=text)

    assert found == text


def test_arguments_are_no_shells() -> None:
    """Whatever a guest is called, it is one word."""
    found = run("printf", "%s|", "$(id)", "a b", "*", "; reboot", "")

    assert found == "$(id)|a b|*|; reboot||"


def test_the_environment_is_ours() -> None:
    """Nothing of the caller's: where tools are found, and in which words they speak."""
    found = sorted(run("env").splitlines())

    assert found == ["LC_ALL=C", f"PATH={PATH}"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no >&2; exit 1", "sh: no"),
        ("echo out; echo '  err  ' >&2; echo more >&2; exit 2", "sh: err"),
        ("echo only; exit 3", "sh: only"),
        ("printf more; printf err >&2; exit 3", "sh: err"),
        (
            "printf 'tool v1: \\n\\nline 3: busy\\n' >&2; exit 3",
            "sh: tool v1: line 3: busy",
        ),
        ("exit 4", "sh: exit status 4"),
        ("kill -9 $$", "sh: exit status -9"),
    ],
)
def test_a_tool_that_fails(script: str, said: str) -> None:
    """The first line it has to say, with the next where it has only begun there; or
    how it ended."""
    with pytest.raises(Refused) as caught:
        run("sh", "-c", script)
    assert str(caught.value) == said


def test_a_tool_that_is_not_installed() -> None:
    """Where it was looked for."""
    found = refusal(run, "no-such-tool")

    assert found == f"no-such-tool is not installed (looked in {PATH})"


def test_a_tool_that_does_not_end() -> None:
    """It is killed when its time is up, and that is no refusal of what it was given."""
    with pytest.raises(VfwError) as caught:
        Run(seconds=0.05)(["sleep", "60"])
    assert (type(caught.value), str(caught.value)) == (
        VfwError,
        "sleep did not end within 0.05 s and was killed",
    )


def test_nothing_is_left_of_a_tool(tmp_path: Path) -> None:
    """No zombie, no open descriptor, however it ended."""
    before = descriptors()
    for argv, seconds in ((["true"], 9.0), (["false"], 9.0), (["sleep", "60"], 0.01)):
        try:
            Run(seconds=seconds)(argv)
        except VfwError:
            continue

    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert descriptors() == before


def test_the_lock_goes_along(tmp_path: Path) -> None:
    """A tool holds the lock that it was given, for as long as it runs."""
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)

    script = f'readlink "/proc/self/fd/{lock}"'
    found = Run(keep=(lock,))(["sh", "-c", script])

    os.close(lock)
    assert found == f"{tmp_path}/lock\n"


def test_nothing_else_goes_along(tmp_path: Path) -> None:
    """Standard streams, the pipe that tells the tool's end, and what it may keep."""
    other = os.open(tmp_path, os.O_RDONLY)

    found = run("sh", "-c", "echo /proc/self/fd/*")

    os.close(other)
    assert f"/proc/self/fd/{other}" not in found.split()


def test_a_broken_pipe_kills_a_tool() -> None:
    """Python ignores SIGPIPE; tools are started as from a shell."""
    found = run("sh", "-c", "grep SigIgn /proc/self/status")

    ignored = int(found.split("\t")[1], 16)
    assert ignored & 1 << 12 == 0


def test_find_looks_where_hooks_may_execute() -> None:
    """libvirt's confinement lets hooks execute from a few directories only."""
    found = [find("sh"), find("no-such-tool"), find("/a/path")]

    assert found[0] in [f"{directory}/sh" for directory in PATH.split(":")]
    assert found[1:] == [None, "/a/path"]
