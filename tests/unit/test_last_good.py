"""last_good: the last good one, compiled anew when the files have changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unit.builders import CHECKOUT, descriptors, fresh_state, refusal
from vfwhooks.config import last_good
from vfwhooks.config.compiler import compile_file
from vfwhooks.config.kept_over_boot import keep
from vfwhooks.config.last_good import (
    Attempt,
    Configuration,
    await_settled,
    compile_apart,
    has_good,
    is_in_force,
    is_settled,
    refresh,
)
from vfwhooks.host.run import Run
from vfwhooks.store.state import State
from vfwhooks.values.errors import Refused, VfwError


class Child(Run):
    """Stands in for the child that compiles; `argv` is what it was given."""

    def __init__(
        self,
        error: str = "",
        does_compile: bool = False,
        kind: type[VfwError] = Refused,
    ) -> None:
        super().__init__()
        self._kind = kind
        self.argv: list[list[str]] = []
        self._error = error
        self._does_compile = does_compile

    def __call__(self, argv: list[str], text: str = "") -> str:
        self.argv.append(argv)
        if self._error:
            raise self._kind(self._error)
        if self._does_compile:
            compile_file(Path(argv[-2]), State(argv[-1]))
        return ""


def edit(directory: Path, text: str) -> str:
    """A forwards.yaml that has been left alone for a moment."""
    path = directory / "forwards.yaml"
    path.write_text(text)
    while not is_settled(str(path)):
        time.sleep(0.01)  # until it is old enough: its times are the kernel's to set
    return str(path)


def names(found: Configuration) -> list[str]:
    """The guests of a configuration."""
    return [*found.compiled.guests()]


def in_force(
    directory: Path, text: str = "guests: {web1: [80]}\n"
) -> tuple[State, str]:
    """A state directory with this configuration in force."""
    state, main = fresh_state(directory), edit(directory, text)
    compile_file(Path(main), state)
    keep(state)
    return state, main


def test_the_first_configuration(tmp_path: Path) -> None:
    """A host's first event compiles what the files say, in a child."""
    state, main = fresh_state(tmp_path), edit(tmp_path, "guests: {web1: [80]}\n")

    found = refresh(state, main, Run())

    assert (names(found), found.is_new, found.problems) == (["web1"], True, [])


def test_the_child_is_isolated(tmp_path: Path) -> None:
    """It is given the package, the file and the state; nothing of the environment."""
    state, main = fresh_state(tmp_path), edit(tmp_path, "guests: {}\n")
    child = Child(does_compile=True)

    refresh(state, main, child)

    ((_, *words),) = child.argv
    package = str(Path(last_good.__file__).resolve().parents[2])
    assert (words[:2], words[3:]) == (["-I", "-c"], [package, main, state.path])


def test_nothing_is_compiled_twice(tmp_path: Path) -> None:
    """What is in force and current costs no child."""
    state, main = in_force(tmp_path)
    child = Child()

    found = refresh(state, main, child)

    assert (names(found), found.is_new, child.argv) == (["web1"], False, [])


def test_an_edit_is_taken(tmp_path: Path) -> None:
    """The newer configuration, and that it is new."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [80]}\n")

    found = refresh(state, main, Run())

    assert (names(found), found.is_new, found.problems) == (["web2"], True, [])


def test_a_broken_edit_changes_nothing(tmp_path: Path) -> None:
    """The last good one, and file, line and column of what is wrong."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [x]}\n")

    found = refresh(state, main, Run())

    said = f"{main}:1:17: 'x' is not a port or a range of ports"
    assert (names(found), found.is_new, found.problems) == (["web1"], False, [said])


def test_a_broken_edit_is_read_once(tmp_path: Path) -> None:
    """What is known to be broken costs the next event no child, and is said again."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [x]}\n")
    refresh(state, main, Run())
    child = Child()

    found = refresh(state, main, child)

    assert (len(found.problems), names(found), child.argv) == (1, ["web1"], [])


def test_a_mended_edit_is_taken(tmp_path: Path) -> None:
    """What was broken is looked at again when it changes."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [x]}\n")
    refresh(state, main, Run())
    edit(tmp_path, "guests: {web2: [81]}\n")

    found = refresh(state, main, Run())

    assert (names(found), found.is_new, found.problems) == (["web2"], True, [])


