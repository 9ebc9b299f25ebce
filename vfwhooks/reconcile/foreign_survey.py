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

from ..foreign.reader import Foreign, read_foreign
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.inventory import Inventory
from ..store.entry_text import format_published
from ..store.foreign_ports import NAME, ForeignPorts, build, hold, load
from ..store.state import State
from ..values.errors import VfwError, show
from .foreign_conflicts import AHEAD, find_foreign_conflicts
from .port_conflicts import find_published

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
    """Write down what they take, and ask for a full sync where that is news; lines
    for the log of forwards in force that are to no effect from now on."""
    foreign = survey(state)
    data = build(foreign.claims)
    if data == state.taken():
        return []
    before = load(f"{state.path}/{NAME}")
    lines = list(_lost(state, foreign, before))
    lock = state.lock(time.monotonic() + _WAIT)
    try:
        state.ask_full("rules of others take other ports now")
        state.put_taken(data)
    finally:
        lock.close()
    return lines


def _lost(state: State, foreign: Foreign, before: ForeignPorts | None) -> Iterator[str]:
    """What is in force, and has come to be asked behind a rule that was not there."""
    ahead = hold(one for one in foreign.claims if one.is_ahead)
    for record in state.records() if ahead else ():
        for one in sorted(find_published(record.entries), key=format_published):
            known = {rule.reason for rule, _ in find_foreign_conflicts(one, before)}
            for rule in dict(find_foreign_conflicts(one, ahead)):
                if rule.reason not in known:
                    yield f"{show(record.guest.name)}: {rule.reason}; {AHEAD}"


def main(path: str) -> int:
    """For the service: its child. The mark that asks for a full sync wakes it up."""
    signal.alarm(_LONGEST)
    syslog.openlog("vfwhooks", syslog.LOG_PID, syslog.LOG_DAEMON)
    try:
        lines = note_taken(State(path))
    except (OSError, VfwError) as error:
        lines = [f"rules of others: {error}"]
    for line in dict.fromkeys(lines):
        syslog.syslog(syslog.LOG_NOTICE, show(line))
    return 0
