"""conflicts: ports on an interface beside ports on addresses that it has. No other
addresses of the host make an error of a file that was accepted."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY
from vfwhooks.config.forwards import GuestForwards
from vfwhooks.config.schema import read_forwards

ETH0, ETH1 = "{interface: eth0}", "{interface: eth1}"
NO_ADDRESS: dict[str, list[str]] = {}


def read(
    text: str, has: dict[str, list[str]]
) -> tuple[list[GuestForwards], list[str], list[str]]:
    """The guests, the errors and the warnings on a host whose interfaces have these."""
    with TemporaryDirectory() as directory:
        main = Path(directory, "forwards.yaml")
        main.write_text(text)
        guests, problems = read_forwards(
            main, interfaces=lambda name: tuple(map(ip_address, has.get(name, ())))
        )
        said = [(str(one).replace(f"{main}:", ""), one.is_warning) for one in problems]
    errors = [line for line, is_warning in said if not is_warning]
    return guests, errors, [line for line, is_warning in said if is_warning]


def published(guest: GuestForwards) -> list[str]:
    """Where the guest's forwards are, and those that are nowhere yet."""
    return [
        *(f"{one.host_ip or '*'} {one.published}" for one in guest.forwards),
        *(f"- {one.interface} {one.published}" for one in guest.unplaced),
    ]


def two(one: str, other: str, port: str = "80", others: str = "80") -> str:
    """A file in which a has a port on `one`, and b on `other`."""
    return (
        "guests:\n"
        f"  a: [{{published: {port}, host_ip: {one}}}]\n"
        f"  b: [{{published: {others}, host_ip: {other}}}]\n"
    )


@pytest.mark.parametrize("has", [NO_ADDRESS, {"eth0": ["203.0.113.5", "2001:db8::5"]}])
def test_one_interface_for_two(has: dict[str, list[str]]) -> None:
    """An error once, with an address or without."""
    _, errors, _ = read(two(ETH0, f"[{ETH0}, 203.0.113.9]", "80-90", "85"), has)

    assert errors == ["3:7: host port eth0 tcp/85 is taken by a (2:7)"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("allow_from: 192.0.2.0/24", "allow_from: '2001:db8:1::/48'"),
        ("protocol: tcp", "protocol: udp"),
    ],
)
def test_one_interface_and_no_conflict(one: str, other: str) -> None:
    """No address that the interface may get can be both of theirs."""
    text = two(f"{ETH0}, {one}", f"{ETH0}, {other}")

    found = [read(text, has)[1] for has in (NO_ADDRESS, {"eth0": ["203.0.113.5"]})]

    assert found == [[], []]


@pytest.mark.parametrize(
    ("text", "gone", "place", "whose"),
    [
        (two(ETH0, "203.0.113.5"), "203.0.113.5", "2:7", "b (3:7)"),
        (two("203.0.113.5", ETH0), "203.0.113.5", "3:7", "a (2:7)"),
        (two(ETH0, "203.0.113.5", "80-90", "85"), "203.0.113.5", "2:7", "b (3:7)"),
        (two(ETH0, ETH1), "203.0.113.6", "3:7", "a (2:7)"),
    ],
)
def test_what_yields(text: str, gone: str, place: str, whose: str) -> None:
    """What is written stays, wherever it stands; of two interfaces, the earlier one.
    The other addresses are in force, and a warning says which is not."""
    has = {"eth0": ["203.0.113.5", "203.0.113.6"], "eth1": ["203.0.113.6", "10.9.0.1"]}

    guests, errors, (warning,) = read(text, has)

    every = [at for guest in guests for at in published(guest)]
    assert (errors, len(every), len({*every})) == (
        [],
        3 if ETH1 in text else 2,
        len(every),
    )
    assert warning.startswith(f"{place}: warning: host port {gone} tcp/")
    assert warning.partition(" taken by ")[2].startswith(f"{whose}; of eth")


