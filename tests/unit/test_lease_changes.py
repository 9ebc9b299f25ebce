"""lease_changes: what changed in dnsmasq's leases since the last look."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from unittest.mock import patch

import pytest

from unit.builders import MAC, OTHER_MAC, addresses
from vfwhooks.config.value_syntax import Address
from vfwhooks.service.lease_changes import LeaseChanges
from vfwhooks.store import files

NAME = "virbr0.status"


def said(news: set[tuple[str, Address]]) -> set[tuple[str, str]]:
    """MACs with addresses as text."""
    return {(mac, str(address)) for mac, address in news}


def write(directory: Path, *known: object) -> None:
    """A status file of these leases."""
    (directory / NAME).write_text(json.dumps(list(known)))


def lease(address: str, mac: str = MAC, expiry: int = 1) -> object:
    """A lease as dnsmasq's helper writes it."""
    return {"ip-address": address, "mac-address": mac, "expiry-time": expiry}


def test_news_are_what_was_not_there(tmp_path: Path) -> None:
    """A lease that comes, or changes; not one that stays or goes."""
    leases = LeaseChanges(str(tmp_path))
    write(tmp_path, lease("10.0.0.1"), lease("10.0.0.2", OTHER_MAC.upper()))
    first = leases.news(NAME)
    write(tmp_path, lease("10.0.0.1"), lease("10.0.0.3", OTHER_MAC))
    second = leases.news(NAME)
    write(tmp_path)

    third = leases.news(NAME)

    assert (said(first), said(second), said(third)) == (
        {(MAC, "10.0.0.1"), (OTHER_MAC, "10.0.0.2")},
        {(OTHER_MAC, "10.0.0.3")},
        set(),
    )


def test_a_lease_that_comes_back(tmp_path: Path) -> None:
    """It was gone, so it is news."""
    leases = LeaseChanges(str(tmp_path))
    found = []
    for known in ([lease("10.0.0.1")], [], [lease("10.0.0.1")]):
        write(tmp_path, *known)
        found.append(len(leases.news(NAME)))

    assert found == [1, 0, 1]


LATER = 1 << 40


@pytest.mark.parametrize(
    ("before", "now", "is_news"),
    [
        (1, LATER, True),
        (1, 0, True),
        (1, 2, True),
        (1, 1, False),
        (2, 1, False),
        (LATER, LATER + 1, False),
        (LATER, 0, False),
        (0, LATER, False),
        (0, 0, False),
    ],
)
def test_a_lease_that_is_renewed(
    tmp_path: Path, before: int, now: int, is_news: bool
) -> None:
    """In time, this is no news; a lease that was over on file is as good as another."""
    leases = LeaseChanges(str(tmp_path))
    found = []
    for expiry in (before, now):
        write(tmp_path, lease("10.0.0.1", expiry=expiry))
        found.append(len(leases.news(NAME)))

    assert found == [1, is_news]


def test_leases_that_have_gone(tmp_path: Path) -> None:
    """Of the file of the last look alone, and not while it is being written."""
    leases = LeaseChanges(str(tmp_path))
    write(tmp_path, lease("10.0.0.1"), lease("10.0.0.2", OTHER_MAC))
    found = []
    for text in (None, "[", "[]", "[]"):
        if text:
            (tmp_path / NAME).write_text(text)
        leases.news(NAME)
        found.append(said(leases.gone))

    both = {(MAC, "10.0.0.1"), (OTHER_MAC, "10.0.0.2")}
    assert found == [set(), set(), both, set()]


def test_each_bridge_has_its_own(tmp_path: Path) -> None:
    """The same lease on another bridge is another."""
    leases = LeaseChanges(str(tmp_path))
    write(tmp_path, lease("10.0.0.1"))
    leases.news(NAME)
    (tmp_path / NAME).rename(tmp_path / "virbr1.status")

    found = leases.news("virbr1.status")

    assert said(found) == {(MAC, "10.0.0.1")}


