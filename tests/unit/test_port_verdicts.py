"""What the ruleset does to a connection to a published port, in words.

e2e/test_explain.py asks real connections.
"""

from __future__ import annotations

import pytest

from unit.builders import CHECKOUT
from unit.test_unanswered import row
from vfwhooks.diagnosis.port_verdicts import PortVerdicts
from vfwhooks.diagnosis.traced_packet import TraceEvent
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.rulesets.context import Context, Names
from vfwhooks.rulesets.packet import Packet
from vfwhooks.rulesets.ruleset import Ruleset
from vfwhooks.rulesets.ruleset_reader import load_ruleset, read_ruleset
from vfwhooks.rulesets.walk import Host

HOST = Host(
    lambda address: address == "203.0.113.1",
    lambda address: "virbr0" if address.startswith("192.168.122.") else "",
)
WEB = Packet("ip", "tcp", "203.0.113.1", 8080, incoming="outside")
FIRST = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD %s\nCOMMIT\n"
OURS = "made by vfwhooks, for all of its guests"


def verdicts(*more: str) -> PortVerdicts:
    """About a host of the lab, beside somebody's rule in FORWARD."""
    ruleset: Ruleset = load_ruleset(CHECKOUT / "tests/cases/rulesets/nftables.nft")
    for rule in more:
        ruleset.join(read_ruleset(FIRST % rule, "it"))
    known = Context(ruleset, Names({"virbr0": "default"}))
    return PortVerdicts(known, HOST, Inventory("/nonexistent"))


def test_a_port_that_is_let_in() -> None:
    """Where it leads, which rule lets it in, which one would have rejected it."""
    assert list(verdicts().tell_way(WEB)) == [
        "led to 192.168.122.10: handle 74 of inet vfwhooks, chain publish4: "
        f"dnat ip to meta l4proto . th dport map @dnat4_any ({OURS})",
        "let in by handle 21 of ip libvirt_network, chain vfwhooks: "
        f"ct direction original ip daddr @vfwhooks accept ({OURS})",
        "without vfwhooks: rejected by handle 10 of ip libvirt_network, chain "
        'guest_input: oif "virbr0" reject (made by libvirt, for the network default '
        "(virbr0))",
    ]


@pytest.mark.parametrize(
    ("rule", "last"),
    [
        (
            "-o virbr0 -j DROP",
            "dropped by line 3 of ip filter, chain FORWARD: -o virbr0 -j DROP (made by "
            "somebody by hand, or a script without a mark)",
        ),
        (
            "-m limit --limit 9/s -j DROP",
            "depends on: -m limit --limit 9/s (line 3 of ip filter, chain FORWARD: "
            "-m limit --limit 9/s -j DROP (made by somebody by hand, or a script "
            "without a mark))",
        ),
    ],
)
def test_a_port_that_is_not(rule: str, last: str) -> None:
    """Which rule refuses it, or what that depends on."""
    assert list(verdicts(rule).tell_way(WEB))[-1] == last


@pytest.mark.parametrize(
    ("state", "reason", "why"),
    [
        ("stopped", "the guest is not running", ": web1 is not running"),
        ("pending", "no lease", ": no lease"),
        ("active", "", ""),
    ],
)
def test_a_port_that_leads_nowhere(state: str, reason: str, why: str) -> None:
    """No rule leads it to a guest, and the reason is told."""
    one = row("203.0.113.1", "9999", state=state, reason=reason)

    said = [*verdicts().tell([one])][-1]

    assert said == f"  let in to the host itself: no rule leads it to a guest{why}"


def test_the_way_hop_by_hop() -> None:
    """Each rule with what it does, and where the kernel routes the packet."""
    way = list(verdicts("-o virbr0 -j DROP").trace(WEB))

    assert [line for line in way if "of i" not in line] == [
        "tcp from an address that no rule names to 203.0.113.1 port 8080, by outside: "
        "computed, nothing is sent",
        "prerouting",
        "    → goes to the chain publish4",
        "    → it is for 192.168.122.10 port 80 now",
        "routing: to 192.168.122.10, by virbr0",
        "forward",
        "    → goes to the chain vfwhooks",
        "    → accepted by this chain",
        "    → dropped",
        "it is dropped",
    ]


def test_a_hop_that_was_traced() -> None:
    """A rule of nft's is told with its maker; one of iptables as nft shows it."""
    ours = TraceEvent(
        "ip", "libvirt_network", "vfwhooks", "21", "as nft says", "accept"
    )
    text = "counter packets 3 bytes 180 jump X"
    others = TraceEvent("ip", "filter", "FORWARD", "7", text, "jump X")
    policy = TraceEvent(
        "ip", "filter", "FORWARD", "", "the policy of the chain", "accept"
    )

    said = [verdicts().tell_event(one) for one in (ours, others, policy)]

    assert said == [
        "handle 21 of ip libvirt_network, chain vfwhooks: ct direction original ip "
        f"daddr @vfwhooks accept ({OURS}): accept",
        "handle 7 of ip filter, chain FORWARD: jump X: jump X",
        "ip filter, chain FORWARD: the policy of the chain: accept",
    ]
