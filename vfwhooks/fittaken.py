"""Ports in forwards.yaml that DNAT rules of others take on this host now: warnings, as
of services that listen there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from . import files
from .config import Problem
from .errors import VfwError
from .foreign import read_foreign
from .forwards import Forward, GuestForwards
from .inventory import Inventory
from .netlink import Netlink
from .process import Run
from .state import parse_base
from .takenports import TakenPorts, build, hold
from .takenwords import AHEAD, few
from .takers import find_meeting

_CURE = "it keeps the port if it is there first, unless over_listener: true"


def find_taken(guests: Iterable[GuestForwards], state: str) -> list[Problem]:
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
        (hold(build(one for one in foreign.claims if one.is_ahead)), AHEAD),
        (hold(build(foreign.claims)), _CURE),
    )
    found = []
    for forward in (forward for guest in guests for forward in guest.forwards):
        said: dict[str, str] = {}
        for taken, cure in both:
            if taken and not (cure == _CURE and forward.over_listener):
                for reason in _reasons(forward, taken):
                    said.setdefault(reason, cure)
        for cure in dict.fromkeys(said.values()):
            what = few([one for one in said if said[one] == cure])
            problem = Problem(forward.place, f"{what}; {cure}", is_warning=True)
            found.append(problem)
    return found


def _reasons(forward: Forward, taken: TakenPorts) -> Iterator[str]:
    """Whose the forward's ports are."""
    for one in forward.claims():
        for rule, _ in find_meeting(one, taken):
            yield rule.reason
