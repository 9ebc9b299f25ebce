"""conflicts: two claims on one host address and port are a conflict."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY, forward, guest_forwards, place
from vfwhooks.config.conflicts import find_conflicts
from vfwhooks.config.forwards import Forward
from vfwhooks.config.value_syntax import PortRange

HOSTS = [None, "0.0.0.0", "::", "203.0.113.5", "203.0.113.6", "2001:db8::5"]
TAKEN = "taken by g1 (forwards.yaml:1:1)"


def at(number: int, host: str | None, protocol: str, first: int, more: int) -> Forward:
    """The forward of this number in a file: it stands in the line of that number."""
    address = ip_address(host) if host else None
    ports = PortRange(first, first + more)
    return Forward(address, protocol, ports, ports, (), place(number))


def conflicts(*forwards: Forward) -> list[str]:
    """What is said of the forwards of guests that are called by their lines."""
    guests = [guest_forwards(f"g{f.place.line}", f) for f in forwards]
    return [str(problem) for problem in find_conflicts(guests)[1]]


def addresses_and_ports(forward: Forward) -> set[tuple[str, str, int]]:
    """Everything a forward claims, one by one: brute force."""
    hosts = {None: ("any4", "any6"), "0.0.0.0": ("any4",), "::": ("any6",)}
    given = str(forward.host_ip) if forward.host_ip else None
    return {
        (host, forward.protocol, port)
        for host in hosts.get(given, (str(given),))
        for port in range(forward.published.first, forward.published.last + 1)
    }


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            (1, None, "tcp", 80, 0),
            (2, None, "tcp", 80, 0),
            [f"forwards.yaml:2:1: host port tcp/80 is {TAKEN}"],
        ),
        (
            (1, None, "udp", 80, 9),
            (2, None, "udp", 85, 9),
            [f"forwards.yaml:2:1: host ports udp/85-89 are {TAKEN}"],
        ),
        (
            (1, None, "tcp", 80, 5),
            (2, None, "tcp", 85, 0),
            [f"forwards.yaml:2:1: host port tcp/85 is {TAKEN}"],
        ),
        (
            (1, "203.0.113.5", "tcp", 80, 0),
            (2, "203.0.113.5", "tcp", 80, 0),
            [f"forwards.yaml:2:1: host port 203.0.113.5 tcp/80 is {TAKEN}"],
        ),
        (
            (1, "2001:db8::5", "tcp", 80, 2),
            (2, "2001:db8::5", "tcp", 79, 2),
            [f"forwards.yaml:2:1: host ports 2001:db8::5 tcp/80-81 are {TAKEN}"],
        ),
        (
            (1, None, "tcp", 80, 0),
            (2, "::", "tcp", 80, 0),
            [f"forwards.yaml:2:1: host port tcp/80 is {TAKEN}"],
        ),
        (
            (1, "0.0.0.0", "tcp", 80, 0),
            (2, None, "tcp", 80, 0),
            [f"forwards.yaml:2:1: host port tcp/80 is {TAKEN}"],
        ),
        ((1, None, "tcp", 80, 0), (2, "203.0.113.5", "tcp", 80, 0), []),
        ((1, "0.0.0.0", "tcp", 80, 0), (2, "::", "tcp", 80, 0), []),
        ((1, "203.0.113.5", "tcp", 80, 0), (2, "203.0.113.6", "tcp", 80, 0), []),
        ((1, None, "tcp", 80, 0), (2, None, "udp", 80, 0), []),
        ((1, None, "tcp", 80, 4), (2, None, "tcp", 85, 0), []),
    ],
)
def test_two_claims(
    one: tuple[int, str | None, str, int, int],
    other: tuple[int, str | None, str, int, int],
    said: list[str],
) -> None:
    """One address and port is one claim; bound beside every address is none."""
    found = conflicts(at(*one), at(*other))

    assert found == said


def test_one_guest_twice() -> None:
    """A guest can be in its own way."""
    guest = guest_forwards("web1", forward("80", at=place(1)), forward("80", "81"))

    found = [problem.message for problem in find_conflicts([guest])[1]]

    assert found == ["host port tcp/80 is taken by web1 (forwards.yaml:1:1)"]


def test_the_later_in_the_file_is_the_one_in_conflict() -> None:
    """Who stands first owns the port, whichever port is lower."""
    found = conflicts(
        at(1, None, "tcp", 90, 0), at(2, None, "tcp", 80, 20), at(3, None, "tcp", 81, 0)
    )

    assert found == [
        "forwards.yaml:3:1: host port tcp/81 is taken by g2 (forwards.yaml:2:1)",
        "forwards.yaml:2:1: host port tcp/90 is taken by g1 (forwards.yaml:1:1)",
    ]


def test_a_name_with_an_escape_sequence_is_shown_harmless() -> None:
    """What is said of a name reaches a terminal."""
    guests = [
        guest_forwards("a\x1b", forward("80")),
        guest_forwards("b", forward("80")),
    ]

    found = [problem.message for problem in find_conflicts(guests)[1]]

    assert found == ["host port tcp/80 is taken by a\\x1b (forwards.yaml:1:1)"]


FORWARDS = st.lists(
    st.tuples(
        st.sampled_from(HOSTS),
        st.sampled_from(["tcp", "udp"]),
        st.integers(1, 30),
        st.integers(0, 6),
    ),
    max_size=12,
)


@PROPERTY
@given(FORWARDS)
def test_conflicts_are_those_of_brute_force(
    written: list[tuple[str | None, str, int, int]],
) -> None:
    """A forward is in conflict exactly if an earlier one claims one of its ports."""
    forwards = [at(number + 1, *words) for number, words in enumerate(written)]
    claimed = [addresses_and_ports(one) for one in forwards]
    expected = [
        number + 1
        for number, mine in enumerate(claimed)
        if any(mine & earlier for earlier in claimed[:number])
    ]

    guests = [guest_forwards(f"g{f.place.line}", f) for f in forwards]
    found = [problem.place.line for problem in find_conflicts(guests)[1]]

    assert sorted(found) == expected


@PROPERTY
@given(FORWARDS)
def test_a_conflict_names_the_ports_and_their_owner(
    written: list[tuple[str | None, str, int, int]],
) -> None:
    """The ports said to be taken are those that both claim, all of them in a row,
    and the place is that of the first claim."""
    forwards = {n + 1: at(n + 1, *words) for n, words in enumerate(written)}
    guests = [guest_forwards(f"{line}", f) for line, f in forwards.items()]

    for problem in find_conflicts(guests)[1]:
        words = problem.message.split(" ")
        later, first = forwards[problem.place.line], forwards[int(words[-2])]
        low = max(later.published.first, first.published.first)
        high = min(later.published.last, first.published.last)
        assert (words[-6], words[-1]) == (
            f"{later.protocol}/{PortRange(low, high)}",
            f"({first.place})",
        )
