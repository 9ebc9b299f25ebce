"""stale_connections: what is noted of a change, to have connections cut for it."""

from __future__ import annotations

import pytest

from unit.builders import parsed, record, written
from vfwhooks.reconcile.stale_connections import (
    beside,
    cut_text,
    find_stale,
    may_leave_stale,
    on_addresses,
    parse_cut,
)
from vfwhooks.store.records import Record

GUEST, OTHER, HOST = "192.168.122.10", "192.168.122.11", "203.0.113.1"
BRIDGE, PUBLIC = "192.168.122.1", "203.0.113.7"
WAY_OUT = f"snat 4 {GUEST} {PUBLIC}"
IN = f"dnat 4 {PUBLIC} all 0 65535 {GUEST} 0"


@pytest.mark.parametrize(
    ("removed", "added", "expected"),
    [
        ([], [], False),
        ([WAY_OUT], [], True),
        ([], [WAY_OUT], True),
        ([IN], [], True),
        ([], [IN], True),
        ([], ["reject 4 * udp 53 53"], True),
        ([], ["reject 4 * tcp 53 53"], False),
        ([], [f"dnat 4 * tcp 80 80 {GUEST} 80"], False),
        ([], [f"dnat 4 * sctp 80 80 {GUEST} 80"], False),
        ([], [f"dnat 4 * udp 53 53 {GUEST} 53"], True),
        ([f"dnat 4 * tcp 80 80 {GUEST} 80"], [], True),
        ([f"accept 4 {GUEST}"], [f"left 4 {BRIDGE} udp 53 53"], False),
        ([], [f"accept 4 {GUEST}"], False),
    ],
)
def test_when_connections_are_looked_at(
    removed: list[str], added: list[str], expected: bool
) -> None:
    """A look takes the kernel 9 ms: not for a start that only adds TCP."""
    found = may_leave_stale(parsed(*removed), parsed(*added))

    assert found == expected


def test_entries_beside_those_that_are_removed() -> None:
    """Those of the same guest; one that is removed and put in again is another's."""
    gone = [f"dnat 4 * tcp {port} {port} {GUEST} 80" for port in (80, 81)]
    kept = f"dnat 4 * tcp 82 82 {GUEST} 80"
    held = [gone[1], kept, f"dnat 4 * tcp 83 83 {OTHER} 80", f"accept 4 {GUEST}"]

    accept, now = parsed(f"accept 4 {GUEST}"), parsed(*held)

    found = beside([*parsed(*gone), *accept], now)

    assert (written(found), beside(accept, now)) == ([kept], [])


def test_entries_on_an_address_that_an_added_one_takes_over() -> None:
    """Those that were there before, and those that come with it; of other addresses
    none, and none for TCP's sake."""
    added = [f"reject 4 {PUBLIC} all 0 65535", f"dnat 4 {PUBLIC} udp 53 53 {GUEST} 53"]
    gone = f"dnat 4 {PUBLIC} udp 54 54 {GUEST} 54"
    older = f"dnat 4 {PUBLIC} tcp 80 80 {GUEST} 80"
    now = parsed(*added, gone, older, f"dnat 4 * udp 55 55 {GUEST} 55")
    tcp = f"dnat 4 {PUBLIC} tcp 90 90 {GUEST} 90"

    found = [
        written(on_addresses(parsed(*some), parsed(gone), now))
        for some in (added, [tcp], [f"dnat 4 * udp 55 55 {GUEST} 55"])
    ]

    assert found == [[added[1], older], [], []]


def test_what_is_to_be_cut() -> None:
    """Reads as it was written down."""
    removed = parsed("dnat 4 * tcp 80 80 192.168.122.10 80")
    added = parsed("left 4 * udp 53 53")
    stay = parsed("dnat 4 * tcp 80 90 192.168.122.10 80")

    found = parse_cut(cut_text(removed, added, stay))

    assert found == (removed, added, stay)


@pytest.mark.parametrize("text", ["", "- dnat 4 * tcp 80 80 192.168.122.10 80\n"])
def test_what_is_not_whole(text: str) -> None:
    """Is refused, like any record."""
    with pytest.raises(ValueError, match="is not the head of a whole record"):
        parse_cut(text)


WEB = f"dnat 4 * tcp 8080 8080 {GUEST} 80"
TLS = f"dnat 4 * tcp 8443 8443 {GUEST} 443"
ACCEPT = f"accept 4 {GUEST}"


def away() -> Record:
    """A guest that is being migrated, and was forwarded to."""
    found = record(entries=[ACCEPT])
    found.is_away, found.left = True, parsed(WEB)
    return found


def test_connections_of_a_guest_that_leaves_stay() -> None:
    """Its migration may fail."""
    found = find_stale([(record(entries=[WEB, ACCEPT]), away())], parsed(WEB, TLS))

    assert written(found) == [TLS]


def test_connections_of_a_guest_that_has_left_are_stale() -> None:
    """It has stopped here."""
    found = find_stale([(away(), None)], parsed(ACCEPT))

    assert written(found) == [ACCEPT, WEB]


def test_connections_of_a_guest_that_has_stayed() -> None:
    """Those of what is forwarded again go on; what is not any more is stale."""
    before = away()
    before.left += parsed(TLS)

    found = find_stale([(before, record(entries=[WEB, ACCEPT]))], [])

    assert written(found) == [TLS]
