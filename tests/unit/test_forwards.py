"""forwards: what forwards.yaml says, as values."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from unit.builders import forward


@pytest.mark.parametrize(
    ("host_ip", "claims"),
    [
        (None, [(4, "*"), (6, "*")]),
        ("0.0.0.0", [(4, "*")]),
        ("::", [(6, "*")]),
        ("203.0.113.5", [(4, "203.0.113.5")]),
        ("2001:db8:0::5", [(6, "2001:db8::5")]),
    ],
)
def test_claims(host_ip: str | None, claims: list[tuple[int, str]]) -> None:
    """No address is every one of both families; 0.0.0.0 and :: are one family's."""
    address = ip_address(host_ip) if host_ip else None

    found = forward(host_ip=address).claims()

    assert found == claims
