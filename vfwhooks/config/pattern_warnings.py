"""Warnings of `check` about patterns: what they open to everybody, those that match
nobody, and those that stand among the guests."""

from __future__ import annotations

from collections.abc import Iterable

from ..values.errors import show
from . import name_patterns
from .forwards import GuestForwards
from .yaml_nodes import Problem


def find_pattern_warnings(
    guests: Iterable[GuestForwards], known: Iterable[tuple[str, str]]
) -> list[Problem]:
    """A warning for each pattern with a port on every address, and for each guest with
    a name like a pattern; `known` are names and UUIDs of libvirt's guests, which get
    none."""
    there = {name for both in known for name in both}
    found: list[Problem] = []
    for guest in guests:
        if guest.is_pattern:
            found += _open(guest)
        elif name_patterns.is_pattern(guest.name) and guest.name not in there:
            what = f"a guest called {show(guest.name)}; is it a pattern? then it stands"
            what += " below patterns:"
            found.append(Problem(guest.place, what, is_warning=True))
    return found


def _open(pattern: GuestForwards) -> Iterable[Problem]:
    """That whoever is called so is open to everybody, at the first such port."""
    some = [
        one
        for one in pattern.forwards
        if one.host_ip is None or one.host_ip.is_unspecified
    ]
    for one in some[:1]:
        ports = {(other.protocol, other.published) for other in some}
        more = f" and {len(ports) - 1} more" if len(ports) > 1 else ""
        what = f"{show(pattern.name)} publishes {one.protocol}/{one.published}{more}"
        what += " on every address of the host, for the first guest that it matches"
        yield Problem(one.place, f"{what}; host_ip narrows it", is_warning=True)


def find_covered(patterns: list[GuestForwards]) -> Iterable[Problem]:
    """A warning for each pattern that comes too late: an earlier one matches all that
    it does."""
    places = {one.name: one.place for one in patterns}
    for name, earlier in name_patterns.find_covered([*places]).items():
        what = f"{show(name)} never counts: {show(earlier)} stands before it"
        cure = f"({places[earlier]}), and matches all that it does; write it above"
        yield Problem(places[name], f"{what} {cure}", is_warning=True)
