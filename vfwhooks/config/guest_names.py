"""Warnings about guests' names in forwards.yaml: a name that looks like a key, a name
that is nearly a guest's, or two names of one guest. They are no errors, since only
libvirt knows which guests exist.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from ..values.errors import show
from .forwards import GuestForwards
from .forwards_keys import DEFAULTS, DOCUMENT, GUEST, PORT
from .yaml_nodes import Place, Problem

_NEAR = 0.75  # of 1: two letters of four that changed places
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find_misnamed(
    guests: Iterable[GuestForwards], known: Iterable[tuple[str, str]] = ()
) -> list[Problem]:
    """A warning for each guest with the name of a key, which is often a key with too
    little indentation. `known` are names and UUIDs of libvirt's guests; these get no
    warning."""
    there = {name for both in known for name in both}
    found, above, file = [], "", ""
    for guest in guests:
        if guest.place.file != file:
            above, file = "", guest.place.file
        key = guest.name.lower().replace("-", "_")
        if key not in (*DOCUMENT, *DEFAULTS, *GUEST, *PORT):
            above = guest.name
        elif guest.name not in there:
            what = f"a guest called {show(guest.name)}; {_meant(key, above)}"
            found.append(Problem(guest.place, what, is_warning=True))
    return found


def _meant(key: str, above: str) -> str:
    if key in DOCUMENT:
        return "is this the file's own key? then it begins in column 1"
    of = show(above) if above else "a guest"
    if key not in GUEST:
        of = f"a port of {of}"
    return f"is this a key of {of}? then indent it"


def find_twins(
    guests: Iterable[GuestForwards], known: Iterable[tuple[str, str]]
) -> list[Problem]:
    """A warning for each guest under its name and its UUID, at the second place;
    `known` are names and UUIDs of libvirt's guests."""
    places: dict[str, tuple[int, Place]] = {}
    for number, guest in enumerate(guests):
        places.setdefault(guest.name, (number, guest.place))
    found = []
    for name, uuid in sorted(set(known)):
        if name != uuid and name in places and uuid in places:
            first, later = sorted((name, uuid), key=lambda one: places[one][0])
            where = f"{show(first)}, which stands in {places[first][1]} already"
            what = f"{show(later)} is {where}: one guest; write it once"
            found.append(Problem(places[later][1], what, is_warning=True))
    return found


def find_strangers(
    guests: Iterable[GuestForwards],
    known: Collection[tuple[str, str]],
    elsewhere: Iterable[str] = (),
) -> list[Problem]:
    """A warning for each guest that libvirt does not have, if libvirt has a guest with
    nearly that name, and the file does not name this guest. `known` are names and UUIDs
    of libvirt's guests (none: libvirt did not answer), `elsewhere` are names of guests
    of other libvirts on this host."""
    guests = list(guests)
    written = {guest.name for guest in guests}
    there = {word for both in known for word in both}.union(elsewhere)
    free = sorted(name for name, uuid in known if not {name, uuid} & written)
    found = []
    for guest in guests if free else ():
        near = [] if guest.name in there else find_near(guest.name, free)
        if near:
            meant = names_near(guest.name, near)
            what = f"libvirt has no guest {show(guest.name)}; {meant}"
            found.append(Problem(guest.place, what, is_warning=True))
    return found


def find_near(name: str, names: Iterable[str]) -> list[str]:
    """The one of the names that is most like a misspelt name, in letters of either
    size, if one is."""
    by_lower = {one.lower(): one for one in names}
    near = get_close_matches(name.lower(), by_lower, 1, _NEAR)
    return [by_lower[one] for one in near]


def find_other_name(
    name: str, known: Iterable[tuple[str, str]], there: Collection[str]
) -> str:
    """The UUID of a guest by its name, or its name by its UUID, if it is there by that;
    '' if it is not. `known` are names and UUIDs of libvirt's guests."""
    others = (word for both in known if name in both for word in both)
    return next((word for word in others if word != name and word in there), "")


def is_uuid(name: str) -> bool:
    """Whether the name is a UUID in libvirt's spelling."""
    return bool(_UUID.fullmatch(name))


def find_stranger(name: str, known: Iterable[tuple[str, str]]) -> str:
    """What is to be said of a guest that libvirt does not know, by its name or UUID;
    '' of one that it does, or if `known` is nobody, since then it has not answered."""
    known = list(known)
    if not known or any(name in both for both in known):
        return ""
    near = names_near(name, [one for one, _ in known])
    cure = near or "virsh list --all shows who there is"
    return f"libvirt has no guest {show(name)}; {cure}"


def names_near(name: str, names: Iterable[str]) -> str:
    """Which one of the names may be meant; '' if none is near."""
    return "".join(f"did you mean {show(one)}" for one in find_near(name, names))
