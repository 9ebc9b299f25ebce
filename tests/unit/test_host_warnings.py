"""host_warnings: what is said of a valid forwards.yaml on this host; more of it:
tests/e2e."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unit.builders import Host, forward, guest_forwards, network, place
from vfwhooks.diagnosis.host_warnings import find_host_warnings

HAIRPIN = place(3, 14)
BOTH = [("192.168.122.1", "192.168.122.0/24"), ("fd00:122::1", "fd00:122::/64")]


@pytest.mark.parametrize(
    ("on", "where"),
    [
        ("", "default"),
        ("default", "default"),
        ("virbr0", "default"),
        ("lab", ""),
        ("lan", ""),
    ],
)
def test_hairpin_mode_where_ipv6_is_in_use(on: str, where: str) -> None:
    """On a network of libvirt's that the guest may be on: a key in the defaults, which
    holds for two guests, is named once."""
    lan = network("lan", "br-lan", "bridge", BOTH)
    host = Host(network(subnets=BOTH), network("lab", "virbr1"), lan)
    guests = [
        replace(guest_forwards(name, forward(port)), hairpin=HAIRPIN, network=on)
        for name, port in (("web1", "80"), ("web2", "81"))
    ]

    found = [str(problem) for problem in find_host_warnings(guests, host)]

    harm = "a port in hairpin mode gets its own broadcasts back, and a guest may take"
    harm += " them for another's that has its IPv6 address, and give it up"
    cure = "Linux since 4.10 does not; for a guest that does, write hairpin: false"
    said = f"{HAIRPIN}: warning: network {where} has IPv6: {harm}; {cure}"
    assert found == [said] * bool(where)


def test_hairpin_mode_where_ipv6_is_not_in_use() -> None:
    """Nothing is said of IPv4, of a guest without forwards or without the key."""
    reaches_itself = replace(guest_forwards("web1", forward()), hairpin=HAIRPIN)
    without = replace(guest_forwards("web1"), hairpin=HAIRPIN)

    found = [
        find_host_warnings([reaches_itself], Host(network())),
        find_host_warnings([without], Host(network(subnets=BOTH))),
        find_host_warnings(
            [guest_forwards("web1", forward())], Host(network(subnets=BOTH))
        ),
    ]

    assert found == [[], [], []]


@pytest.mark.parametrize(
    ("bridge", "said"),
    [
        ("br-nat", ""),
        (
            "virbr0",
            "virbr0 is the bridge of libvirt's network default, and is taken for it; "
            "write network: default",
        ),
        (
            "br-out",
            "br-out has the address by which the world knows the host: on the LAN the "
            "guest is reached at its own, without forwards",
        ),
        ("br-gone", "bridge br-gone is not there; forwards come with it"),
        (
            "br-lan",
            "the host has no address on bridge br-lan: on the LAN the guest is reached "
            "at its own address, without forwards; behind NAT, give br-lan the guests' "
            "gateway address",
        ),
    ],
)
def test_a_bridge(bridge: str, said: str) -> None:
    """What is odd about it on this host, where it stands."""
    own = [("10.9.0.1", "10.9.0.0/24")]
    host = Host(
        network(),
        network("/bridge:br-nat", "br-nat", "open", own),
        network("/bridge:br-lan", "br-lan", "open", []),
        network("/bridge:br-out", "br-out", "open", [("192.0.2.1", "192.0.2.0/24")]),
        default_sources=["192.0.2.1"],
    )
    web1 = guest_forwards("web1", forward("80"))
    at = place(4, 13)

    found = find_host_warnings([replace(web1, bridge=bridge, bridge_place=at)], host)

    assert [str(one) for one in found] == [f"{at}: warning: {said}"] * bool(said)
