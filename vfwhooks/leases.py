"""What changed in dnsmasq's leases since the last look."""

import json

from . import files

Lease = tuple[str, str]


class Leases:
    """The leases of every bridge, as MAC and address; expiry does not matter here."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._last: dict[str, set[Lease]] = {}

    def news(self, name: str) -> set[Lease]:
        """The leases in a bridge's file that were not there at the last look."""
        data = files.read(f"{self._directory}/{name}")
        try:
            leases = json.loads(data or "[]")
        except ValueError:
            return set()  # in the middle of being written; another event follows
        now = {
            (
                str(lease.get("mac-address", "")).lower(),
                str(lease.get("ip-address", "")),
            )
            for lease in (leases if isinstance(leases, list) else [])
            if isinstance(lease, dict)
        }
        before = self._last.get(name, set())
        self._last[name] = now
        return now - before
