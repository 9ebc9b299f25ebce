"""forwards.yaml made from imported forwards: what the checker would refuse, and what
names no guest, stands in comments with the reason. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config.entry_spelling import format_key
from ..config.schema import read_forwards
from ..config.yaml_nodes import Problem
from ..values.errors import VfwError, show
from ..values.published import find_address
from .asked_first import Unbound, is_of_family, is_refusing
from .imported import Found, Imported, Left
from .settled_forwards import Known, settled, spell

_NAME = Path("/dev/null/forwards.yaml")  # no forwards.d can stand beside it
_PLACE = re.compile(rf"{re.escape(str(_NAME))}:(\d+)(?::\d+)?")
_EVERYWHERE = {4: "0.0.0.0", 6: "::"}


@dataclass
class _Guest:
    """A guest's part of the file; `public` is a whole address that leads to it."""

    forwards: list[Imported] = field(default_factory=list)
    public: Imported | None = None
    addresses: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """The text, and how much is in it; `there` was in other files already."""

    text: str
    forwards: int
    guests: int
    left: tuple[Left, ...]
    carried: tuple[Imported, ...] = ()
    there: tuple[Imported, ...] = ()


def make_file(
    found: Found,
    known: Known,
    source: str,
    is_there: Callable[[Imported], bool] = lambda _: False,
) -> Made:
    """The text of a forwards.yaml in which `check` finds nothing wrong."""
    left = list(found.left)
    carried: list[Imported] = []
    there: list[Imported] = []
    unbound = Unbound()
    for forward in found.forwards:
        try:
            one = settled(forward, known, unbound)
        except VfwError as error:
            left.append(Left(forward.origin, str(error)))
            continue
        (there if is_there(one) else carried).append(one)
        unbound.add(one)
    bad = list(_refusing(carried, unbound))
    while True:
        left += [Left(one.origin, why) for one, why in bad]
        gone = {id(one) for one, _ in bad}
        carried = [one for one in carried if id(one) not in gone]
        page = _Page(carried, source)
        bad = page.refused or page.blamed(_check(page.text([], found.notes)))
        if not bad:
            break
    left = sorted(dict.fromkeys(left), key=lambda one: _order(one.origin.where))
    text = page.text(left, found.notes)
    size = len(carried), len(page.guests)
    return Made(text, *size, tuple(left), tuple(carried), tuple(there))


def _refusing(
    some: Iterable[Imported], unbound: Unbound
) -> Iterator[tuple[Imported, str]]:
    """Those that would refuse clients of others, each with its reason."""
    for one in some:
        for other in unbound.near(one):
            if is_refusing(one, other):
                whose = f"{other.origin.where} serves all others there"
                yield one, f"{whose}, and forwards.yaml would refuse them"
                break


def _order(where: str) -> list[tuple[int, str]]:
    """Numbers in a place by what they are worth."""
    parts = re.split(r"(\d+)", where)
    return [(int(one), "") if one.isdecimal() else (0, one) for one in parts]


def _check(text: str) -> list[Problem]:
    _, problems = read_forwards(_NAME, {_NAME: text.encode()})
    return [one for one in problems if not one.is_warning]


def _is_twin(one: Imported, other: Imported) -> bool:
    """Whether the other one is the same for the other family."""
    if is_of_family(one.address, other.address) or not other.address:
        return False
    same = ("published", "target", "protocols", "host_ips", "allow_from")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def _said(one: Imported) -> str:
    """Where a forward comes from, and what there is to say of it, as a comment."""
    return show("; ".join((one.origin.where, *one.notes)))


