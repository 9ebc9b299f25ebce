"""Ports in forwards.yaml that DNAT rules of others take on this host now: warnings, as
of services that listen there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..config.forwards import Forward, GuestForwards
from ..config.yaml_tree import Problem
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
    """A warning a forward and rule; nothing, where whoever asks may not look."""
    text = (files.read(f"{state}/base") or b"").decode("utf-8", "replace")
    link = Netlink()
    try:
        inventory = Inventory(f"{state}/networks")
        foreign = read_foreign(parse_base(text), inventory, link, Run())
    except (OSError, VfwError):
        return []
    finally:
        link.close()
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
    """Whose the forward's ports are."""
    for one in forward.claims():
        for rule, _ in find_foreign_conflicts(one, taken):
            yield rule.reason
