"""Conflicts between forwards: two claims on one address and port.

A port on one address and the same port on every address are no conflict: the port on
one address wins. Nor are a port on an interface and the same port on a written address
that the interface has: no other addresses of the host make an error of a file. A
public_ip belongs to one guest, with all ports. Between a pattern and other guests the
same ports are none (see shared_ports), but ports that only overlap are.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from typing import NamedTuple

from ..values.errors import show
from ..values.protocols import ALL_PROTOCOLS
from ..values.published import BOTH, Family
from .forwards import Forward, GuestForwards
from .shared_ports import find_hindrance, is_surprise
from .value_syntax import Address, PortRange
from .yaml_nodes import Place, Problem


class PortClaim(NamedTuple):
    """A forward's ports on one address, and its number in the file."""

    first: int
    last: int
    number: int
    guest: GuestForwards
    forward: Forward


def find_conflicts(
    guests: Iterable[GuestForwards],
) -> tuple[list[GuestForwards], list[Problem]]:
    """The guests, without addresses of interfaces that are somebody else's, and a
    problem for every forward whose port an earlier forward has."""
    guests = list(guests)
    owners: dict[Address | None, str] = {
        address: one.name for one in guests for address in one.public_ips
    }
    settled = [_leave_out(one, _on_public_ips(one, owners)) for one in guests]
    taken: dict[int, Problem] = {}
    shared: dict[int, Problem] = {}
    left_out: dict[Forward, Problem] = {}
    for later, ports, first in _overlaps(settled):
        why, is_shared = _sharing(later, first)
        if is_shared:
            if is_surprise(later.guest, first.guest):
                shared.setdefault(later.number, _warning(later, ports, first))
        elif later.forward.interface == first.forward.interface:
            taken.setdefault(later.number, _problem(later, ports, first, why))
        else:
            # What is written stays; of two interfaces, the earlier one.
            gone, stays = (later, first) if later.forward.interface else (first, later)
            why = f"of {show(gone.forward.interface)} that address is left out here"
            problem = replace(_problem(gone, ports, stays, why), is_warning=True)
            left_out.setdefault(gone.forward, problem)
    settled = [_leave_out(one, left_out) for one in settled]
    said = [*{**shared, **taken}.values(), *left_out.values(), *_intruders(guests)]
    return settled, said


def _sharing(later: PortClaim, first: PortClaim) -> tuple[str, bool]:
    """Why a pattern and another guest cannot share ports, and whether they do."""
    its, others = later.guest, first.guest
    if its is others or not (its.is_pattern or others.is_pattern):
        return "", False
    why = find_hindrance(its, later.forward, others, first.forward)
    return why, not why


def _on_public_ips(
    guest: GuestForwards, owners: dict[Address | None, str]
) -> Container[Forward]:
    """The guest's forwards by an interface on other guests' public_ips."""
    return {
        one
        for one in (guest.forwards if owners and guest.by_interface else ())
        if one.interface and owners.get(one.host_ip, guest.name) != guest.name
    }


def _leave_out(guest: GuestForwards, out: Container[Forward]) -> GuestForwards:
    """The guest without these forwards by an interface; the interface is one without an
    address where it has no other."""
    gone = [one for one in guest.forwards if one.interface and one in out]
    if not gone:
        return guest
    kept = [one for one in guest.forwards if one not in out]
    had, has = ({_entry(one) for one in some} for some in (gone, kept))
    more = [one for one in guest.by_interface if _entry(one) in had - has]
    unplaced = *guest.unplaced, *more
    return replace(guest, forwards=tuple(kept), unplaced=unplaced)


def _entry(forward: Forward) -> tuple[Place, str, str]:
    return forward.place, forward.interface, forward.protocol


def _overlaps(
    guests: Iterable[GuestForwards],
) -> Iterable[tuple[PortClaim, PortRange, PortClaim]]:
    """Pairs of overlapping claims: the later in the file, the ports, the earlier. Two
    claims on one interface overlap whatever its addresses."""
    claims: dict[tuple[Family, object, str], list[PortClaim]] = {}
    number = 0
    for guest in guests:
        for forward in (*guest.forwards, *guest.by_interface):
            if forward.protocol == ALL_PROTOCOLS:
                continue
            number += 1
            ports = forward.published
            claim = PortClaim(ports.first, ports.last, number, guest, forward)
            for family, at in _places(guest, forward):
                claims.setdefault((family, at, forward.protocol), []).append(claim)
    for of_one_address in claims.values():
        for later, ports, first in _overlaps_of(of_one_address):
            both = later.forward.interface, first.forward.interface
            if not (later.forward.host_ip and both[0] and both[0] == both[1]):
                yield later, ports, first


def _places(
    guest: GuestForwards, forward: Forward
) -> Iterable[tuple[Family, Address | str | None]]:
    """Where the forward is published; an interface itself counts in each family in
    which its addresses would."""
    if forward.host_ip or not forward.interface:
        return forward.places()
    limits = [
        {str(one.version) for one in some}
        for some in (guest.addresses, forward.allow_from)
        if some
    ]
    return [(f, forward.interface) for f in BOTH if all(f in one for one in limits)]


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
            written = None if forward.interface else forward.host_ip
            if written is None or written in guest.public_ips:
                continue
            tenants.setdefault(written, []).append((guest, forward))
            if written in owners:
                owner = owners[written]
                whose = f"the public_ip of {show(owner.name)} ({owner.public_place})"
                yield Problem(forward.place, f"{written} is {whose}")


def _overlaps_of(
    claims: list[PortClaim],
) -> Iterable[tuple[PortClaim, PortRange, PortClaim]]:
    """The pairs among the claims on one address."""
    open_claims: list[PortClaim] = []
    last = 0
    for claim in sorted(claims, key=lambda c: c[:3]):
        if claim.first > last:
            open_claims, last = [claim], claim.last
            continue
        open_claims = [c for c in open_claims if c.last >= claim.first]
        for other in open_claims:
            first, later = sorted((claim, other), key=lambda c: c.number)
            yield later, PortRange(claim.first, min(claim.last, other.last)), first
        open_claims.append(claim)
        last = max(last, claim.last)


def _problem(
    later: PortClaim, taken: PortRange, first: PortClaim, why: str = ""
) -> Problem:
    """That ports are taken already."""
    verb = "are" if taken.last > taken.first else "is"
    by = f"{show(first.guest.name)} ({first.forward.place})"
    what = f"{_named(later.forward, taken)} {verb} taken by {by}"
    return Problem(later.forward.place, f"{what}; {why}" if why else what)


def _warning(later: PortClaim, taken: PortRange, first: PortClaim) -> Problem:
    """That a pattern and a guest which it does not match share ports."""
    by = f"{show(first.guest.name)}'s, too ({first.forward.place})"
    end = "whoever runs first has " + ("them" if taken.last > taken.first else "it")
    what = f"{_named(later.forward, taken)} may be {by}; {end}"
    return Problem(later.forward.place, what, is_warning=True)


def _named(forward: Forward, ports: PortRange) -> str:
    is_any = forward.host_ip and forward.host_ip.is_unspecified
    host = "" if is_any else str(forward.host_ip or forward.interface)
    host = f"{show(host)} " if host else ""
    word = "host ports" if ports.last > ports.first else "host port"
    return f"{word} {host}{forward.protocol}/{ports}"
