"""A survey of foreign DNAT rules for later events: it writes down the ports that they
take, and asks for a full sync if these have changed.

It lists the rules without the lock, and in a child of the service if the service asks:
10,000 rules take a second.
"""

from __future__ import annotations

import signal
import syslog
import time
from collections.abc import Iterator

from ..foreign.named_rules import NONE, Named
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
from .sync_report import OTHERS_PORTS

_SECONDS, _WAIT, _LONGEST = 20.0, 30.0, 120


def survey(state: State, without: Named = NONE) -> Foreign:
    """The ports that foreign rules take now, but for rules that are about to be taken
    out. Raises OSError if the kernel does not answer."""
    inventory = Inventory(f"{state.path}/networks")
    with Netlink() as link:
        run = Run(seconds=_SECONDS)
        return read_foreign(state.base(), inventory, link, run, without)


def note_taken(state: State) -> list[str]:
    """Write down the survey, and ask for a full sync if it has news; lines for the log
    about forwards in force that take no packets from now on."""
    foreign = survey(state)
    data = build(foreign.claims)
    if data == state.taken():
        return []
    before = load(f"{state.path}/{NAME}")
    lines = list(_lost(state, foreign, before))
    with state.lock(time.monotonic() + _WAIT):
        state.ask_full(OTHERS_PORTS)
        state.put_taken(data)
    return lines


def _lost(state: State, foreign: Foreign, before: ForeignPorts | None) -> Iterator[str]:
    """Lines about published ports for which a new foreign rule now decides ahead of
    ours."""
    ahead = hold(one for one in foreign.claims if one.is_ahead)
    for record in state.records() if ahead else ():
        for one in sorted(find_published(record.entries), key=format_published):
            known = {rule.reason for rule, _ in find_foreign_conflicts(one, before)}
            for rule in dict(find_foreign_conflicts(one, ahead)):
                if rule.reason not in known:
                    yield f"{show(record.guest.name)}: {rule.reason}; {AHEAD}"


def main(path: str) -> int:
    """The service's child. The mark that asks for a full sync wakes the service."""
    signal.alarm(_LONGEST)
    syslog.openlog("vfwhooks", syslog.LOG_PID, syslog.LOG_DAEMON)
    try:
        lines = note_taken(State(path))
    except (OSError, VfwError) as error:
        lines = [f"rules of others: {error}"]
    for line in dict.fromkeys(lines):
        syslog.syslog(syslog.LOG_NOTICE, show(line))
    return 0
