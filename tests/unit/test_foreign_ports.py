"""foreign_ports: what an event knows of rules of others, found by port."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY
from vfwhooks.store.entry_text import format_host, parse_host
from vfwhooks.store.foreign_ports import ForeignPort, ForeignPorts, build, hold, load
from vfwhooks.values.foreign_claims import ForeignClaim
from vfwhooks.values.published import parse_address

SITE = parse_address("203.0.113.1")
DOCKER = ForeignClaim("4", None, "tcp", 8080, 8080, "Docker by DNAT")


def find(claims: list[ForeignClaim], *about: str) -> list[tuple[str, int, int, str]]:
    """What is found of ports ("4", "tcp", "80", "80")."""
    held = hold(claims)
    family, protocol, first, last = about
    found = held.find(family, protocol, int(first), int(last)) if held else []
    return [(format_host(one.host), one.first, one.last, one.whose) for one in found]


def test_nothing_is_no_file(tmp_path: Path) -> None:
    """Where nobody takes anything, nothing is written down, and nothing is loaded."""
    assert (build([]), hold([]), load(f"{tmp_path}/taken")) == (b"", None, None)


@pytest.mark.parametrize("data", [b"", b"vfwT1\n", b"something else"])
def test_what_is_not_whole_is_none(tmp_path: Path, data: bytes) -> None:
    """A file that cannot be read keeps no guest from its forwards."""
    (tmp_path / "taken").write_bytes(data)

    assert load(f"{tmp_path}/taken") is None


def test_from_a_file(tmp_path: Path) -> None:
    """As it was written."""
    (tmp_path / "taken").write_bytes(build([DOCKER]))

    held = load(f"{tmp_path}/taken")

    assert isinstance(held, ForeignPorts)
    assert [one.whose for one in held.find("4", "tcp", 8080, 8080)] == [DOCKER.whose]


WHERE = {
    # what is asked, whether it is found
    "the port": (("4", "tcp", "8080", "8080"), True),
    "a range around it": (("4", "tcp", "8000", "9000"), True),
    "the port below": (("4", "tcp", "8079", "8079"), False),
    "the port above": (("4", "tcp", "8081", "8081"), False),
    "the other family": (("6", "tcp", "8080", "8080"), False),
    "another protocol": (("4", "udp", "8080", "8080"), False),
}


@pytest.mark.parametrize("what", WHERE)
def test_where_a_port_is_found(what: str) -> None:
    """There and nowhere else."""
    about, is_there = WHERE[what]

    found = [("*", 8080, 8080, "Docker by DNAT")] * is_there
    assert find([DOCKER], *about) == found


def test_all_ports_of_many_addresses() -> None:
    """The file stays small, whatever its blocks have in common: one that is larger than
    a file of ours may be would be set aside."""
    hosts = [parse_address(f"203.0.113.{number}") for number in range(50)]
    whole = [ForeignClaim("4", host, "tcp", 0, 65535, "site by DNAT") for host in hosts]
    claims = [*whole, ForeignClaim("4", SITE, "tcp", 8080, 8080, "later by DNAT")]

    some = find([DOCKER, *claims], "4", "tcp", "8000", "9000")

    assert len(build(claims)) < 1 << 17
    assert sorted(some) == sorted(
        [("*", 8080, 8080, DOCKER.whose)]
        + [(str(host), 0, 65535, "site by DNAT") for host in hosts]
    )


def test_many_addresses_at_once() -> None:
    """One does not need more room than another: the service's is limited."""
    hosts = [parse_address(f"203.0.113.{number}") for number in range(200)]
    claims = [ForeignClaim("4", host, "tcp", 80, 80, "site by DNAT") for host in hosts]
    tracemalloc.start()

    build(claims)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 << 20


def test_who_is_asked_first_has_the_port() -> None:
    """Of two who take a port, the first; and who takes it from some comes last."""
    some = ForeignClaim("4", None, "tcp", 80, 90, "some by DNAT", is_limited=True)
    first = ForeignClaim("4", None, "tcp", 85, 85, "first by DNAT")
    second = ForeignClaim("4", None, "tcp", 84, 86, "second by DNAT")

    found = find([some, first, second], "4", "tcp", "0", "100")

    assert sorted(found) == [
        ("*", 80, 83, "some by DNAT"),
        ("*", 84, 84, "second by DNAT"),
        ("*", 85, 85, "first by DNAT"),
        ("*", 86, 86, "second by DNAT"),
        ("*", 87, 90, "some by DNAT"),
    ]


def test_an_address_that_anybody_takes_ports_of() -> None:
    """It is found by itself, for whoever wants all of it."""
    claims = [DOCKER, ForeignClaim("4", SITE, "udp", 5, 5, "site by DNAT")]

    assert find(claims, "4", "all", "0", "0") == [("203.0.113.1", 0, 0, "site by DNAT")]


SAID = {
    ("*", 80, 80): "tcp 80",
    ("203.0.113.1", 80, 81): "tcp 203.0.113.1:80-81",
    ("2001:db8::1", 80, 80): "tcp [2001:db8::1]:80",
}


@pytest.mark.parametrize("about", SAID)
def test_reason(about: tuple[str, int, int]) -> None:
    """Who takes what, and how."""
    host, first, last = about
    whose = "Docker (iptables nat DOCKER) by DNAT"
    rule = ForeignPort("tcp", parse_host(host), first, last, whose)

    said = f"Docker (iptables nat DOCKER) takes {SAID[about]} by DNAT"
    assert rule.reason == said


SPANS = st.tuples(
    st.sampled_from(["*", "203.0.113.1"]),
    st.integers(0, 65535),
    st.integers(0, 300),
    st.sampled_from("abc"),
)


@PROPERTY
@given(st.lists(SPANS, max_size=12), st.integers(0, 65535), st.integers(0, 300))
def test_any_claims(
    spans: list[tuple[str, int, int, str]], first: int, more: int
) -> None:
    """Port by port, whatever there is: whose it is, as a plain look at all says."""
    last = min(first + more, 65535)
    claims = [
        ForeignClaim(
            "4",
            parse_host(host),
            "tcp",
            low,
            min(low + size, 65535),
            f"{whose} by DNAT",
        )
        for host, low, size, whose in spans
    ]

    held = hold(claims)

    expected = {}
    for one in reversed(claims):
        for port in range(max(first, one.first), min(last, one.last) + 1):
            expected[one.host, port] = one.whose
    found = {}
    for rule in held.find("4", "tcp", first, last) if held else ():
        for port in range(max(first, rule.first), min(last, rule.last) + 1):
            assert (rule.host, port) not in found
            found[rule.host, port] = rule.whose
    assert found == expected