def test_nothing_is_left() -> None:
    """The interface is one without an address for it, until it has another."""
    text = two(ETH0, "203.0.113.5")

    before, after = (
        [published(guest) for guest in read(text, {"eth0": some})[0]]
        for some in (["203.0.113.5"], ["203.0.113.5", "203.0.113.6"])
    )

    assert before == [["- eth0 80"], ["203.0.113.5 80"]]
    assert after == [["203.0.113.6 80"], ["203.0.113.5 80"]]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_public_ip_on_the_interface(is_first: bool) -> None:
    """It is left out without a word, as it is of every address; an own one is not."""
    lines = [f"  a: [{{published: 80, host_ip: {ETH0}}}]\n"]
    own = f"{{public_ip: 203.0.113.7, ports: [{{published: 81, host_ip: {ETH0}}}]}}"
    lines.insert(not is_first, f"  b: {own}\n")
    has = {"eth0": ["203.0.113.5", "203.0.113.7"]}

    guests, errors, warnings = read("guests:\n" + "".join(lines), has)

    found = {guest.name: published(guest) for guest in guests}
    assert (errors, warnings) == ([], [])
    assert found == {"a": ["203.0.113.5 80"], "b": ["203.0.113.5 81", "203.0.113.7 81"]}


def test_a_pattern_shares_as_ever() -> None:
    """The same port of a pattern and of a guest: whoever runs first has it."""
    text = "guests:\n  a: ['203.0.113.5:80:80']\npatterns:\n"
    text += f"  b-*: [{{published: 80, host_ip: {ETH0}}}]\n"

    guests, errors, _ = read(text, {"eth0": ["203.0.113.5"]})

    every = [published(guest) for guest in guests]
    assert (errors, every) == ([], [["203.0.113.5 80"]] * 2)
    assert all(guest.is_shared for guest in guests)


ADDRESSES = ["203.0.113.5", "203.0.113.6", "2001:db8::5"]
HOSTS = [ETH0, ETH1, "{name: six}", *(f'"{one}"' for one in ADDRESSES)]
OPTIONS = ["", ", allow_from: 192.0.2.0/24", ", allow_from: '2001:db8:1::/48'"]
ENTRIES = st.builds(
    "{{published: {}, host_ip: [{}]{}}}".format,
    st.sampled_from(["80", "81", "80-81"]),
    st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3).map(", ".join),
    st.sampled_from(OPTIONS),
)
KEYS = [
    *("", "", ", address: 192.168.122.9", ", address: 'fd00:122::9'"),
    *(", when_stopped: reject", ", public_ip: 203.0.113.6"),
]
GUESTS = st.lists(
    st.tuples(st.lists(ENTRIES, max_size=2).map(", ".join), st.sampled_from(KEYS)),
    max_size=4,
)
SOME = st.lists(st.sampled_from(ADDRESSES), unique=True)
HAS = st.fixed_dictionaries({"eth0": SOME, "eth1": SOME})


def file_of(guests: list[tuple[str, str]], patterns: list[str]) -> str:
    """A file of these guests and patterns."""
    lines = ["addresses: {six: '2001:db8::5'}", "guests:"]
    lines += [f"  g{n}: {{ports: [{p}]{k}}}" for n, (p, k) in enumerate(guests)]
    lines[-1:] = lines[-1:] if guests else ["guests: {}"]
    lines += ["patterns:"] if patterns else []
    return "\n".join([*lines, *(f"  p{n}*: [{p}]" for n, p in enumerate(patterns))])


@PROPERTY
@given(GUESTS, st.lists(ENTRIES, max_size=2), HAS, HAS)
def test_addresses_of_interfaces_are_no_error(
    guests: list[tuple[str, str]],
    patterns: list[str],
    has: dict[str, list[str]],
    later: dict[str, list[str]],
) -> None:
    """A file has the same errors whatever addresses the host has."""
    text = file_of(guests, patterns)

    assert sorted(read(text, has)[1]) == sorted(read(text, later)[1])


@PROPERTY
@given(GUESTS, HAS)
def test_what_is_in_force_is_one_guests(
    guests: list[tuple[str, str]], has: dict[str, list[str]]
) -> None:
    """In a file without errors no port of an address is two guests', and nothing is
    left out but what came by an interface."""
    found, errors, _ = read(file_of(guests, []), has)

    every = [
        (str(one.host_ip), port)
        for guest in found
        for one in guest.forwards
        for port in range(one.published.first, one.published.last + 1)
    ]
    assert errors or len(every) == len(set(every))