def test_a_child_that_fails(tmp_path: Path) -> None:
    """PyYAML missing, or out of time: the last good one stays, with the reason."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")

    found = refresh(state, main, Child("python3: no yaml"))

    said = f"{main}: python3: no yaml"
    assert (names(found), found.is_new, found.problems) == (["web1"], False, [said])


def test_what_may_pass_is_said_by_who_has_compiled_apart(tmp_path: Path) -> None:
    """The service compiles in a child of its own, and says what stood in the way."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")
    before = refresh(state, main, None).problems
    Attempt(state, main).note_failure(VfwError("python3 did not end"))

    found = refresh(state, main, None)

    said = [f"{main}: python3 did not end"]
    assert (before, found.problems, names(found)) == ([], said, ["web1"])


def test_a_child_that_failed_is_not_run_by_every_hook(tmp_path: Path) -> None:
    """Twice, for there may have been no memory for a moment; then the same files would
    fail the same way."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")
    children = [Child("python3: no yaml") for _ in range(4)]

    found = [refresh(state, main, child).problems for child in children]

    runs = [len(child.argv) for child in children]
    assert (found, runs) == ([[f"{main}: python3: no yaml"]] * 4, [1, 1, 0, 0])


def test_a_child_that_came_to_no_end(tmp_path: Path) -> None:
    """A host that was too busy is asked again by every hook."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")
    children = [Child("not within 3 s", kind=VfwError) for _ in range(4)]

    for child in children:
        refresh(state, main, child)

    assert [len(child.argv) for child in children] == [1, 1, 1, 1]


def test_a_child_that_failed_once(tmp_path: Path) -> None:
    """The next event puts the edit in force."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")
    refresh(state, main, Child("python3: out of memory"))

    found = refresh(state, main, Run())

    lines = found.compiled.lookup("web2")
    assert (found.is_new, lines) == (True, ["forward * tcp 81 81 81 81 -"])


def test_no_configuration_at_all(tmp_path: Path) -> None:
    """A first file that is broken is all that can be said."""
    state, main = fresh_state(tmp_path), edit(tmp_path, "guests: [\n")

    said = refusal(refresh, state, main, Run())

    problem = f"{main}:1:9: the [ here has no end; write ] behind what belongs to it"
    assert said == f"no configuration: {problem}"


def test_after_a_boot_the_kept_one_is_in_force(tmp_path: Path) -> None:
    """A broken edit before a boot does not leave the host without forwards after it."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [x]}\n")
    state.remove("compiled")

    found = refresh(state, main, Run())

    assert (names(found), len(found.problems)) == (["web1"], 1)


def test_after_a_boot_a_current_one_is_not_compiled_again(tmp_path: Path) -> None:
    """The kept one is as good as it was."""
    state, main = in_force(tmp_path)
    state.remove("compiled")
    child = Child()

    found = refresh(state, main, child)

    assert (names(found), child.argv) == (["web1"], [])


def test_a_configuration_of_another_release_is_compiled_anew(tmp_path: Path) -> None:
    """What cannot be read is no configuration."""
    state, main = in_force(tmp_path)
    state.write("compiled", "vfw0")
    (Path(state.kept) / "compiled").write_text("vfw0")

    found = refresh(state, main, Run())

    assert (names(found), found.is_new) == (["web1"], True)


def test_a_file_that_is_being_written_is_not_taken(tmp_path: Path) -> None:
    """The last good one stays for now, and the next event looks at everything."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")
    child = Child()

    with Path(main).open("a"):
        found = refresh(state, main, child)

    assert (names(found), found.problems, child.argv, state.take_full()) == (
        ["web1"],
        [],
        [],
        True,
    )


def test_an_edit_while_files_are_compiled_apart(tmp_path: Path) -> None:
    """The last good one serves until a child of the caller's has done it."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")

    found = refresh(state, main, None)

    assert (names(found), found.is_new, found.problems) == (["web1"], False, [])
    assert not is_in_force(state, main)


