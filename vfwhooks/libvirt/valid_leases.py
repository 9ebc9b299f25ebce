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
    """The leases that have not expired, latest expiry first; 0 means never."""
    now = time.time()
    some = [(expiry or 1 << 62, text) for expiry, text in leases]
    some = sorted((one for one in some if one[0] > now), reverse=True)
    return [(e, one) for e, text in some if (one := find_address(text))]
