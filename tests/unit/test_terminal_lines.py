"""explain's lines at a terminal: as wide as it is, below their own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY
from vfwhooks.cli.terminal_lines import coloured, wrap


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (
            "    why:     It lets in what was led to a guest of the network default.",
            [
                "    why:     It lets in what was led to",
                "             a guest of the network",
                "             default.",
            ],
        ),
        (
            "  handle 3: iifname virbr0 oifname virbr0 counter accept",
            ["  handle 3: iifname virbr0 oifname", "      virbr0 counter accept"],
        ),
        (
            "  kernel   inet vfwhooks dnat4_any: dnat 4 * tcp 8080: there",
            [
                "  kernel   inet vfwhooks dnat4_any: dnat",
                "           4 * tcp 8080: there",
            ],
        ),
        ("x" * 60, ["x" * 60]),
        ("short", ["short"]),
    ],
)
def test_a_long_line_goes_on_below_its_own_words(line: str, parts: list[str]) -> None:
    """Behind the key that says what it is about; a long word stays whole."""
    assert wrap(line, 40) == parts


@PROPERTY
@given(st.text(st.sampled_from("ab :-"), max_size=200), st.integers(1, 90))
def test_no_word_is_lost(line: str, columns: int) -> None:
    """The words are the same, in the same order."""
    assert " ".join(wrap(line, columns)).split() == line.split()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("    let in by handle 3", "\x1b[32m    let in\x1b[m by handle 3"),
        ("    rejected by line 2", "\x1b[31m    rejected\x1b[m by line 2"),
        ("    dropped by line 2", "\x1b[31m    dropped\x1b[m by line 2"),
        ("    depends on: -m x", "\x1b[33m    depends on\x1b[m: -m x"),
        ("    does:    A packet is dropped.", "    does:    A packet is dropped."),
        ("    let in to the host itself", "    let in to the host itself"),
        ("73 rules", "\x1b[1m73 rules\x1b[m"),
    ],
)
def test_few_colours(line: str, shown: str) -> None:
    """Heads and verdicts; a rule that rejects is no verdict, and the host
    itself is no guest."""
    assert coloured(line, line, 0) == shown
