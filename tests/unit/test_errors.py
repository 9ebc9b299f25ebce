"""errors: the one exception, and names made safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given

from unit.builders import NAMES, PROPERTY
from vfwhooks.values.errors import Refused, VfwError, show


def test_error_says_message_and_hint() -> None:
    """The hint stands in brackets behind the message."""
    error = VfwError("nft is not installed", "looked in /usr/sbin")

    assert str(error) == "nft is not installed (looked in /usr/sbin)"


def test_error_without_hint() -> None:
    """Without a hint there are no brackets."""
    error = Refused("nft: no")

    assert (str(error), error.message, error.hint) == ("nft: no", "nft: no", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web1", "web1"),
        ('we"b 1', 'we"b 1'),
        ("bücher", "bücher"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("a\u202eb", "a\\u202eb"),
        ("a\udcffb", "a\\xffb"),
        ("\udc80", "\\x80"),
        ("a\udc05", "a\\x05"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_show(text: str, shown: str) -> None:
    """Control characters, and bytes that are no UTF-8, are written out."""
    found = show(text)

    assert found == shown


@PROPERTY
@given(NAMES)
def test_nothing_shown_controls_a_terminal(name: str) -> None:
    """Whatever a name is, what is shown can be printed and encoded."""
    shown = show(name)

    assert shown.isprintable() and shown.encode() is not None
