"""iptables_held and nft_held: entries that the kernel holds, and to which no rule of
ours leads any more."""

from __future__ import annotations

import pytest

from unit.builders import UUID, parsed, written
from vfwhooks.firewall.base_ruleset import render_base_rulesets
from vfwhooks.firewall.iptables_held import find_held, find_short
from vfwhooks.firewall.iptables_rules import render
from vfwhooks.firewall.iptables_script import FILTER, NAT, Chain, parse_save
from vfwhooks.firewall.iptables_tools import Saved
from vfwhooks.firewall.nft_held import is_cut_off, is_unaccepted, lost_chains

DNAT = "dnat 4 * tcp 8080 8080 192.168.122.10 80"
BOUND = "dnat 4 203.0.113.5 udp 53 53 192.168.122.10 53"
REJECT = "reject 4 * tcp 8443 8443"
ACCEPT = "accept 4 192.168.122.10"
ENTRIES = [DNAT, BOUND, REJECT, ACCEPT]
BASE = render_base_rulesets(())["iptables4"]


def saved() -> Saved:
    """All chains, as they are with these entries in force."""
    made = render(UUID, parsed(*ENTRIES), "4")
    found = parse_save(BASE)
    for rules in (made.own, made.shared):
        for chain, some in rules.items():
            found[chain] = [("[1:60]", rule) for rule in some] + found.get(chain, [])
    return found


def cut_off(there: Saved, *misplaced: Chain) -> list[str]:
    """The entries that are cut off."""
    tails = {c: [rule for _, rule in rules] for c, rules in parse_save(BASE).items()}
    wanted = dict.fromkeys(parsed(*ENTRIES), UUID)
    lost = find_short(there, tails) | set(misplaced)

    found = find_held(wanted, {UUID: list(wanted)}, "4", there, lost)

    return [one for one in written(wanted) if one in written(found.cut_off)]


def test_nothing_is_cut_off() -> None:
    """All rules are there."""
    assert cut_off(saved()) == []


@pytest.mark.parametrize(
    ("chain", "gone"),
    [
        ((NAT, "VFW-PUBLISH"), [DNAT, BOUND]),
        ((NAT, "VFW-PREROUTING"), [DNAT, BOUND]),
        ((NAT, "VFW-ANY"), [DNAT]),
        ((NAT, "VFW-BOUND"), [BOUND]),
        ((FILTER, "VFW-INPUT"), [REJECT]),
        ((FILTER, "VFW-REJECT"), [REJECT]),
    ],
)
def test_a_chain_that_was_flushed(chain: Chain, gone: list[str]) -> None:
    """What it led to is cut off, and nothing else."""
    there = saved()
    there[chain] = []

    assert cut_off(there) == gone


@pytest.mark.parametrize(
    ("chain", "gone"),
    [
        ((NAT, "PREROUTING"), [DNAT, BOUND]),
        ((FILTER, "FORWARD"), [ACCEPT]),
        ((FILTER, "INPUT"), [REJECT]),
    ],
)
def test_a_jump_that_is_gone(chain: Chain, gone: list[str]) -> None:
    """A base chain does not lead to our chains any more."""
    assert cut_off(saved(), chain) == gone


def test_rules_that_are_gone_themselves() -> None:
    """They are not held, which is more than cut off; connections are counted."""
    there, wanted = saved(), dict.fromkeys(parsed(*ENTRIES), UUID)
    there[FILTER, "VFW-FORWARD"] = []

    found = find_held(wanted, {UUID: list(wanted)}, "4", there, set())

    counted = dict(zip(written(found.connections), found.connections.values()))
    assert counted == {DNAT: 1, BOUND: 1, REJECT: 1}


NOTED = "input=3 dnat4_any=7 prerouting:9 publish4:20 publish4:21 publish6:30 input:40"


@pytest.mark.parametrize(
    ("now", "lost"),
    [
        (NOTED, set()),
        ("prerouting:1 publish4:2 publish4:3 publish6:4 input:5", set()),
        (NOTED.replace("publish4:20 ", ""), {"publish4"}),
        (f"{NOTED} publish4:99", set()),
        ("", {"prerouting", "publish4", "publish6", "input"}),
    ],
)
def test_chains_that_lack_rules(now: str, lost: set[str]) -> None:
    """They are counted: a ruleset that is loaded again has other handles."""
    assert lost_chains(NOTED, now) == lost


@pytest.mark.parametrize(
    ("lost", "gone"),
    [
        ("prerouting", [DNAT, "dnat 6 * tcp 80 80 fd00::1 80", "guard"]),
        ("publish4", [DNAT, "guard"]),
        ("allow_0f5c", ["guard"]),
        ("allow_other", []),
        ("input", [REJECT]),
        ("refuse6", []),
    ],
)
def test_what_chains_of_nf_tables_led_to(lost: str, gone: list[str]) -> None:
    """Of one family or of both, of one list of source ranges or of all."""
    guard = "guard 4 * tcp 8443 8443 allow_0f5c"
    lines = [DNAT, "dnat 6 * tcp 80 80 fd00::1 80", guard, REJECT]

    found = [one for one, e in zip(lines, parsed(*lines)) if is_cut_off(e, {lost})]

    assert found == [guard if one == "guard" else one for one in gone]


def test_a_guest_that_is_not_accepted() -> None:
    """The jump is missing, or libvirt's own rules stand ahead of it, or it leads to
    nothing."""
    noted = "vfwhooks=1,2 vfwhooks:5 vfwhooks:6 forward:9"

    found = [
        is_unaccepted(lost_chains(noted, now))
        for now in (noted, "vfwhooks:5 forward:9", "vfwhooks:5 vfwhooks:6")
    ]

    assert found == [False, True, True]
