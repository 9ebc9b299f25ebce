"""Conflicts between forwards: two claims on one address and port.

A port on one address and the same port on every address are no conflict: the port on
one address wins. A public_ip belongs to one guest, with all ports. Between a pattern
and other guests the same ports are none (see shared_ports), but ports that only overlap
are.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..values.errors import show
from ..values.protocols import ALL_PROTOCOLS
from .forwards import Forward, GuestForwards
from .shared_ports import find_hindrance, is_surprise
from .value_syntax import Address, PortRange
from .yaml_nodes import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..values.published import Family

PortClaim = tuple[int, int, int, GuestForwards, Forward]


def find_conflicts(guests: Iterable[GuestForwards]) -> list[Problem]:
    """A problem for every forward whose port an earlier forward has."""
    claims: dict[tuple[Family, Address | None, str], list[PortClaim]] = {}
    number = 0
    guests = list(guests)
    for guest in guests:
        for forward in guest.forwards:
            if forward.protocol == ALL_PROTOCOLS:
                continue
            number += 1
            ports = forward.published
            claim = ports.first, ports.last, number, guest, forward
            for family, at in forward.places():
                claims.setdefault((family, at, forward.protocol), []).append(claim)
    found: dict[int, Problem] = {}
    shared: dict[int, Problem] = {}
    for of_one_address in claims.values():
        for later, taken, first in _overlaps(of_one_address):
            its, others = later[3], first[3]
            if its is others or not (its.is_pattern or others.is_pattern):
                found.setdefault(later[2], _problem(later, taken, first))
            elif why := find_hindrance(its, later[4], others, first[4]):
                found.setdefault(later[2], _problem(later, taken, first, why))
            elif is_surprise(its, others):
                shared.setdefault(later[2], _warning(later, taken, first))
    return [*{**shared, **found}.values(), *_intruders(guests)]


def _intruders(guests: list[GuestForwards]) -> Iterable[Problem]:
    """A problem for each forward or public_ip on an address that is another guest's
    public_ip, at the later of the two places."""
    owners: dict[Address, GuestForwards] = {}
    tenants: dict[Address, list[tuple[GuestForwards, Forward]]] = {}
    for guest in guests:
        for address in guest.public_ips:
            owner = owners.setdefault(address, guest)
            if owner is not guest:
                whose = f"public_ip {address} is {show(owner.name)}'s already"
                yield Problem(guest.public_place, f"{whose} ({owner.public_place})")
                continue
            for other, forward in tenants.get(address, ())[:1]:
                port = f"{forward.protocol}/{forward.published}"
                by = f"{port} there is {show(other.name)}'s ({forward.place})"
                what = f"public_ip {address} is not free: {by}"
                yield Problem(guest.public_place, what)
        for forward in guest.forwards:
            if forward.host_ip is None or forward.host_ip in guest.public_ips:
                continue
            tenants.setdefault(forward.host_ip, []).append((guest, forward))
            if forward.host_ip in owners:
                owner = owners[forward.host_ip]
                whose = f"the public_ip of {show(owner.name)} ({owner.public_place})"
                yield Problem(forward.place, f"{forward.host_ip} is {whose}")


def _overlaps(
    claims: list[PortClaim],
) -> Iterable[tuple[PortClaim, PortRange, PortClaim]]:
    """Pairs of overlapping claims: the later in the file, the ports, the earlier."""
    open_claims: list[PortClaim] = []
    last = 0
    for claim in sorted(claims, key=lambda c: c[:3]):
        if claim[0] > last:
            open_claims, last = [claim], claim[1]
            continue
        open_claims = [c for c in open_claims if c[1] >= claim[0]]
        for other in open_claims:
            later, first = (claim, other) if claim[2] > other[2] else (other, claim)
            yield later, PortRange(claim[0], min(claim[1], other[1])), first
        open_claims.append(claim)
        last = max(last, claim[1])


def _problem(
    later: PortClaim, taken: PortRange, first: PortClaim, why: str = ""
) -> Problem:
    """That ports are taken already."""
    verb = "are" if taken.last > taken.first else "is"
    by = f"{show(first[3].name)} ({first[4].place})"
    what = f"{_named(later[4], taken)} {verb} taken by {by}"
    return Problem(later[4].place, f"{what}; {why}" if why else what)


def _warning(later: PortClaim, taken: PortRange, first: PortClaim) -> Problem:
    """That a pattern and a guest which it does not match share ports."""
    by = f"{show(first[3].name)}'s, too ({first[4].place})"
    end = "whoever runs first has " + ("them" if taken.last > taken.first else "it")
    what = f"{_named(later[4], taken)} may be {by}; {end}"
    return Problem(later[4].place, what, is_warning=True)


def _named(forward: Forward, ports: PortRange) -> str:
    bound = forward.host_ip and not forward.host_ip.is_unspecified
    host = f"{forward.host_ip} " if bound else ""
    word = "host ports" if ports.last > ports.first else "host port"
    return f"{word} {host}{forward.protocol}/{ports}"
