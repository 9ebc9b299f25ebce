"""Who claims which host port: two claims on one address and port are a conflict.

A port bound to an address and the same port on every address may stand side by side:
the bound one wins.
"""

from __future__ import annotations

from collections.abc import Iterable

from .config import Problem
from .errors import show
from .forwards import Forward, GuestForwards
from .ports import Ports

Claim = tuple[int, int, int, GuestForwards, Forward]


def find_conflicts(guests: Iterable[GuestForwards]) -> list[Problem]:
    """A problem for every forward whose port an earlier one has."""
    claims: dict[tuple[int, str, str], list[Claim]] = {}
    number = 0
    for guest in guests:
        for forward in guest.forwards:
            number += 1
            ports = forward.published
            for family, host in forward.claims():
                claims.setdefault((family, host, forward.protocol), []).append(
                    (ports.first, ports.last, number, guest, forward)
                )
    found: dict[int, Problem] = {}
    for of_one_address in claims.values():
        for later, taken, first in _overlaps(of_one_address):
            found.setdefault(later[2], _problem(later, taken, first))
    return list(found.values())


def _overlaps(claims: list[Claim]) -> Iterable[tuple[Claim, Ports, Claim]]:
    """Pairs of overlapping claims: the later in the file, the ports, the earlier."""
    open_claims: list[Claim] = []
    for claim in sorted(claims, key=lambda c: c[:3]):
        open_claims = [c for c in open_claims if c[1] >= claim[0]]
        for other in open_claims:
            later, first = (claim, other) if claim[2] > other[2] else (other, claim)
            yield later, Ports(claim[0], min(claim[1], other[1])), first
        open_claims.append(claim)


def _problem(later: Claim, taken: Ports, first: Claim) -> Problem:
    forward = later[4]
    bound = forward.host_ip and not forward.host_ip.is_unspecified
    host = f"{forward.host_ip} " if bound else ""
    ports = f"host ports {host}" if taken.last > taken.first else f"host port {host}"
    verb = "are" if taken.last > taken.first else "is"
    by = show(first[3].name)
    return Problem(
        forward.place, f"{ports}{forward.protocol}/{taken} {verb} taken by {by}"
    )
