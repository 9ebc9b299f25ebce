"""iptables_portions: very many rules, each time no more than a tool is done with."""

from __future__ import annotations

from unittest.mock import patch

from vfwhooks.firewall import iptables_portions
from vfwhooks.firewall.iptables_portions import drop, fill_unseen
from vfwhooks.firewall.iptables_script import FILTER, NAT, Chains, Script
from vfwhooks.firewall.iptables_tools import Saved

ANY, MINE, REJECTS = (NAT, "VFW-ANY"), (NAT, "VFW-A-x"), (FILTER, "VFW-R-x")
OTHERS, SOURCES = (NAT, "VFW-A-y"), (NAT, "VFW-S-z")
CHAINS: Chains = {
    ANY: ["-j VFW-A-x", "-j VFW-A-y"],
    MINE: ["-j VFW-S-z", "-p tcp"],
    REJECTS: ["-j REJECT"],
    OTHERS: ["-p udp"],
    SOURCES: ["-j ACCEPT"],
}


def filled(chains: Chains, saved: Saved, most: int) -> tuple[list[str], list[str]]:
    """The chains that each tool is given, and those that are left."""
    given: list[Script] = []
    with patch.object(iptables_portions, "_MOST", most):
        left = fill_unseen(chains, saved, given.append)
    names = [
        " ".join(
            line[1:].split(" ")[0]
            for line in one.text().split("\n")
            if line.startswith(":")
        )
        for one in given
    ]
    return names, [name for _, name in left]


def test_few_rules_are_one_tools() -> None:
    """Nothing is filled ahead of the rest."""
    assert filled(CHAINS, {}, 5) == ([], [name for _, name in CHAINS])


def test_many_rules_of_chains_that_nothing_leads_to() -> None:
    """Lists of sources come first, since others lead there; what all share is left, and
    a chain with more rules than a portion has is one of its own."""
    found = filled(CHAINS, {}, 1)

    assert found == (["VFW-S-z", "VFW-A-x", "VFW-R-x", "VFW-A-y"], ["VFW-ANY"])


def test_what_is_there_is_left_as_it_is() -> None:
    """Packets may get there: it is no portion's, whether it is right or not. So whoever
    goes on with what somebody else has begun does the rest."""
    found = filled(CHAINS, {SOURCES: [], MINE: [("", "-p tcp")]}, 1)

    assert found == (["VFW-R-x", "VFW-A-y"], ["VFW-ANY", "VFW-A-x", "VFW-S-z"])


def test_chains_that_go() -> None:
    """With the rest where they are few; else behind it, those first that lead to
    others."""
    saved: Saved = {chain: [("", rule) for rule in CHAINS[chain]] for chain in CHAINS}
    gone = [SOURCES, MINE, REJECTS]
    found = []
    for most in (9, 2):
        with patch.object(iptables_portions, "_MOST", most):
            scripts = drop(Script(), gone, saved)
        found.append([one.text().split("\n") for one in scripts])

    names = [
        [[line[3:] for line in one if line.startswith("-X")] for one in scripts]
        for scripts in found
    ]
    assert names == [
        [["VFW-A-x", "VFW-S-z", "VFW-R-x"]],
        [[], ["VFW-A-x"], ["VFW-S-z", "VFW-R-x"]],
    ]
