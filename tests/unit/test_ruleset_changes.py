"""What changed from one ruleset to another, in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unit.builders import CHECKOUT, PROPERTY
from vfwhooks.rulesets.changes import find_changes
from vfwhooks.rulesets.context import Names
from vfwhooks.rulesets.ruleset_reader import load_ruleset, read_ruleset

CASES = CHECKOUT / "tests/cases"
NAMES = Names()


def changes(old: str, new: str) -> list[str]:
    """The lines about two texts."""
    both = read_ruleset(old, "old"), read_ruleset(new, "new")
    return list(find_changes(*both, NAMES))


def save(*rules: str, policy: str = "ACCEPT", count: int = 0) -> str:
    """An iptables-save with these rules in FORWARD."""
    lines = "".join(f"[{count}:{count}] -A FORWARD {rule}\n" for rule in rules)
    return f"*filter\n:FORWARD {policy} [{count}:{count}]\n{lines}COMMIT\n"


def test_the_comparison_that_the_owner_made_by_hand() -> None:
    """The recorded Xen host before and after its guest was started: one rule."""
    old, new = (
        load_ruleset(CASES / "explain" / name / "ruleset")
        for name in ("xen-default", "xen-vm-running")
    )

    assert list(find_changes(old, new, NAMES)) == [
        "+ ip filter, chain FORWARD, line 21: -m physdev --physdev-in vif1.0 -j ACCEPT",
        "    A packet that comes in by the bridge port vif1.0 is accepted. (made by "
        "Xen's vif script, for the interface vif1.0 of domain 1)",
    ]


def test_spellings_and_counters_are_no_change() -> None:
    """An iptables of 2010 and one of today may say the same."""
    old, new = (
        load_ruleset(CASES / "explain" / name / "ruleset")
        for name in ("xen-default", "kvm-fedora13")
    )
    text, as_json = (
        load_ruleset(CASES / "rulesets" / f"nftables.{kind}")
        for kind in ("nft", "json")
    )

    found = [
        *find_changes(old, new, NAMES),
        *find_changes(text, as_json, NAMES),
        *changes(save("-j DROP", count=1), save("-j DROP", count=2)),
    ]

    assert found == []


def test_policies_orders_tables_and_sets() -> None:
    """Each in its own words."""
    one, other = "-i eth0 -j DROP", "-i eth1 -j ACCEPT"
    table = "table inet t {\n\tset s {\n\t\telements = { %s }\n\t}\n}\n"

    found = [
        *changes(save(one, other), save(other, one, policy="DROP")),
        *changes(table % "1, 2", table % "2, 3"),
        *changes("", table % "1"),
        *changes(save(), ""),
    ]

    assert found == [
        "~ ip filter, chain FORWARD: the policy was ACCEPT and is DROP: what no rule "
        "takes is dropped",
        "~ ip filter, chain FORWARD: line 3 stands in another place than before",
        "    -i eth1 -j ACCEPT",
        "- inet t, set s: 1",
        "+ inet t, set s: 3",
        "+ table inet t is new",
        "+ inet t, set s: 1",
        "- table ip filter is gone",
    ]


RULES = st.lists(st.integers(0, 9).map("-i eth{} -j DROP".format), max_size=8)


@PROPERTY
@given(RULES, RULES)
def test_what_is_said_leads_from_one_to_the_other(
    old: list[str], new: list[str]
) -> None:
    """Taking out what is gone and putting in what is new gives the new rules; and where
    nothing is said, the two are the same."""
    lines = changes(save(*old), save(*new))

    left = sorted(old)
    for line in lines:
        rule = line.partition(": ")[2]
        if line[0] == "-":
            left.remove(rule)
        elif line[0] == "+":
            left.append(rule)
    assert (sorted(left), bool(lines) or old == new) == (sorted(new), True)
