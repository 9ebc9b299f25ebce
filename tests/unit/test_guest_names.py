"""guest_names: names that are not meant as such, and two names of one guest."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import pytest

from unit.builders import OTHER_UUID, UUID, guest_forwards, place
from vfwhooks.config.forwards import GuestForwards
from vfwhooks.config.forwards_keys import DEFAULTS, DOCUMENT, GUEST, PORT
from vfwhooks.config.guest_names import (
    find_misnamed,
    find_strangers,
    find_twins,
)
from vfwhooks.libvirt.client import guests_known_soon
from vfwhooks.values.errors import VfwError


def named(*names: str) -> list[GuestForwards]:
    """Guests of these names, one a line from line 2 on."""
    return [
        replace(guest_forwards(name), place=place(line, 3))
        for line, name in enumerate(names, 2)
    ]


@pytest.mark.parametrize("key", sorted({*DOCUMENT, *DEFAULTS, *GUEST, *PORT}))
def test_every_key_is_one_that_may_be_misplaced(key: str) -> None:
    """A guest that is called like it is asked about, whatever level the key is of."""
    found = find_misnamed(named("web1", key))

    assert [problem.place for problem in found] == [place(3, 3)]


def test_a_guest_called_like_a_key() -> None:
    """The guest above it is named, which is none of those that are asked about, and
    none of another file."""
    other = replace(guest_forwards("network"), place=place(2, 3, "b.yaml"))

    found = find_misnamed([*named("ports", "web\x1b", "Target", "address"), other])

    shown = "web\\x1b"
    assert list(map(str, found)) == [
        "forwards.yaml:2:3: warning: a guest called ports; "
        "is this a key of a guest? then indent it",
        "forwards.yaml:4:3: warning: a guest called Target; "
        f"is this a key of a port of {shown}? then indent it",
        "forwards.yaml:5:3: warning: a guest called address; "
        f"is this a key of {shown}? then indent it",
        "b.yaml:2:3: warning: a guest called network; "
        "is this a key of a guest? then indent it",
    ]


def test_a_guest_that_is_called_so() -> None:
    """Nothing is said of a name that libvirt has."""
    found = find_misnamed(named("web1", "network", "target"), {("network", UUID)})

    assert [problem.place.line for problem in found] == [4]


@pytest.mark.parametrize(
    ("first", "later"), [("web1", UUID), (UUID, "web1"), ("we\x1bb", UUID)]
)
def test_one_guest_under_two_names(first: str, later: str) -> None:
    """A warning at the place of the second, with that of the first."""
    name = first if later == UUID else later
    known = {(name, UUID), ("web2", OTHER_UUID)}

    found = find_twins(named(first, "web2", later), known)

    shown = first.replace("\x1b", "\\x1b")
    where = f"{shown}, which stands in forwards.yaml:2:3 already"
    said = f"warning: {later} is {where}: one guest; write it once"
    assert list(map(str, found)) == [f"forwards.yaml:4:3: {said}"]


def test_guests_under_one_name_each() -> None:
    """Nothing is said of one that stands once, of others' UUIDs, or of a guest whose
    UUID is its name."""
    known = {("web1", UUID), ("web2", OTHER_UUID), ("x", "x")}

    found = find_twins(named("web1", OTHER_UUID, "x"), known)

    assert found == []


def test_two_drivers_with_a_guest_of_one_name() -> None:
    """Each of their UUIDs is that name's."""
    known = {("web1", UUID), ("web1", OTHER_UUID)}

    found = find_twins(named("web1", UUID, OTHER_UUID), known)

    assert sorted(problem.place.line for problem in found) == [3, 4]


KNOWN = {("web1", UUID), ("mail", OTHER_UUID)}


def strangers(*names: str, elsewhere: str = "") -> list[str]:
    """What is said of these guests where libvirt has web1 and mail."""
    found = find_strangers(named(*names), KNOWN, [elsewhere])
    return [str(problem) for problem in found]


def test_a_name_that_is_nearly_a_guests() -> None:
    """The guest that is meant is named, at the place of the one that is not."""
    what = "warning: libvirt has no guest web; did you mean web1"

    assert strangers("web") == [f"forwards.yaml:2:3: {what}"]


@pytest.mark.parametrize(
    "names", [["db"], ["web1", "web"], [UUID, "web"], ["mail", OTHER_UUID]]
)
def test_a_name_that_is_nobodys(names: list[str]) -> None:
    """Nothing is said of one that is like no other, or like one that stands in the file
    already, by its name or by its UUID."""
    assert strangers(*names) == []


def test_a_guest_of_another_libvirt() -> None:
    """A guest in qemu:///session is there, if not for us."""
    assert strangers("web", elsewhere="web") == []


def test_a_libvirt_that_has_not_said() -> None:
    """Where nobody is known, nobody is strange."""
    assert find_strangers(named("web"), set()) == []


def test_a_libvirtd_that_answers() -> None:
    """What it knows."""
    found = guests_known_soon(60, lambda: {("web1", UUID)})

    assert found == {("web1", UUID)}


def test_a_libvirtd_that_hangs_or_is_none() -> None:
    """Nothing is known, and nobody waits for it."""
    done = Event()

    def hang() -> set[tuple[str, str]]:
        done.wait(600)
        return {("web1", UUID)}

    def fail() -> set[tuple[str, str]]:
        raise VfwError("libvirt-python: no module")

    found = [guests_known_soon(0.01, hang), guests_known_soon(60, fail)]
    done.set()

    assert found == [set(), set()]
