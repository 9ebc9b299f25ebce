"""How a valid forwards.yaml fits this host as it is now: warnings, since it may fit
another host, and this one a minute later.
"""

from __future__ import annotations

from collections.abc import Iterable

from .config import Problem
from .elements import WHOLE
from .forwards import Forward, GuestForwards
from .holders import name_listeners
from .inventory import Inventory
from .listeners import Listener
from .rivals import find_meetings, find_rivals


def find_misfits(
    guests: Iterable[GuestForwards], inventory: Inventory
) -> list[Problem]:
    """Addresses that the host does not have, and ports that it listens on itself."""
    guests = list(guests)
    forwards = [forward for guest in guests for forward in guest.forwards]
    found = [
        Problem(guest.public_place, what, is_warning=True)
        for guest in guests
        for address in map(str, guest.public_ips)
        if (what := _of_public(address, guest.is_hosts_own, inventory))
    ]
    public = {address for guest in guests for address in guest.public_ips}
    found += [
        Problem(f.place, f"this host has no address {f.host_ip}", is_warning=True)
        for f in forwards
        if f.host_ip
        and f.host_ip not in public
        and not f.host_ip.is_unspecified
        and not f.host_ip.is_loopback
        and not inventory.is_local(str(f.host_ip))
    ]
    return found + _listened_on(forwards, inventory)


def _of_public(address: str, is_hosts_own: bool, inventory: Inventory) -> str:
    """What is odd about an address that is to be one guest's."""
    if not inventory.is_local(address):
        return f"this host has no address {address}"
    if is_hosts_own or not inventory.is_default_source(address):
        return ""
    cure = "public_ip_of_host: true gives it to the guest all the same"
    return f"{address} is the host's own address; {cure}"


def _listened_on(forwards: list[Forward], inventory: Inventory) -> list[Problem]:
    """A warning a forward: it yields to the listener, if that is there first."""
    published = {
        f"{family} {host} {f.protocol} {f.published.first} {f.published.last}": f
        for f in forwards
        if not f.over_listener
        for family, host in f.claims()
    }
    rivals = find_rivals(find_meetings(list(published), [], inventory), inventory)
    names = name_listeners(rivals.values())
    met: dict[tuple[Forward, str], Listener] = {}
    for one, rival in rivals.items():
        met.setdefault((published[one], rival.protocol), rival)
    return [
        Problem(
            f.place, f"{names.get(r.reason, r.reason)}; {_cure(f)}", is_warning=True
        )
        for (f, _), r in met.items()
    ]


def _cure(forward: Forward) -> str:
    if forward.protocol == WHOLE:
        return "nothing is forwarded while it does, unless public_ip_of_host: true"
    return "it keeps the port if it is there first, unless over_listener: true"
