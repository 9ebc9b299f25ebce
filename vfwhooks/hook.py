"""A libvirt hook's Python part: one event in, nothing out, whatever happens.

Started by the sh gates in hooks/, with -IS and only for events that are ours. It
imports no more than it must: the list is pinned by a test. It never talks to libvirtd,
which holds the guest while we run.
"""

import faulthandler
import posix
import sys
import syslog
import time

from . import configuration
from .errors import OutOfTime, VfwError, show
from .libvirtxml import parse_domain, parse_networks
from .model import Guest
from .reconcile import Reconcile
from .records import Intent
from .state import DEFAULT, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 4.4
_LAST_WORDS = 0.4
_SPARE = 0.4
_LARGEST = 16 << 20
_STARTED = {"start": "started", "started": "started", "reconnect": "reconnected"}


def main(argv: list[str]) -> None:
    """Carry out one event: driver, name and operation."""
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=sys.stderr)
    syslog.openlog("vfwhooks", syslog.LOG_PID, syslog.LOG_DAEMON)
    path = posix.environ.get(b"VFWHOOKS_STATE", DEFAULT.encode()).decode()
    config = posix.environ.get(b"VFWHOOKS_CONFIG", configuration.DEFAULT.encode())
    driver, name, operation = argv
    try:
        said = run(State(path), config.decode(), driver, name, operation)
    except (VfwError, OSError) as error:
        said = [f"{name} {operation}: {error}"]
    except Exception as error:  # noqa: BLE001 - a defect of ours: say which, harm nobody
        said = [f"{name} {operation}: {_where(error)}: {error!r}"]
    # A syslog that nobody reads any more would hold us, and the guest, for ever.
    faulthandler.dump_traceback_later(_LAST_WORDS, exit=True, file=sys.stderr)
    for line in said:
        syslog.syslog(syslog.LOG_NOTICE, show(line))
    posix._exit(0)  # taking the interpreter down would cost 1.3 ms


def let_go() -> None:
    """End for libvirt, which need not wait for what is left: a child goes on, with the
    lock, and without our standard input, which libvirt may be writing to.
    """
    faulthandler.cancel_dump_traceback_later()  # its thread does not come along
    try:
        if posix.fork():
            posix._exit(0)
    except OSError:
        pass  # no room for a child: libvirt has to wait
    posix.dup2(1, 0)
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=sys.stderr)


def run(
    state: State,
    config: str,
    driver: str,
    name: str,
    operation: str,
    let_go: "Callable[[], None]" = let_go,
) -> list[str]:
    """Note the event, then carry out all that wait; the lines for the log."""
    until = time.monotonic() + DEADLINE - _SPARE
    intent = read_event(state, driver, name, operation)
    mine = None
    try:
        state.note(intent)
    except OSError as error:
        mine = intent
        state.problems.append(f"{state.path}: {error.strerror}")
    configuration.await_settled(state, config)
    try:
        reconcile = Reconcile(state, config, until=until)
    except OutOfTime as error:
        why = f"{name} {operation}: {error}"
        if mine:
            return [*state.problems, f"{why}: it is lost, run vfwhooks apply"]
        # Whoever comes next carries it out: no reason to have everything checked, as
        # for a hook that died at work.
        state.write("late", "")
        return [*state.problems, f"{why}: left to whoever comes next"]
    try:
        reconcile.carry_out(mine)
    finally:
        if reconcile.is_slow_to_close:
            let_go()
        reconcile.close()
    return state.problems + reconcile.report.problems + reconcile.report.said


def read_event(state: State, driver: str, name: str, operation: str) -> Intent:
    """The event as an intent.

    What a network hook is told of the network is left in the state directory, because
    libvirt writes its own file only when the hook has ended.
    """
    now = time.monotonic_ns()
    if driver == "network":
        state.note_network(name, b"" if operation == "stopped" else read_network())
        return Intent("network", Guest("network", name, "", []), now)
    if operation in _STARTED:
        if operation != "start":
            state.note_started(driver)
        guest = parse_domain(_input(), driver)
        guest.name = name
        return Intent(_STARTED[operation], guest, now)
    return Intent("stopped", Guest(driver, name, "", []), now)


def read_network() -> bytes:
    """What libvirt says of a network, if that can be read again later."""
    data = _input()
    if not parse_networks(data):
        raise VfwError("the XML describes no network")
    return data


def _input() -> bytes:
    """libvirt's XML from standard input."""
    parts, size = [], 0
    while part := posix.read(0, 1 << 16):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise VfwError(f"more than {_LARGEST >> 20} MiB of XML on standard input")
    return b"".join(parts)


def _where(error: Exception) -> str:
    """The innermost line of ours: traceback costs more to import than it tells."""
    trace, place = error.__traceback__, "?"
    while trace:
        place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