@pytest.mark.parametrize("text", ["", "[", "{}", "7", "[1, null]", '"x"', "\udcff"])
def test_a_file_without_leases(tmp_path: Path, text: str) -> None:
    """In the middle of being written, or of another shape: no news, no error."""
    (tmp_path / NAME).write_text(text, errors="surrogateescape")

    found = LeaseChanges(str(tmp_path)).news(NAME)

    assert found == set()


@pytest.mark.parametrize("expiry", [{}, {"expiry-time": "1"}, {"expiry-time": None}])
def test_what_counts_for_nobody(tmp_path: Path, expiry: dict[str, object]) -> None:
    """What is no lease for whoever looks for a guest's address is no news either."""
    write(tmp_path, {"ip-address": "10.0.0.1", "mac-address": MAC, **expiry})

    found = LeaseChanges(str(tmp_path)).news(NAME)

    assert found == set()


def test_a_link(tmp_path: Path) -> None:
    """An administrator's dnsmasq may keep its leases elsewhere."""
    write(tmp_path, lease("10.0.0.1"))
    (tmp_path / "other.status").symlink_to(NAME)

    found = LeaseChanges(str(tmp_path)).news("other.status")

    assert said(found) == {(MAC, "10.0.0.1")}


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """No file at all: no news, no error."""
    (tmp_path / NAME).mkdir()

    found = LeaseChanges(str(tmp_path)).news(NAME)

    assert found == set()


def test_no_file(tmp_path: Path) -> None:
    """A network that is gone."""
    found = LeaseChanges(str(tmp_path)).news(NAME)

    assert found == set()


def test_a_half_written_file_is_not_remembered(tmp_path: Path) -> None:
    """What was known before it is no news after it."""
    leases = LeaseChanges(str(tmp_path))
    write(tmp_path, lease("10.0.0.1"))
    leases.news(NAME)
    (tmp_path / NAME).write_text("[")
    leases.news(NAME)
    write(tmp_path, lease("10.0.0.1"))

    found = leases.news(NAME)

    assert found == set()


def test_dnsmasqs_own_file(tmp_path: Path) -> None:
    """Before libvirt 1.2.6 there is no other; its news are found the same way."""
    leases = LeaseChanges(str(tmp_path))
    file = tmp_path / "default.leases"
    file.write_text(f"1 {MAC} 10.0.0.1 web1 *\n")
    first = leases.news("default.leases")
    file.write_text(f"1 {MAC} 10.0.0.1 web1 *\n1 {OTHER_MAC} 10.0.0.2 * *\n")

    second = leases.news("default.leases")

    assert (said(first), said(second)) == (
        {(MAC, "10.0.0.1")},
        {(OTHER_MAC, "10.0.0.2")},
    )


def test_addresses_that_were_seen(tmp_path: Path) -> None:
    """Those of one MAC in all files, as they were at the last look."""
    leases = LeaseChanges(str(tmp_path))
    write(tmp_path, lease("10.0.0.1"), lease("10.0.0.2", OTHER_MAC))
    leases.news(NAME)
    (tmp_path / "b.leases").write_text(f"1 {MAC} 10.0.1.1 web1 *\n")
    leases.news("b.leases")
    write(tmp_path, lease("10.0.0.3"))

    found = leases.of(MAC), leases.of("52:54:00:00:00:99")

    assert found == (addresses("10.0.0.1", "10.0.1.1"), [])


def test_leases_in_a_moment_without_descriptors(tmp_path: Path) -> None:
    """The caller hears of it, and they are news afterwards."""
    leases = LeaseChanges(str(tmp_path))
    write(tmp_path, lease("10.0.0.1"))
    none = OSError(errno.EMFILE, "Too many open files")
    with patch.object(files, "read", side_effect=none), pytest.raises(OSError):
        leases.news(NAME)

    assert said(leases.news(NAME)) == {(MAC, "10.0.0.1")}
