"""base_ruleset: base rulesets as text, compared whole with what was written by hand."""

from __future__ import annotations

import pytest

from unit.builders import HERE
from vfwhooks.firewall.base_ruleset import FAMILIES, Allow, Marks, render_base_rulesets

BOTH = Allow(
    "allow_0f5c", {"4": ("198.51.100.0/24", "203.0.113.7/32"), "6": ("fd00::/8",)}
)
ALL = Allow("allow_c3d4", {"4": ("0.0.0.0/0",), "6": ("::/0",)})
FOUR = Allow("allow_a1b2", {"4": ("10.0.0.0/8",), "6": ()})


@pytest.mark.parametrize("part", ["own", "4", "6", "iptables4", "iptables6"])
@pytest.mark.parametrize(
    ("directory", "allows", "marks"),
    [
        ("plain", (), Marks()),
        ("allows", (BOTH, FOUR, ALL), Marks()),
        ("marks", (), Marks(has_return=True, has_masquerade=True)),
    ],
)
def test_base_ruleset(
    part: str, directory: str, allows: tuple[Allow, ...], marks: Marks
) -> None:
    """Every part, without and with lists of allowed sources (iptables-save prints no
    -s for all of them), and with what marks connections; that one is given to a kernel
    by e2e/test_masquerade.py."""
    found = render_base_rulesets(allows, marks)[part]

    assert found == (HERE / "base_rulesets" / directory / part).read_text()


def test_parts() -> None:
    """One text for each part that the backends restore."""
    found = list(render_base_rulesets(()))

    assert found == ["own", "4", "iptables4", "6", "iptables6"]


def test_no_comment_of_ours_looks_like_libvirts_rule() -> None:
    """libvirt reads its table as text and looks for `jump `."""
    texts = render_base_rulesets((BOTH, FOUR))

    assert "jump " not in texts["4"] + texts["6"]


def test_loopback_of_each_family() -> None:
    """What leaves the host's own loopback alone."""
    found = [(family.number, family.loopback) for family in FAMILIES]

    assert found == [("4", "127.0.0.0/8"), ("6", "::1/128")]