def test_what_was_compiled_apart(tmp_path: Path) -> None:
    """It is in force once the child has ended, by the same rules as any."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")

    compile_apart(state, main, Run())

    found = refresh(state, main, None)
    assert (names(found), found.problems) == (["web2"], [])


def test_a_broken_edit_that_was_compiled_apart(tmp_path: Path) -> None:
    """It is said to everybody who asks, who go by the last good one."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [x]}\n")
    compile_apart(state, main, Run())

    found = refresh(state, main, None)

    assert (names(found), len(found.problems)) == (["web1"], 1)


def test_a_first_file_while_it_is_compiled_apart(tmp_path: Path) -> None:
    """There is nothing to go by yet."""
    state, main = fresh_state(tmp_path), edit(tmp_path, "guests: {}\n")

    said = refusal(refresh, state, main, None)

    assert said == f"no configuration: {main} is being compiled"


def test_a_child_of_the_callers(tmp_path: Path) -> None:
    """What the attempt says is to be run does it."""
    state, main = fresh_state(tmp_path), edit(tmp_path, "guests: {web1: [80]}\n")

    subprocess.run(Attempt(state, main).argv, check=True)

    assert names(refresh(state, main, None)) == ["web1"]


@pytest.mark.parametrize(
    ("errors", "is_known"),
    [
        ([Refused("no yaml")], False),
        ([Refused("no yaml")] * 2, True),
        ([Refused("no yaml"), VfwError("ended by signal 9")], False),
        ([VfwError("ended by signal 9")] * 3, False),
    ],
)
def test_attempts_that_fail(
    tmp_path: Path, errors: list[VfwError], is_known: bool
) -> None:
    """Refused twice, the files are left alone until they change; whatever may have been
    the host's for a moment is tried again. The reason is kept."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")

    for error in errors:
        Attempt(state, main).note_failure(error)

    problem = state.read("broken").partition("\n\n")[2]
    assert (is_in_force(state, main), problem) == (is_known, f"{main}: {errors[-1]}")


def test_an_edit_while_an_attempt_fails(tmp_path: Path) -> None:
    """What it was about is not what the files say now: they are tried."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {web2: [81]}\n")
    Attempt(state, main).note_failure(Refused("no yaml"))
    attempt = Attempt(state, main)
    edit(tmp_path, "guests: {web2: [82, 83]}\n")

    attempt.note_failure(Refused("no yaml"))

    assert not is_in_force(state, main)


def test_whether_there_is_a_good_one(tmp_path: Path) -> None:
    """In force now, or before the boot; not on a host that never had one."""
    state, _ = in_force(tmp_path)
    found = [has_good(state)]
    state.remove("compiled")
    new = tmp_path / "new"
    new.mkdir()

    found += [has_good(state), has_good(fresh_state(new))]

    assert found == [True, True, False]


OPENED_MEANWHILE = """
import fcntl, os, sys
from vfwhooks.config import last_good as configuration
path, real = sys.argv[1], fcntl.fcntl
def opened(fd, command, argument):
    real(fd, command, argument)
    if (command, argument) == (fcntl.F_SETLEASE, fcntl.F_RDLCK):
        try:
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except BlockingIOError:
            print("has the lease")
configuration.fcntl.fcntl = opened
print(configuration.is_settled(path))
"""


