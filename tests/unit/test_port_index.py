"""port_index: whose a port of an address is."""

from __future__ import annotations

import pytest

from unit.builders import parsed, published
from vfwhooks.reconcile.port_index import Destination, PortIndex
from vfwhooks.values.entries import Dnat, Reject
from vfwhooks.values.published import Family, parse_address

HOST, OTHER, GUEST = "203.0.113.1", "203.0.113.2", "192.168.122.10"
ENTRIES = {
    "every": f"dnat 4 * tcp 80 80 {GUEST} 8080",
    "one": f"dnat 4 {HOST} tcp 80 80 {GUEST} 8081",
    "range": f"dnat 4 * tcp 79 89 {GUEST} 79",
    "range of one": f"dnat 4 {HOST} tcp 70 90 {GUEST} 70",
    "whole": f"dnat 4 {HOST} all 0 65535 {GUEST} 0",
    "rejected": "reject 4 * udp 80 80",
    "six": "dnat 6 * tcp 80 80 fd00:122::10 80",
}


def destination(line: str) -> Destination:
    """What an entry is about."""
    (entry,) = parsed(line)
    assert isinstance(entry, (Dnat, Reject))
    return Destination(entry.published, entry if isinstance(entry, Dnat) else None)


def packed(host: str) -> bytes:
    """An address as the kernel has it; nothing for every one."""
    return b"" if host == "*" else parse_address(host).packed


@pytest.mark.parametrize(
    ("family", "host", "protocol", "port", "names"),
    [
        ("4", HOST, 6, 80, ["one", "range of one", "whole", "every", "range"]),
        ("4", OTHER, 6, 80, ["every", "range"]),
        ("4", "*", 6, 80, ["every", "range"]),
        ("4", OTHER, 6, 79, ["range"]),
        ("4", HOST, 6, 90, ["range of one", "whole"]),
        ("4", OTHER, 6, 90, []),
        ("4", HOST, 17, 80, ["whole", "rejected"]),
        ("4", HOST, 1, 0, ["whole"]),
        ("6", "2001:db8::1", 6, 80, ["six"]),
        ("6", "*", 6, 81, []),
    ],
)
def test_whose_a_port_is(
    family: str, host: str, protocol: int, port: int, names: list[str]
) -> None:
    """First what is on the address, then all of it, then what is on every one."""
    known = {destination(line): name for name, line in ENTRIES.items()}

    found = PortIndex(known).find(Family(family), packed(host), protocol, port)

    assert [known[one] for one in found] == names


@pytest.mark.parametrize(
    ("host", "protocol", "port", "is_had"),
    [
        ("*", "udp", 80, True),
        ("*", "udp", 81, False),
        (HOST, "sctp", 7, True),
        (OTHER, "sctp", 7, False),
        ("*", "tcp", 89, True),
        ("*", "tcp", 90, False),
    ],
)
def test_whether_anybody_has_it(
    host: str, protocol: str, port: int, is_had: bool
) -> None:
    """On every address, only what is on every one."""
    ports = PortIndex(map(destination, ENTRIES.values()))
    wanted = published(f"4 {host} {protocol} {port} {port}")

    found = ports.covers(wanted, protocol, port)

    assert found is is_had


def test_what_an_entry_is_about() -> None:
    """Packed addresses and numbers; what is rejected leads nowhere."""
    led, rejected = (destination(ENTRIES[name]) for name in ("one", "rejected"))

    assert (led.address, led.target, rejected.address, rejected.target) == (
        packed(GUEST),
        8081,
        b"",
        0,
    )
