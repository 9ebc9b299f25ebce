"""routes: which news of routes are about what is asked. What a kernel answers is seen
in tests/e2e/test_return_path.py and test_absent.py."""

from __future__ import annotations

from ipaddress import ip_network
from socket import AF_INET, AF_INET6

import pytest

from vfwhooks.host.routes import covers_far_away


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("0.0.0.0/0", True),
        ("128.0.0.0/1", True),
        ("0.0.0.0/1", False),
        ("198.18.0.0/15", True),
        ("192.168.122.0/24", False),
        ("::/0", True),
        ("2000::/3", True),
        ("2001:db8::/32", False),
        ("fe80::/64", False),
    ],
)
def test_routes_that_lead_far_away(prefix: str, expected: bool) -> None:
    """The default route, its halves, and what else has nobody's addresses in it."""
    network = ip_network(prefix)
    family = AF_INET6 if network.version == 6 else AF_INET
    bits, packed = network.prefixlen, network.network_address.packed

    found = covers_far_away(family, bits, packed if bits else b"")

    assert found is expected


def test_routes_of_other_families() -> None:
    """MPLS and multicast are nobody's answers."""
    assert covers_far_away(28, 20, b"\0\0\1\1") is False
