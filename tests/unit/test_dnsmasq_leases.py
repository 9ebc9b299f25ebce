"""dnsmasq_leases: leases in its own format, and in that of libvirt's helper."""

from __future__ import annotations

import json

import pytest

from unit.builders import MAC, refusal
from vfwhooks.libvirt.dnsmasq_leases import parse_leases, parse_status

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


def test_leases_of_libvirts_helper() -> None:
    """The same of them, in their order; what is no lease is passed over."""
    known = {"ip-address": "192.168.122.50", "mac-address": MAC.upper()}
    data = json.dumps([{**known, "expiry-time": 1290006942}, known, 7, None])

    found = parse_status("virbr0.status", data.encode())

    assert found == [(1290006942, MAC, "192.168.122.50")]


@pytest.mark.parametrize("data", [b"", b"[", b"\xff", b"[" * 100_000])
def test_a_helpers_file_that_is_not_whole(data: bytes) -> None:
    """It is said, with its name."""
    said = refusal(parse_status, "virbr0.status", data)

    assert said.startswith("virbr0.status: ")
