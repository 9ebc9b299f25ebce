"""Ports that several guests may want in turn: those of a pattern. The first guest that
runs has them. Pure."""

from __future__ import annotations

from dataclasses import replace

from ..values.errors import show
from .forwards import Forward, GuestForwards
from .name_patterns import matches


def mark_shared(guests: list[GuestForwards]) -> list[GuestForwards]:
    """The guests, marked where a pattern has a port of theirs, too; so is each
    pattern."""
    patterns = [guest for guest in guests if guest.is_pattern]
    if not patterns:
        return guests
    published = {
        claim
        for pattern in patterns
        for forward in pattern.forwards
        for claim in forward.claims()
    }
    return [
        replace(guest, is_shared=True)
        if guest.is_pattern
        or any(claim in published for one in guest.forwards for claim in one.claims())
        else guest
        for guest in guests
    ]


def find_hindrance(
    one: GuestForwards, its: Forward, other: GuestForwards, others: Forward
) -> str:
    """Why a pattern and another guest or pattern cannot share overlapping ports; '' if
    they can."""
    if its.published != others.published:
        return "only the same ports can be shared, not a part of them"
    for guest in (one, other):
        if guest.is_claimed:
            return f"with when_stopped: reject they are {show(guest.name)}'s alone"
    return ""


def is_surprise(one: GuestForwards, other: GuestForwards) -> bool:
    """Whether a pattern shares ports with a named guest that it does not match: a guest
    that it does match has its own entry in place of the pattern's."""
    if one.is_pattern and other.is_pattern:
        return False
    pattern, guest = (one, other) if one.is_pattern else (other, one)
    return not matches(pattern.name, guest.name)
