"""How a valid forwards.yaml fits this host as it is now: warnings, since it may fit
another host, and this one a minute later.
"""

from __future__ import annotations

from collections.abc import Iterable

from .config import Problem
from .forwards import Forward, GuestForwards
from .holders import name_listeners
from .inventory import Inventory
from .listeners import Listener
from .rivals import find_rivals


def find_misfits(
    guests: Iterable[GuestForwards], inventory: Inventory
) -> list[Problem]:
    """Addresses that the host does not have, and ports that it listens on itself."""
    forwards = [forward for guest in guests for forward in guest.forwards]
    found = [
        Problem(f.place, f"this host has no address {f.host_ip}", is_warning=True)
        for f in forwards
        if f.host_ip
        and not f.host_ip.is_unspecified
        and not f.host_ip.is_loopback
        and not inventory.is_local(str(f.host_ip))
    ]
    return found + _listened_on(forwards, inventory)


def _listened_on(forwards: list[Forward], inventory: Inventory) -> list[Problem]:
    """A warning a forward: it yields to the listener, if that is there first."""
    published = {
        f"{family} {host} {f.protocol} {f.published.first} {f.published.last}": f
        for f in forwards
        if not f.over_listener
        for family, host in f.claims()
    }
    rivals = find_rivals(list(published), [], inventory)
    names = name_listeners(rivals.values())
    met: dict[tuple[Forward, str], Listener] = {}
    for one, rival in rivals.items():
        met.setdefault((published[one], rival.protocol), rival)
    cure = "it keeps the port if it is there first, unless over_listener: true"
    return [
        Problem(f.place, f"{names.get(r.reason, r.reason)}; {cure}", is_warning=True)
        for (f, _), r in met.items()
    ]
