"""dnsmasq: leases in its own format."""

from __future__ import annotations

import pytest

from unit.builders import MAC
from vfwhooks.dnsmasq import parse_leases

LEASE = f"1290006942 {MAC} 192.168.122.50 web1 01:{MAC}\n"


def test_leases_in_their_order() -> None:
    """Expiry, MAC and address; a name or client that is unknown is a star."""
    text = LEASE + f"0 {MAC.upper()} 192.168.122.51 * *\n"

    found = parse_leases(text.encode())

    assert found == [
        (1290006942, MAC, "192.168.122.50"),
        (0, MAC, "192.168.122.51"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "duid 00:01:00:01:1a:2b:3c:4d:52:54:00:00:00:10\n",
        "1290006942 8089530 fd00:122::6d web1 00:04:76:00\n",
        f"1290006942 06-{MAC} 192.168.122.50 web1 *\n",
        f"1290006942 {MAC} 192.168.122.50 web1\n",
        f"1290006942 {MAC} 192.168.122.50 web1 * *\n",
        f"soon {MAC} 192.168.122.50 web1 *\n",
        f"-1 {MAC} 192.168.122.50 web1 *\n",
        f"1290006942 {MAC} 192.168.122.5",
        f"1290006942 {MAC} 192.168.122.50 web1 *",
        "\udcff\udcfe\n",
    ],
)
def test_what_is_no_whole_lease_of_ours(line: str) -> None:
    """IPv6, other hardware, another shape, half written: passed over, for itself."""
    data = (LEASE + line).encode("utf-8", "surrogateescape")

    found = parse_leases(data)

    assert found == [(1290006942, MAC, "192.168.122.50")]
