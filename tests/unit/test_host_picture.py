"""The ways of a host's picture, from status and the ruleset together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unit.test_port_verdicts import verdicts
from vfwhooks.diagnosis.host_picture import (
    HINDERED,
    LET_IN,
    OTHERS,
    REFUSED,
    TAKEN,
    UNKNOWN,
    WAITS,
    Lane,
    find_picture,
)
from vfwhooks.diagnosis.overview import Overview
from vfwhooks.diagnosis.status_rows import ForwardStatus, GuestStatus
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.rulesets.ruleset_reader import read_ruleset

ROW = ForwardStatus(
    *("web1", "203.0.113.1", "8080", "80", "tcp", "192.168.122.10", "active", "", 0)
)
ELSEWHERE = replace(ROW, published="8099")
HAND = "dropped by somebody by hand, or a script without a mark"


def lanes(row: ForwardStatus, *rules: str, ruleset: str = "") -> list[Lane]:
    """The ways to one forward, beside somebody's rules."""
    known = verdicts(*rules)
    if ruleset:
        known.known.ruleset.join(read_ruleset(ruleset, "it"))
    guest = GuestStatus(row.guest, "", "running", [row.address])
    overview = Overview("nftables", (guest,), (row,), (), {})
    inventory = Inventory("/nonexistent")
    found = find_picture(overview, [row], known, inventory, "host1")
    return list(found.lanes)


@pytest.mark.parametrize(
    ("row", "rules", "end", "by", "why"),
    [
        (ROW, (), LET_IN, "", "without vfwhooks: rejected by libvirt"),
        (
            replace(ROW, reason="3 of 3 unanswered"),
            *((), LET_IN, "", "3 of 3 unanswered"),
        ),
        (
            replace(ROW, state="blocked", reason="by another way"),
            *((), HINDERED, "", "by another way"),
        ),
        (ROW, ("-o virbr0 -j DROP",), REFUSED, HAND, "forward: -o virbr0 -j DROP"),
        (
            replace(ROW, state="blocked", reason="ufw drops"),
            *(("-o virbr0 -j DROP",), REFUSED, HAND, "ufw drops"),
        ),
        (
            ROW,
            *(("-m limit --limit 9/s -j DROP",), UNKNOWN, "", "-m limit --limit 9/s"),
        ),
        (replace(ROW, address="192.168.122.99"), (), TAKEN, "vfwhooks", None),
        (
            replace(ELSEWHERE, address="", state="pending", reason="no address"),
            *((), WAITS, "", "no address"),
        ),
        (
            replace(ELSEWHERE, state="conflict", reason="sshd listens there"),
            *((), TAKEN, "the host itself", "sshd listens there"),
        ),
        (
            replace(ELSEWHERE, state="blocked", reason="not in the kernel"),
            *((), WAITS, "", "not in the kernel"),
        ),
        (ELSEWHERE, (), WAITS, "", "no rule leads it to the guest"),
        (
            replace(ROW, host_ip="127.0.0.1"),
            *((), LET_IN, "", ""),
        ),
    ],
)
def test_how_a_way_ends(
    row: ForwardStatus, rules: tuple[str, ...], end: str, by: str, why: str | None
) -> None:
    """By the rules, and by the reason of status where there is one."""
    (lane,) = lanes(row, *rules)

    assert (lane.end, lane.by) == (end, by)
    assert why in (None, lane.why)


def test_source_ranges_are_two_ways() -> None:
    """Those who may connect, and anybody else."""
    found = lanes(replace(ROW, allow_from=("198.51.100.0/24",)))

    assert [one.who for one in found] == ["198.51.100.0/24", OTHERS]


def test_a_policy_that_refuses() -> None:
    """It is named by its chain."""
    save = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"

    (lane,) = lanes(ROW, ruleset=save)

    assert (lane.end, lane.by, lane.why) == (
        REFUSED,
        "dropped by the policy of FORWARD (ip filter)",
        "forward",
    )
