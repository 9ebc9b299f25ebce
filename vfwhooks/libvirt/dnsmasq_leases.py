"""Parsers for lease files: of libvirt's helper (JSON), and of dnsmasq itself. Pure.

Before libvirt 1.2.6, and for a dnsmasq that is not libvirt's, only dnsmasq's file
exists:

    1290006942 52:54:00:00:00:10 192.168.122.50 web1 01:52:54:00:00:00:10

The fields are expiry (0: never), MAC, address, name and client. IPv6 leases stand below
a line `duid`, have no MAC and are left out.
"""

from ..values.errors import VfwError


def parse_leases(data: bytes) -> list[tuple[int, str, str]]:
    """Expiry, MAC in lower case and address of every lease in dnsmasq's own file.

    dnsmasq overwrites its file in place, so incomplete lines are skipped.
    """
    found = []
    for line in data.decode("utf-8", "replace").splitlines(keepends=True):
        words = line.split(" ")
        if len(words) == 5 and line.endswith("\n") and words[0].isdecimal():
            mac = words[1].lower()
            if len(mac) == 17 and mac.count(":") == 5:
                found.append((int(words[0]), mac, words[2]))
    return found


def parse_status(path: str, data: bytes) -> list[tuple[int, str, str]]:
    """The same tuples from the helper's JSON file. Raises VfwError."""
    import json  # 5 ms, and dnsmasq's own file needs none

    try:
        leases = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise VfwError(f"{path}: {error}") from error
    found = []
    for lease in leases if isinstance(leases, list) else []:
        if isinstance(lease, dict) and isinstance(lease.get("expiry-time"), int):
            whose = str(lease.get("mac-address", "")).lower()
            found.append((lease["expiry-time"], whose, str(lease.get("ip-address"))))
    return found
