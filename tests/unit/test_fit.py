"""fit: what is said of a valid forwards.yaml on this host; more of it: tests/e2e."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unit.builders import Host, forward, guest_forwards, network, place
from vfwhooks.fit import find_misfits

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

    found = [str(problem) for problem in find_misfits(guests, host)]

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
        find_misfits([reaches_itself], Host(network())),
        find_misfits([without], Host(network(subnets=BOTH))),
        find_misfits([guest_forwards("web1", forward())], Host(network(subnets=BOTH))),
    ]

    assert found == [[], [], []]
