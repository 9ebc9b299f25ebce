"""The pattern by which a guest has its forwards, among what the files say now. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from .forwards import GuestForwards
from .name_patterns import matches


def find_matching(
    guests: Iterable[GuestForwards], name: str, uuid: str = ""
) -> GuestForwards | None:
    """The first pattern that matches the guest's name; None if it has an entry of its
    own, by its name or UUID, or if no pattern does."""
    found = None
    for guest in guests:
        if not guest.is_pattern:
            if guest.name in (name, uuid):
                return None
        elif found is None and matches(guest.name, name):
            found = guest
    return found


def named(guests: Iterable[GuestForwards]) -> list[GuestForwards]:
    """The guests that are named, without the patterns."""
    return [guest for guest in guests if not guest.is_pattern]