def test_an_editor_that_opens_the_file_meanwhile(tmp_path: Path) -> None:
    """The kernel's signal to whoever has a lease on the file does not end us: it would
    end a hook, or the watch."""
    main = edit(tmp_path, "guests: {}\n")

    done = subprocess.run(
        [sys.executable, "-c", OPENED_MEANWHILE, main],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=False,
    )

    said = "has the lease\nTrue\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_a_first_file_that_is_being_written(tmp_path: Path) -> None:
    """Where there is no configuration to go by yet, the reason is said."""
    state, main = fresh_state(tmp_path), edit(tmp_path, "guests: {}\n")

    with Path(main).open("a"):
        said = refusal(refresh, state, main, Child())

    assert said == f"no configuration: {main} is being written"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """`watch` does this for years: current, new, broken and awaited, all are closed."""
    state, main = in_force(tmp_path)
    before = descriptors()

    refresh(state, main, Run())
    edit(tmp_path, "guests: {web2: [80]}\n")
    refresh(state, main, Run())
    edit(tmp_path, "guests: {web2: [x]}\n")
    refresh(state, main, Run())
    await_settled(state, main)
    is_in_force(state, main)

    assert descriptors() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, True), ("guests: {a: [1]}\n", False), ("guests: [\n", False)],
)
def test_is_in_force(tmp_path: Path, text: str | None, expected: bool) -> None:
    """Whether what the files say has been looked at."""
    state, main = in_force(tmp_path)
    if text:
        edit(tmp_path, text)

    found = is_in_force(state, main)

    assert found is expected


def test_what_is_known_to_be_broken_has_been_looked_at(tmp_path: Path) -> None:
    """A broken edit is no news twice."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: [\n")
    before = is_in_force(state, main)
    refresh(state, main, Run())

    found = is_in_force(state, main)

    assert (before, found) == (False, True)


def test_nothing_is_in_force_on_a_new_host(tmp_path: Path) -> None:
    """Not even that there is nothing."""
    state = fresh_state(tmp_path)

    found = is_in_force(state, f"{tmp_path}/forwards.yaml")

    assert found is False


def test_a_file_that_is_left_alone_is_settled(tmp_path: Path) -> None:
    """Nobody has it open, and it has not changed for a moment."""
    main = edit(tmp_path, "guests: {}\n")

    assert is_settled(main)


def test_no_file_is_settled(tmp_path: Path) -> None:
    """There is nobody to wait for."""
    assert is_settled(f"{tmp_path}/forwards.yaml")


def test_a_file_that_somebody_reads_is_settled(tmp_path: Path) -> None:
    """Only a writer counts."""
    main = edit(tmp_path, "guests: {}\n")

    with Path(main).open():
        found = is_settled(main)

    assert found


@pytest.mark.parametrize("name", ["forwards.yaml", "forwards.d/a.yaml"])
def test_a_file_that_somebody_writes_is_not_settled(tmp_path: Path, name: str) -> None:
    """Whoever has it open for writing is not done; drop-ins count too."""
    (tmp_path / "forwards.d").mkdir()
    (tmp_path / "forwards.d" / "a.yaml").write_text("guests: {}\n")
    main = edit(tmp_path, "guests: {}\n")

    with (tmp_path / name).open("a"):
        found = is_settled(main)

    assert not found


def test_a_file_that_has_just_changed_is_not_settled(tmp_path: Path) -> None:
    """Whatever its times say: a change counts, and its time is the kernel's."""
    main = edit(tmp_path, "guests: {}\n")
    os.utime(main, (1, 1))

    assert not is_settled(main)


def test_waiting_ends(tmp_path: Path) -> None:
    """A hook waits only a little for somebody who keeps the file open."""
    state, main = in_force(tmp_path)
    edit(tmp_path, "guests: {}\n")

    with Path(main).open("a"):
        await_settled(state, main, patience=0)
        found = is_settled(main)

    assert not found


def test_what_is_in_force_is_not_waited_for(tmp_path: Path) -> None:
    """Somebody who has the file open and has changed nothing delays nobody."""
    state, main = in_force(tmp_path)

    with Path(main).open("a"):
        await_settled(state, main, patience=3600)
        found = is_settled(main)

    assert not found


def test_waiting_for_an_edit(tmp_path: Path) -> None:
    """An edit that has just ended is waited for."""
    state, main = in_force(tmp_path)
    (tmp_path / "forwards.yaml").write_text("guests: {}\n")

    await_settled(state, main, patience=60)

    assert is_settled(main)
