"""Changes of dnsmasq's leases since the last look."""

from __future__ import annotations

import time

from ..libvirt.dnsmasq_leases import parse_leases, parse_status
from ..store import files
from ..values.errors import VfwError
from ..values.published import Address, find_address

Lease = tuple[str, Address]


_NEVER = 1 << 62


class LeaseChanges:
    """The leases of every bridge, as MAC and address; that one was made longer in time
    is no news. `gone` are those that the last look has missed."""

    def __init__(self, directory: str) -> None:
        self.gone: set[Lease] = set()
        self._directory = directory
        self._last: dict[str, dict[Lease, int]] = {}
        self._by_mac: dict[str, set[Address]] = {}

    def news(self, name: str) -> set[Lease]:
        """The leases in a bridge's or a network's file that were not there before, or
        had expired."""
        self.gone = set()
        try:
            data = files.read(f"{self._directory}/{name}", files.FOLLOW) or b""
        except OSError as error:
            if files.is_shortage(error):
                raise
            return set()  # status reports this
        try:
            found = (
                parse_leases(data)
                if name.endswith(".leases")
                else parse_status(name, data or b"[]")
            )
        except VfwError:
            return set()  # the file is being written; another event follows
        now = {
            (mac, at): expiry or _NEVER
            for expiry, mac, text in found
            if (at := find_address(text))
        }
        before = self._last.get(name, {})
        self._last[name] = now
        self._by_mac.clear()
        self.gone = before.keys() - now.keys()
        over = time.time()
        return {one for one in now if before.get(one, -1) < min(now[one], over)}

    def of(self, mac: str) -> list[Address]:
        """The addresses that the MAC had when its files were last read."""
        if not self._by_mac:
            for whose, at in (one for leases in self._last.values() for one in leases):
                self._by_mac.setdefault(whose, set()).add(at)
        return sorted(self._by_mac.get(mac, ()), key=str)
