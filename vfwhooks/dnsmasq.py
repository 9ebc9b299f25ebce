"""Leases as dnsmasq itself writes them: all there is before libvirt 1.2.6. Pure.

    1290006942 52:54:00:00:00:10 192.168.122.50 web1 01:52:54:00:00:00:10

Expiry (0: never), MAC, address, name, client. IPv6 leases, which stand below a line
`duid`, have no MAC and are left out.
"""


def parse_leases(data: bytes) -> list[tuple[int, str, str]]:
    """Expiry, MAC in lower case and address of every lease.

    dnsmasq writes over its file in place: a line that is not whole is passed over.
    """
    found = []
    for line in data.decode("utf-8", "replace").splitlines(keepends=True):
        words = line.split(" ")
        if len(words) == 5 and line.endswith("\n") and words[0].isdecimal():
            mac = words[1].lower()
            if len(mac) == 17 and mac.count(":") == 5:
                found.append((int(words[0]), mac, words[2]))
    return found
