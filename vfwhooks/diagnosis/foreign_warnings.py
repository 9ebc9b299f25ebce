"""Warnings about ports in forwards.yaml that foreign DNAT rules take on this host now.
host_warnings has the same for listeners.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..config.forwards import Forward, GuestForwards
from ..config.yaml_nodes import Problem
from ..foreign.reader import read_foreign
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.inventory import Inventory
from ..reconcile.foreign_conflicts import AHEAD, find_foreign_conflicts
from ..store import files
from ..store.foreign_ports import ForeignPorts, hold
from ..store.state import parse_base
from ..values.errors import VfwError
from .foreign_reasons import few

_CURE = "it keeps the port if it is there first, unless over_listener: true"


def find_foreign_warnings(guests: Iterable[GuestForwards], state: str) -> list[Problem]:
    """One warning for each forward and cure; empty if the user may not read the
    rules."""
    text = (files.read(f"{state}/base") or b"").decode("utf-8", "replace")
    inventory = Inventory(f"{state}/networks")
    try:
        with Netlink() as link:
            foreign = read_foreign(parse_base(text), inventory, link, Run())
    except (OSError, VfwError):
        return []
    both = (
        (hold(one for one in foreign.claims if one.is_ahead), AHEAD),
        (hold(foreign.claims), _CURE),
    )
    found = []
    for forward in (forward for guest in guests for forward in guest.forwards):
        said: dict[str, str] = {}
        for taken, cure in both:
            if taken and not (cure == _CURE and forward.options.over_listener):
                for reason in _reasons(forward, taken):
                    said.setdefault(reason, cure)
        for cure in dict.fromkeys(said.values()):
            what = few([one for one in said if said[one] == cure])
            problem = Problem(forward.place, f"{what}; {cure}", is_warning=True)
            found.append(problem)
    return found


def _reasons(forward: Forward, taken: ForeignPorts) -> Iterator[str]:
    """The reasons of the rules that take the forward's ports."""
    for one in forward.claims():
        for rule, _ in find_foreign_conflicts(one, taken):
            yield rule.reason
