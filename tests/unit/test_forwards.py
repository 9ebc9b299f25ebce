"""forwards: what forwards.yaml says, as values."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from unit.builders import forward
from vfwhooks.store.entry_text import format_published


@pytest.mark.parametrize(
    ("host_ip", "claims"),
    [
        (None, ["4 * tcp 8080 8080", "6 * tcp 8080 8080"]),
        ("0.0.0.0", ["4 * tcp 8080 8080"]),
        ("::", ["6 * tcp 8080 8080"]),
        ("203.0.113.5", ["4 203.0.113.5 tcp 8080 8080"]),
        ("2001:db8:0::5", ["6 2001:db8::5 tcp 8080 8080"]),
    ],
)
def test_claims(host_ip: str | None, claims: list[str]) -> None:
    """No address is every one of both families; 0.0.0.0 and :: are one family's."""
    address = ip_address(host_ip) if host_ip else None

    found = forward(host_ip=address).claims()

    assert list(map(format_published, found)) == claims
