"""Leases by MAC, and the leases that have not expired."""

from __future__ import annotations

import time

from ..values.published import Address, find_address

Leases = dict[str, list[tuple[int, str]]]  # by MAC: expiry and address


def by_mac(leases: list[tuple[int, str, str]]) -> Leases:
    found: Leases = {}
    for expiry, mac, address in leases:
        found.setdefault(mac, []).append((expiry, address))
    return found


def find_valid(leases: list[tuple[int, str]]) -> list[tuple[int, Address]]:
    """The leases that have not expired, latest expiry first, and then by address; 0
    means never."""
    now = time.time()
    some = [(expiry or 1 << 62, find_address(text)) for expiry, text in leases]
    found = [(expiry, one) for expiry, one in some if one and expiry > now]
    return sorted(found, key=lambda lease: (-lease[0], int(lease[1])))
