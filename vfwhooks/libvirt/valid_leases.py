"""Leases by MAC, and which of them have not expired."""

import time

from .xml import canonical

Leases = dict[str, list[tuple[int, str]]]  # by MAC: expiry and address


def by_mac(leases: list[tuple[int, str, str]]) -> "Leases":
    found: Leases = {}
    for expiry, mac, address in leases:
        found.setdefault(mac, []).append((expiry, address))
    return found


def find_valid(leases: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those that have not expired, the latest first; 0 is never."""
    now = time.time()
    found = [(e or 1 << 62, canonical(a)) for e, a in leases if e == 0 or e > now]
    return sorted([lease for lease in found if lease[1]], reverse=True)
