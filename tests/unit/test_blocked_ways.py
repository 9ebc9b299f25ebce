"""blocked_ways: what chains with the policy drop do to forwards, computed; e2e asks
real connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from unit.test_port_verdicts import HOST, TwoUplinks
from unit.test_unanswered import row
from vfwhooks.diagnosis.blocked_ways import BlockedWays
from vfwhooks.diagnosis.blockers import Blocker
from vfwhooks.diagnosis.hindered_rows import hindered
from vfwhooks.diagnosis.port_verdicts import PortVerdicts
from vfwhooks.diagnosis.status_rows import ForwardStatus
from vfwhooks.rulesets.context import Context, Names
from vfwhooks.rulesets.ruleset_reader import read_ruleset
from vfwhooks.values.errors import VfwError
from vfwhooks.values.findings import WRONG, Finding, run

SITE = """table inet site {
	chain lan {
		accept
	}
	chain routed { # handle 1
		type filter hook forward priority 10; policy drop;
		%s # handle 4
	}
	chain other {
		type filter hook forward priority 20; policy drop;
	}
}
"""
DROPS = "chain inet site routed drops what it does not accept"
FOUND = Finding(WRONG, "chain-drops", "routed", DROPS, run("a", "b"), "its policy")
BLOCKER = Blocker("4", FOUND, chain="nft inet site routed")
BY_HAND = "made by somebody by hand, or a script without a mark"


def judged(
    rules: Sequence[str],
    one: ForwardStatus | None = None,
    blocker: Blocker = BLOCKER,
    ruleset: str = SITE,
) -> tuple[str, str]:
    """State and reason of a forward beside a chain with these rules."""
    text = ruleset % " # handle 3\n\t\t".join(rules)

    def read() -> PortVerdicts:
        known = Context(read_ruleset(text, "it"), Names({"virbr0": "default"}))
        return PortVerdicts(known, HOST, TwoUplinks())

    ways = BlockedWays(read)
    found = hindered(one or row(), {"virbr0"}, [blocker], ways)
    return found.state, found.reason


@pytest.mark.parametrize(
    "rules",
    [
        ['oifname { "virbr0", "virbr1" } accept'],
        ['oifname "virbr0" jump lan'],
        ["ct status dnat tcp dport 80 accept"],
        ["ip daddr 192.168.122.10 tcp dport 80 accept"],
        ["tcp dport 8080 drop", "ct state new accept"],
    ],
)
def test_rules_that_let_it_through(rules: list[str]) -> None:
    """Whatever their words are, nothing is blocked, and other chains do not count."""
    assert judged(rules) == ("active", "")


@pytest.mark.parametrize(
    "rules",
    [
        ["ct state established,related accept"],
        ['iifname "lan" oifname "virbr0" accept'],
        ["ct status dnat tcp dport 443 accept"],
        ["meta cpu 7 drop"],
        ["meta cpu 7 drop", "tcp dport 81 accept"],
        ["ip saddr 198.51.100.0/24 accept"],
    ],
)
def test_rules_that_do_not(rules: list[str]) -> None:
    """Those of other packets, and one that can only refuse more."""
    assert judged(rules) == ("blocked", f"{DROPS}; run: a b")


@pytest.mark.parametrize(
    "rules", [["meta cpu 7 accept"], ["meta cpu 7 drop", "tcp dport 80 accept"]]
)
def test_a_rule_that_nobody_can_tell(rules: list[str]) -> None:
    """The forward is not called broken, and the condition is told."""
    handle = 4 if len(rules) == 1 else 3
    rule = f"handle {handle} of inet site, chain routed: {rules[0]} ({BY_HAND})"
    reason = f"{DROPS}; this forward depends on: meta cpu 7 ({rule})"
    assert judged(rules) == ("active", reason)


@pytest.mark.parametrize(
    ("refuses", "address"), [("mgmt0", "10.9.9.1"), ("outside", "203.0.113.1")]
)
def test_one_address_of_several(refuses: str, address: str) -> None:
    """A forward on every address serves those of the other."""
    rules = [f'iifname "{refuses}" drop', 'oifname "virbr0" accept']

    reason = f"not answered on {address}: {DROPS}; run: a b"
    assert judged(rules) == ("active", reason)


@pytest.mark.parametrize(
    ("network", "state"), [("198.51.100.0/24", "active"), ("192.0.2.0/24", "blocked")]
)
def test_who_may_connect(network: str, state: str) -> None:
    """A forward with allow_from is asked for by somebody in it."""
    one = replace(row(), allow_from=(network,))

    assert judged(["ip saddr 198.51.100.0/24 accept"], one)[0] == state


def test_a_chain_that_is_not_listed() -> None:
    """What the kernel says of its policy counts: nft may be missing, or fail."""

    def fail() -> PortVerdicts:
        raise VfwError("nft is not installed")

    failing = BlockedWays(fail)
    elsewhere = replace(BLOCKER, chain="legacy ip filter FORWARD")

    found = [judged(["accept"], blocker=elsewhere)[0]]
    found.append(hindered(row(), set(), [BLOCKER], failing).state)
    assert found == ["blocked"] * 2


def test_what_it_costs() -> None:
    """The ruleset is read once for all forwards, and not at all without a blocker."""
    read = []

    def count() -> PortVerdicts:
        read.append(1)
        known = Context(read_ruleset(SITE % "accept", "it"), Names())
        return PortVerdicts(known, HOST, TwoUplinks())

    ways = BlockedWays(count)
    some = [row(published=str(port), target=str(port)) for port in (80, 81)]
    hindered(some[0], {"virbr0"}, [], ways)
    hindered(some[0], {"virbr0"}, [replace(BLOCKER, family="6")], ways)
    before = len(read)
    for one in some:
        hindered(one, {"virbr0"}, [BLOCKER], ways)

    assert (before, len(read)) == (0, 1)


def test_each_port_by_itself() -> None:
    """One that the chain accepts, and one that it drops, of the same guest."""
    rules = ["tcp dport 80 accept"]

    found = [judged(rules, row(target=port))[0] for port in ("80", "81")]

    assert found == ["active", "blocked"]


def test_the_worst_of_all_forwards() -> None:
    """What doctor says of the host: it is wrong if one forward is blocked."""
    text = SITE % "tcp dport 80 accept"
    known = Context(read_ruleset(text, "it"), Names())
    verdicts = PortVerdicts(known, HOST, TwoUplinks())
    ways = BlockedWays(lambda: verdicts)
    good, bad = row(target="80"), row(target="81")

    found = [ways.worst(BLOCKER, some) for some in ([good], [good, bad])]

    assert found == [None, FOUND]


def test_forwarding_that_is_off() -> None:
    """No rule can let through what the kernel does not forward."""
    assert judged(["accept"], blocker=replace(BLOCKER, chain=""))[0] == "blocked"


LEGACY = """# vfwhooks explain: iptables%s
# of iptables-save
*filter
:FORWARD DROP [0:0]
-A FORWARD %s
COMMIT
"""


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        ("-i outside -o virbr0 -j ACCEPT", "active"),
        ("-d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT", "active"),
        ("-i lan -o virbr0 -j ACCEPT", "blocked"),
    ],
)
@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_iptables(kind: str, rule: str, state: str) -> None:
    """The same in both variants, of which one has another's chain of that name."""
    mine, other = ("-legacy", "") if kind == "legacy" else ("", "-legacy")
    text = LEGACY % (other, "-j DROP") + LEGACY % (mine, "%s")
    one = row("203.0.113.1")

    blocker = replace(BLOCKER, chain=f"{kind} ip filter FORWARD")

    assert judged([rule], one, blocker, text)[0] == state
