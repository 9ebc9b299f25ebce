"""Changes of dnsmasq's leases since the last look."""

from __future__ import annotations

from ..libvirt.dnsmasq_leases import parse_leases, parse_status
from ..store import files
from ..values.errors import VfwError
from ..values.published import Address, find_address

Lease = tuple[str, Address]


class LeaseChanges:
    """The leases of every bridge, as MAC and address; expiry does not count here."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._last: dict[str, set[Lease]] = {}

    def news(self, name: str) -> set[Lease]:
        """The leases in a bridge's or a network's file that were not there before."""
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
        now = {(mac, at) for _, mac, text in found if (at := find_address(text))}
        before = self._last.get(name, set())
        self._last[name] = now
        return now - before

    def of(self, mac: str) -> list[Address]:
        """The addresses that the MAC had when its files were last read."""
        known = set().union(*self._last.values())
        return sorted((at for whose, at in known if whose == mac), key=str)
