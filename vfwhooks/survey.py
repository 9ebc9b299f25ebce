"""A look at the DNAT rules of others, whose outcome events go by: what they take is
written down, and where that is news, everything is planned anew.

The rules are listed with no lock held, by a process of its own where the service has it
done: 10,000 of them take a second.
"""

from __future__ import annotations

import signal
import syslog
import time
from collections.abc import Iterator

from .entrytext import format_published
from .errors import VfwError, show
from .foreign import Foreign, read_foreign
from .inventory import Inventory
from .netlink import Netlink
from .process import Run
from .rivals import find_published
from .state import State
from .takenports import NAME, TakenPorts, build, hold, load
from .takenwords import AHEAD
from .takers import find_meeting

_SECONDS, _WAIT, _LONGEST = 20.0, 30.0, 120


def survey(state: State) -> Foreign:
    """What rules of others take now. Raises OSError where the kernel does not say."""
    link = Netlink()
    try:
        inventory = Inventory(f"{state.path}/networks")
        return read_foreign(state.base(), inventory, link, Run(seconds=_SECONDS))
    finally:
        link.close()


def note_taken(state: State) -> list[str]:
    """Write down what they take, and ask for the full road where that is news; lines
    for the log of forwards in force that are to no effect from now on."""
    foreign = survey(state)
    data = build(foreign.claims)
    if data == state.taken():
        return []
    before = load(f"{state.path}/{NAME}")
    lines = list(_lost(state, foreign, before))
    lock = state.lock(time.monotonic() + _WAIT)
    try:
        state.ask_full()
        state.put_taken(data)
    finally:
        lock.close()
    return lines


def _lost(state: State, foreign: Foreign, before: TakenPorts | None) -> Iterator[str]:
    """What is in force, and has come to be asked behind a rule that was not there."""
    ahead = hold(build(one for one in foreign.claims if one.is_ahead))
    for record in state.records() if ahead else ():
        for one in sorted(find_published(record.entries), key=format_published):
            known = {rule.reason for rule, _ in find_meeting(one, before)}
            for rule in dict(find_meeting(one, ahead)):
                if rule.reason not in known:
                    yield f"{show(record.guest.name)}: {rule.reason}; {AHEAD}"


def main(path: str) -> int:
    """For the service: its child. The mark that asks for the full road wakes it up."""
    signal.alarm(_LONGEST)
    syslog.openlog("vfwhooks", syslog.LOG_PID, syslog.LOG_DAEMON)
    try:
        lines = note_taken(State(path))
    except (OSError, VfwError) as error:
        lines = [f"rules of others: {error}"]
    for line in dict.fromkeys(lines):
        syslog.syslog(syslog.LOG_NOTICE, show(line))
    return 0