class _Page:
    """The file, line by line; which line comes from which forward is known."""

    def __init__(self, carried: Sequence[Imported], source: str) -> None:
        self.guests: dict[str, _Guest] = {}
        self.refused: list[tuple[Imported, str]] = []
        self._lines: list[str] = []
        self._from: dict[int, Imported] = {}
        self._source = source
        for one in carried:
            self._sort_in(one)

    def _sort_in(self, one: Imported) -> None:
        guest = self.guests.setdefault(one.guest, _Guest())
        found = find_address(one.address)
        if found:
            has = guest.addresses.setdefault(found.version, one.address)
            if has != one.address:
                what = f"{show(one.guest)} is at {has} here, and not at {one.address}"
                self.refused.append((one, f"{what} as well"))
                return
        if not one.published and not guest.public and not guest.forwards:
            guest.public = one
        elif not one.published or guest.public:
            what = "a whole address and single ports of one guest do not go together"
            self.refused.append((one, what))
        else:
            guest.forwards.append(one)

    def text(self, left: Sequence[Left], notes: Iterable[str]) -> str:
        """All of it."""
        self._lines, self._from = [], {}
        self._say(f"# Made by vfwhooks import from {show(self._source)}.")
        for note in notes:
            self._say(f"# {show(note)}")
        self._say("guests:" if self.guests else "guests: {}")
        for name, guest in self.guests.items():
            self._guest(name, guest)
        if left:
            self._say("", "# Not carried over:")
        for one in left:
            self._say(f"#   {show(one.origin.where)}: {show(one.why)}")
            if one.origin.text:
                self._say(f"#     {show(one.origin.text)}")
        return "\n".join(self._lines) + "\n"

    def _say(self, *lines: str, of: Imported | None = None) -> None:
        for line in lines:
            self._lines.append(line)
            if of:
                self._from[len(self._lines)] = of

    def _guest(self, name: str, guest: _Guest) -> None:
        first = guest.public or guest.forwards[0]
        has_keys = bool(guest.addresses or guest.public)
        self._say(f"  {format_key(name)}:", of=first)
        deep = "    "
        if has_keys and guest.forwards:
            self._say("    ports:", of=first)
            deep = "      "
        said: dict[str, int] = {}
        for one in guest.forwards:
            self._forward(one, guest, deep, said)
        if guest.public:
            self._public(guest.public)
        if guest.addresses:
            shown = [f'"{a}"' if ":" in a else a for a in guest.addresses.values()]
            value = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
            self._say(f"    address: {value}", of=first)

    def _forward(
        self, one: Imported, guest: _Guest, deep: str, said: dict[str, int]
    ) -> None:
        """Its entries, each for the family of the source's rule alone; where one is
        there already (`said`, with its line), the place stands beside the other's."""
        bound = one
        is_of_both = len(guest.addresses) > 1 and any(
            _is_twin(one, other) for other in guest.forwards
        )
        if one.address and not one.host_ips and not is_of_both:
            every = _EVERYWHERE[6 if ":" in one.address else 4]
            bound = replace(one, host_ips=(every,))
        entries = [spell(bound, protocol) for protocol in one.protocols]
        fresh = [entry for entry in entries if entry not in said]
        for entry in fresh:
            said[entry] = len(self._lines)
            self._say(f"{deep}- {entry}  # {_said(one)}", of=one)
        if not fresh:
            self._lines[said[entries[0]]] += f"; also {show(one.origin.where)}"

    def _public(self, one: Imported) -> None:
        host = f'"{one.host_ips[0]}"' if ":" in one.host_ips[0] else one.host_ips[0]
        self._say(f"    public_ip: {host}  # {_said(one)}", of=one)
        if not one.is_outgoing:
            self._say("    outgoing: false", of=one)
        if one.allow_from:
            shown = [f'"{a}"' if ":" in a else a for a in one.allow_from]
            self._say(f"    allow_from: [{', '.join(shown)}]", of=one)

    def blamed(self, problems: Iterable[Problem]) -> list[tuple[Imported, str]]:
        """The forwards that the problems are about, each with its reason."""
        found: dict[int, tuple[Imported, str]] = {}
        for problem in problems:
            one = self._from.get(problem.place.line)
            if one is None:
                raise VfwError(f"what would be written is no forwards.yaml: {problem}")
            found.setdefault(id(one), (one, self._in_sources(problem.message)))
        return list(found.values())

    def _in_sources(self, message: str) -> str:
        """A problem's message with places of the source in place of ours."""

        def place(match: re.Match[str]) -> str:
            one = self._from.get(int(match[1]))
            return one.origin.where if one else "this file"

        return _PLACE.sub(place, message)
