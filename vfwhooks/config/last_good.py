"""The last good configuration, compiled again after a change of forwards.yaml.

A half-written file is not taken: nobody may have it open for writing, and the last
write must be a moment ago. A broken file changes nothing; its problems are kept beside
the last good configuration.
"""

import fcntl
import posix
import sys
import time

from ..host.run import Run
from ..store import files
from ..store.state import State
from ..values.errors import Refused, VfwError
from . import compiled_file, source_stamps
from .compiled_file import Compiled

SETTLED = 0.2
_SIGURG = 23
_CHILD = (
    "import sys; sys.path[:0] = [sys.argv[1]]; "
    "from vfwhooks.config.compiler import main; main(*sys.argv[2:])"
)


class Configuration:
    """The configuration in force, whether it is new, and the problems of newer
    files."""

    def __init__(self, good: "Compiled | None", is_new: bool, problems: str) -> None:
        self.problems = problems.split("\n") if problems else []
        if good is None:
            raise VfwError("no configuration: " + "; ".join(self.problems))
        self.compiled = good
        self.is_new = is_new


def await_settled(state: State, main: str, patience: float = 0.5) -> None:
    """Wait at most `patience` seconds for the end of an edit. Takes no lock."""
    if source_stamps.is_current(compiled_file.stamps_in_force(state.path), main):
        return
    deadline = time.monotonic() + patience
    while not is_settled(main) and time.monotonic() < deadline:
        time.sleep(0.02)


def is_settled(main: str) -> bool:
    """Whether the last write is a moment ago, and nobody has the files open for
    writing."""
    now = time.time_ns()
    for line in source_stamps.stamps(main).split("\n"):
        words = line.split(" ")
        if len(words) > 2 and abs(now - int(words[4])) < SETTLED * 1e9:
            return False
        if len(words) > 2 and _is_being_written(files.unquote(words[0])):
            return False
    return True


def is_in_force(state: State, main: str) -> bool:
    """Whether the files' content is compiled, or known to be broken."""
    looked_at = compiled_file.stamps_in_force(state.path), known_broken(state)[0]
    return any(source_stamps.is_current(taken, main) for taken in looked_at)


def known_broken(state: State) -> tuple[str, str]:
    """The stamps of the broken files, and their problems; '' if nothing is broken.
    Without stamps the failure may have passed since."""
    taken, _, problems = state.read("broken").partition("\n\n")
    return taken, problems


def note_broken(state: State, taken: str, problems: str) -> None:
    """Keep stamps and problems beside the last good configuration."""
    state.write("broken", f"{taken}\n\n{problems}")


def has_good(state: State) -> bool:
    """Whether there is a last good configuration, perhaps the one kept over a boot."""
    if not files.exists(f"{state.path}/compiled"):
        from .kept_over_boot import take  # for a host's first event

        take(state)
    return files.exists(f"{state.path}/compiled")


def refresh(state: State, main: str, run: "Run | None") -> Configuration:
    """The configuration to use; the caller holds the lock. `run` compiles edited files.
    Without `run` the last good configuration is used until the caller has compiled
    them."""
    has_good(state)
    good = compiled_file.load(state.path)
    if good and source_stamps.is_current(good.stamps, main):
        return Configuration(good, False, "")
    before, problems = known_broken(state)
    if source_stamps.is_current(before, main):
        return Configuration(good, False, problems)
    if not is_settled(main):
        state.write("full", "")
        return Configuration(good, False, "" if good else f"{main} is being written")
    if run is None:
        # A failure that may pass is tried again, and has no stamps.
        why = problems if not before else ""
        unknown = "" if good else f"{main} is being compiled"
        return Configuration(good, False, why or unknown)
    compile_apart(state, main, run)
    newer = compiled_file.load(state.path)
    if newer and (good is None or newer.stamps != good.stamps):
        return Configuration(newer, True, "")
    return Configuration(good, False, known_broken(state)[1])


def compile_apart(state: State, main: str, run: Run) -> None:
    """Compile the files in a child; `is_in_force` tells the result."""
    attempt = Attempt(state, main)
    try:
        run(attempt.argv)
    except VfwError as error:
        attempt.note_failure(error)


class Attempt:
    """A compilation in a child; `argv` is the child's command line."""

    def __init__(self, state: State, main: str) -> None:
        package = __file__.rpartition("/vfwhooks/")[0]
        self.argv = [sys.executable, "-I", "-c", _CHILD, package, main, state.path]
        self._state = state
        self._main = main
        self._taken = source_stamps.stamps(main)
        self._before, self._problems = known_broken(state)

    def note_failure(self, error: VfwError) -> None:
        """Note that the child failed.

        The host may be out of memory or time for a moment: without stamps, the next
        event tries again. After a second failure nothing is tried until the files
        change.
        """
        is_known = self._problems and not self._before and isinstance(error, Refused)
        known = self._taken if is_known else ""
        note_broken(self._state, known, f"{self._main}: {error}")


def _is_being_written(path: str) -> bool:
    """Whether somebody has the file open for writing: then the kernel gives no read
    lease.

    If somebody opens the file during our lease, the kernel sends us a signal. The
    default, SIGIO, would end the process; SIGURG does nothing.
    """
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, _SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        posix.close(fd)
    return False
