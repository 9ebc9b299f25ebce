"""port_spellings: what is meant by a port that is written as elsewhere.

More of them: tests/cases/check.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY, refusal
from vfwhooks.config.port_spellings import parse_entry, parse_protocols, parse_published
from vfwhooks.config.value_syntax import parse_short
from vfwhooks.values.errors import VfwError

WORDS = ["80", "8080", "5000-5010", "tcp", "UDP", ":", "->", " ", "..", "/", "[::]"]
SEVERAL = "no blanks and commas in one; several are a list, [8080:80, 443]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8080->80", "8080->80: write 8080:80"),
        ("5000..5010", "5000..5010: write 5000-5010"),
        ("tcp:80:80", "tcp:80:80: write 80:80/tcp"),
        ("[::]:80", '[::]:80: write "[::]:80:80"'),
        ("80/tcp,udp", "80/tcp,udp: one protocol an entry; write 80/tcp and 80/udp"),
        ("5010..5000", "'5010..5000' is not a port or a range of ports"),
        ("80 443", f"80 443: {SEVERAL}"),
        ("80:" + " " * 90 + "80", f"80:{' ' * 90}80: {SEVERAL}"),
    ],
)
def test_an_entry(text: str, said: str) -> None:
    """The right spelling where it is clear, and nothing new where it is not."""
    found = refusal(parse_entry, text)

    assert found == said


@PROPERTY
@given(st.lists(st.sampled_from(WORDS), max_size=7).map("".join))
def test_what_is_told_is_right(text: str) -> None:
    """Whoever writes what he is told to has no more problem with it."""
    try:
        parse_entry(text)
        told = []
    except VfwError as error:
        cure = error.message.removeprefix(f"{text}: ").partition("write ")[2]
        is_example = "IPv6" in cure or cure == "it out" or "sctp" in cure
        told = [] if is_example or not cure else cure.strip('"').split(" and ")

    found = [parse_short(one) for one in told]

    assert len(found) == len(told)


def test_a_short_entry_behind_a_key_of_the_long_form() -> None:
    """The keys that say the same."""
    found = refusal(parse_published, "203.0.113.5:8080->80/UDP")

    keys = "published: 8080, target: 80, protocol: udp, host_ip: 203.0.113.5"
    assert found == f"203.0.113.5:8080->80/UDP: write {keys}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tcp/udp", "tcp/udp: write [tcp, udp]"),
        ("TCP and UDP", "TCP and UDP: write [tcp, udp]"),
        ("tcp, icmp", "'tcp, icmp' is not a protocol; write tcp, udp or sctp"),
        ("both", "'both' is not a protocol; write tcp, udp or sctp"),
    ],
)
def test_several_protocols_in_one_word(text: str, said: str) -> None:
    """They are a list."""
    found = refusal(parse_protocols, text)

    assert found == said
