"""What the ruleset does to a connection to a published port, in words.

e2e/test_explain.py asks real connections.
"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from unit.builders import CHECKOUT
from unit.test_unanswered import row
from vfwhooks.diagnosis.port_verdicts import PortVerdicts
from vfwhooks.diagnosis.traced_packet import TraceEvent
from vfwhooks.host.netlink import Netlink
from vfwhooks.host.routes import Routes
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.rulesets.context import Context, Names
from vfwhooks.rulesets.packet import ANYBODY, Packet
from vfwhooks.rulesets.ruleset import Ruleset
from vfwhooks.rulesets.ruleset_reader import load_ruleset, read_ruleset
from vfwhooks.rulesets.walk import Host
from vfwhooks.values.published import Address

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


class TwoUplinks(Inventory):
    """A host with two addresses, each on an interface of its own."""

    def __init__(self) -> None:
        super().__init__("/nonexistent")

    @property
    def routes(self) -> Routes:
        return OwnAddresses(Netlink())

    def bridge_addresses(self) -> set[Address]:
        return {ip_address("192.168.122.1")}

    def is_default_source(self, address: Address) -> bool:
        return str(address) == "203.0.113.1"

    def device_with(self, address: Address) -> str:
        return {"10.9.9.1": "mgmt0", "203.0.113.1": "outside"}[str(address)]


class OwnAddresses(Routes):
    """What the kernel of that host says."""

    def own_addresses(self, family: str) -> list[Address]:
        some = "10.9.9.1", "192.168.122.1", "203.0.113.1"
        return [*map(ip_address, some)] if family == "4" else []


@pytest.mark.parametrize(
    ("rules", "heads", "ends"),
    [
        (
            [],
            ["203.0.113.1 port 8080 by outside, or to 10.9.9.1 port 8080 by mgmt0"],
            ["let in"],
        ),
        (
            ["-i mgmt0 -j DROP"],
            ["203.0.113.1 port 8080 by outside", "10.9.9.1 port 8080 by mgmt0"],
            ["let in", "dropped"],
        ),
    ],
)
def test_a_port_on_every_address(
    rules: list[str], heads: list[str], ends: list[str]
) -> None:
    """Each address is asked for, first the one that the world knows; what is the same
    for several is told once."""
    known = verdicts(*rules).known
    local = Host({"203.0.113.1", "10.9.9.1"}.__contains__, HOST.device)

    said = [*PortVerdicts(known, local, TwoUplinks()).tell([row()])]

    head = "8080/tcp for web1: a connection to "
    assert [one for one in said if one[0] != " "] == [head + one for one in heads]
    told = [one.partition(" by ")[0].strip() for one in said]
    assert [one for one in told if one in ("let in", "dropped")] == ends


@pytest.mark.parametrize("host", ["eth1", "eth1.100"])
def test_an_interface_without_an_address(host: str) -> None:
    """A forward that is published there can be asked for nowhere."""
    said = [*verdicts().tell([row(host, address="", state="pending")])]

    assert said == ["8080/tcp for web1: the host has no such address"]


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


def test_a_port_that_an_interface_without_an_address_has() -> None:
    """It keeps nobody from asking about an address that has the port, too."""
    some = [row("eth9", address="", state="pending"), row("203.0.113.1")]

    found = verdicts().outside.connection(some, "tcp", 8080, ANYBODY)

    assert found.destination == "203.0.113.1"
