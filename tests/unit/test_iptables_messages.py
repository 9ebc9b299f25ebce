"""iptables_messages: rules as netlink messages; that iptables' tool sees no difference
is in tests/faults/test_starts.py."""

from __future__ import annotations

import pytest

from unit.netlinks import answer, nla, request, text
from vfwhooks.firewall.iptables_messages import put_in
from vfwhooks.firewall.iptables_script import FILTER, NAT, Rules

ANY, MINE = (NAT, "VFW-ANY"), (NAT, "VFW-A-x")
COUNTER = nla(
    0x8001, text(1, "counter"), nla(0x8002, nla(1, bytes(8)), nla(2, bytes(8)))
)


def rules(*shared: str) -> Rules:
    """An owner's, among others' in VFW-ANY."""
    found = Rules()
    found.shared[ANY] = list(shared)
    return found


def added(verdict: bytes) -> bytes:
    """NFT_MSG_NEWRULE at the head of VFW-ANY: a rule that counts and does this."""
    data = nla(1, bytes(4)), nla(0x8002, nla(0x8002, verdict))
    target = nla(0x8001, text(1, "immediate"), nla(0x8002, *data))
    about = text(1, NAT), text(2, ANY[1]), nla(0x8004, COUNTER, target)
    return request(6, answer(*about, family=2), 0x400)


def test_shared_rules_go_to_the_head() -> None:
    """The last one first, so that they stand there in their order."""
    found = put_in("4", [rules("-j ACCEPT", "-j VFW-A-x")])

    jump = nla(1, b"\xff\xff\xff\xfd") + text(2, "VFW-A-x")
    assert found == [added(jump), added(nla(1, b"\0\0\0\1"))]


def test_a_chain_of_ones_own_is_there_first() -> None:
    """What a killed hook has left in it goes."""
    one = Rules()
    one.own[MINE] = []

    found = put_in("6", [one])

    made = request(3, answer(text(1, NAT), text(3, MINE[1]), family=10), 0x400)
    emptied = request(8, answer(text(1, NAT), text(2, MINE[1]), family=10))
    assert found == [made, emptied]


@pytest.mark.parametrize(
    "rule",
    [
        "-p sctp -m sctp --dport 80 -j VFW-A-x",
        "-p sctp -m multiport --dports 80 -m comment --comment u -j VFW-A-x",
        "-p tcp -m udp --dport 80 -j ACCEPT",
        "-i virbr0 -m comment --comment u -j DROP",
        "-m conntrack --ctstate RELATED --ctdir REPLY -j ACCEPT",
        "-m conntrack --ctstate DNAT -j ACCEPT",
        "-s 10.0.0.1/32 -j SNAT --to-source 192.0.2.1",
        "-p tcp -j REJECT --reject-with tcp-reset",
        "-d 10.0.0.1/32",
    ],
)
def test_what_is_not_known_is_the_tools(rule: str) -> None:
    """All of it: what comes together comes in one transaction."""
    assert put_in("4", [rules("-j ACCEPT", rule)]) is None


def test_nothing_to_add() -> None:
    """A family in which nobody has anything."""
    assert put_in("4", [Rules()]) == []


def test_another_table() -> None:
    """A rule is where its chain is."""
    one = Rules()
    one.shared[FILTER, "VFW-FORWARD"] = ["-j RETURN"]

    (found,) = put_in("4", [one]) or [b""]

    assert text(1, FILTER) + text(2, "VFW-FORWARD") in found
