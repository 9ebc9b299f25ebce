"""name_patterns: what a pattern matches, by Python's fnmatch, and which pattern leaves
another nothing."""

from __future__ import annotations

import fnmatch
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY, refusal
from vfwhooks.config.name_patterns import find_covered, matches, parse_pattern

SIGNS = ["a", "b", "-", "*", "?", "[ab]", "[!a]", "[a-c]", "[]b]", "[*]", "[!]-]"]
PATTERNS = (
    st.lists(st.sampled_from(SIGNS), min_size=1, max_size=7)
    .map("".join)
    .filter(lambda text: any(sign in text for sign in "*?["))
)
LETTERS = "ab]-*"
NAMES = ["".join(one) for size in range(5) for one in product(LETTERS, repeat=size)]


@PROPERTY
@given(PATTERNS, st.text(LETTERS, max_size=12))
def test_it_is_a_shells_pattern(pattern: str, name: str) -> None:
    """The whole name is matched, as by fnmatch."""
    assert matches(pattern, name) == fnmatch.fnmatchcase(name, pattern)


@PROPERTY
@given(PATTERNS, PATTERNS)
def test_a_pattern_that_covers_another(earlier: str, pattern: str) -> None:
    """It matches every name that the other one matches."""
    found = find_covered([earlier, pattern])

    more = [n for n in NAMES if matches(pattern, n) and not matches(earlier, n)]
    assert found in ({}, {pattern: earlier})
    assert not (found and more)


@pytest.mark.parametrize(
    ("pattern", "earlier", "found"),
    [
        ("web-1*", ["db-*", "web-*"], "web-*"),
        ("web-*", ["web-*"], "web-*"),
        ("a?*", ["a*?"], "a*?"),
        ("a[b-c]", ["a[a-d]"], "a[a-d]"),
        ("ab*", ["a[!c]*"], "a[!c]*"),
        ("x*y*z", ["*y*"], "*y*"),
        ("*", ["?*", "a*"], ""),
        ("web-*", ["web-?", "*-web"], ""),
        ("a[a-d]", ["a[b-c]", "a[!b]"], ""),
        ("ab", ["a"], ""),
    ],
)
def test_covered(pattern: str, earlier: list[str], found: str) -> None:
    """The first of the earlier ones that leaves it nothing."""
    patterns = [one if set(one) & set("*?[") else f"{one}[b]" for one in earlier]
    pattern = pattern if set(pattern) & set("*?[") else f"{pattern}[c]"

    assert find_covered([*patterns, pattern]).get(pattern, "") == found


@pytest.mark.parametrize("pattern", ["*a" * 127, "*" + "a?" * 127, "?*" * 127])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    """One with very many signs, for a long name that fits all but the end."""
    assert not matches(f"{pattern}b", "a" * 5000)


def test_a_refusal_names_the_next_step() -> None:
    """What is no pattern is told as what it is."""
    found = refusal(parse_pattern, "web-")

    assert found == "web- has no *, ? or [ ]; a guest's name stands below guests:"
