"""What `add`, `remove` and `edit` say of a guest that has its forwards by a pattern, or
gets them by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from ..config.entry_spelling import format_key
from ..config.forwards import Forward, GuestForwards
from ..config.matched_names import find_matching
from ..config.name_patterns import is_pattern
from ..config.schema import read_forwards
from ..config.yaml_nodes import Problem
from ..values.errors import VfwError, show

Known = Collection[tuple[str, str]]  # names and UUIDs of libvirt's guests
_EDIT = "vfwhooks edit"


def refuse_pattern(main: Path, guest: str, known: Known) -> None:
    """Raise VfwError where a pattern stands in the place of a guest's name, unless
    libvirt has such a guest, or the file does."""
    if not is_pattern(guest) or any(guest in both for both in known):
        return
    guests, _ = read_forwards(main)
    if any(one.name == guest and not one.is_pattern for one in guests):
        return
    places = [one.place for one in guests if one.name == guest]
    what = f"{show(guest)} is a pattern"
    if places:
        raise VfwError(f"{what}, in {places[0]}", f"change it with: {_EDIT}")
    raise VfwError(f"{what}, and stands below patterns:", f"write it with: {_EDIT}")


def refuse_removal(main: Path, guest: str, known: Known, typed: Sequence[str]) -> None:
    """Raise VfwError where the guest's forwards are those of a pattern; the line is
    shown."""
    pattern = find_matching(read_forwards(main)[0], *_both(guest, known))
    if pattern is None:
        return
    what = f"{show(guest)} has no entry of its own: it is {_where(pattern)}"
    lines = [
        f"{one.place.line}: {line}"
        for one in _asked(pattern, typed)[:1]
        if (line := _line_of(one.place.file, one.place.line))
    ]
    for_all = f"{_EDIT} changes that for all that it matches"
    alone = f"an entry below guests: is {show(guest)}'s alone"
    raise VfwError("; line ".join([what, *lines]), f"{for_all}; {alone}")


def _asked(pattern: GuestForwards, typed: Sequence[str]) -> list[Forward]:
    """The pattern's forwards that are meant; all of them where none is."""
    found = [
        one for one in pattern.forwards if str(one.published) in " ".join(typed).split()
    ]
    return found or list(pattern.forwards)


def _line_of(file: str, number: int) -> str:
    try:
        lines = Path(file).read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return show(lines[number - 1].strip()) if number <= len(lines) else ""


def tell_replaced(
    main: Path, edited: Mapping[Path, bytes], guest: str, known: Known
) -> str:
    """What a guest loses by its first entry of its own: what the pattern publishes and
    the entry does not; '' for nothing."""
    names = _both(guest, known)
    pattern = find_matching(read_forwards(main)[0], *names)
    if pattern is None:
        return ""
    after = [one for one in read_forwards(main, edited)[0] if not one.is_pattern]
    kept = {
        claim
        for one in after
        if one.name in names
        for forward in one.forwards
        for claim in forward.claims()
    }
    lost = [
        f"{one.protocol}/{one.published}"
        for one in pattern.forwards
        if not kept.issuperset(one.claims())
    ]
    what = f"{show(guest)} had its forwards {_where(pattern)}"
    what += "; an entry of its own counts in place of them"
    gone = ", ".join(dict.fromkeys(lost))
    return f"{what}: it loses {gone}" if gone else what


def find_opened(
    before: Sequence[GuestForwards],
    after: Sequence[GuestForwards],
    ask: Callable[[], Known],
) -> list[Problem]:
    """A warning for each guest that has an entry of its own no more, and so gets what a
    pattern publishes; `ask` for the guests of libvirt."""
    there = {one.name for one in after if not one.is_pattern}
    gone = [one.name for one in before if not one.is_pattern and one.name not in there]
    known = ask() if gone and len(there) < len(after) else ()
    found = []
    for name, uuid in (_both(guest, known) for guest in gone):
        pattern = find_matching(after, name, uuid)
        if pattern is None or not pattern.forwards:
            continue
        ports = [f"{one.protocol}/{one.published}" for one in pattern.forwards]
        what = f"{show(name)} has no entry of its own now, and gets "
        what += f"{', '.join(dict.fromkeys(ports))} by the pattern {show(pattern.name)}"
        cure = f"'{format_key(name)}: []' below guests: keeps it without"
        found.append(Problem(pattern.place, f"{what}; {cure}", is_warning=True))
    return found


def _both(guest: str, known: Known) -> tuple[str, str]:
    """Name and UUID of a guest that is named by one of them."""
    return next((both for both in known if guest in both), (guest, ""))


def _where(pattern: GuestForwards) -> str:
    return f"by the pattern {show(pattern.name)} ({pattern.place})"
