"""Guests whose address comes late, changes, or is known to nobody but themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.machine import static
from lab.net import Net
from product import configure, start_watch, states, stop_watch

URL = "http://203.0.113.1:8080/"
MAC = "52:54:00:aa:00:01"  # has no reservation
# A guest that asks for its lease when it is told to.
SILENT = ["vfw.eth0=none"]
ASK = "ip link set eth0 up; udhcpc -n -q -i eth0 -s /bin/leased -t 30 -T 1"


@pytest.fixture(scope="module")
def watched(host: Host) -> Iterator[Host]:
    """A host with the watch running, and one guest in its file."""
    configure(host, "guests:\n  late: [8080:80]\n")
    start_watch(host)
    yield host
    stop_watch(host)


def is_served(outside: Net) -> bool:
    """Whether the guest answers."""
    return outside.http(URL, timeout=2).answered


def test_lease_that_comes_later(
    watched: Host, outside: Net, measured: Callable[[str, float], None]
) -> None:
    """A guest without reservation is pending until its lease, then reachable."""
    guest = watched.define_guest("late", mac=MAC, options=SILENT)
    guest.start()
    before = states(watched)

    guest.run(ASK)
    wait_until(lambda: "ip-address" in watched.read(LEASES), "the lease")
    start = time.monotonic()
    wait_until(lambda: is_served(outside), "the guest", timeout=30)
    measured("seconds from the lease to the first answer", time.monotonic() - start)
    after = states(watched)
    guest.destroy()
    guest.undefine()

    assert (before, after) == (
        {"late 8080/tcp": "pending"},
        {"late 8080/tcp": "active"},
    )


LEASES = "/var/lib/libvirt/dnsmasq/virbr0.status"


def test_address_that_no_lease_knows(
    watched: Host, outside: Net, measured: Callable[[str, float], None]
) -> None:
    """A static address inside the guest is found by the neighbour table."""
    options = static("192.168.122.77/24", "192.168.122.1")
    guest = watched.define_guest("late", mac="52:54:00:aa:00:02", options=options)
    guest.start()
    guest.wait_until_up()
    guest.run("ping -c1 -W1 192.168.122.1 || :")
    start = time.monotonic()

    wait_until(lambda: is_served(outside), "the guest", timeout=30)
    measured("seconds from the first packet to an answer", time.monotonic() - start)
    guest.destroy()
    guest.undefine()


def test_address_that_changes(watched: Host, outside: Net) -> None:
    """A guest that moves to another address is followed; the old one gets nothing."""
    options = static("192.168.122.77/24", "192.168.122.1")
    guest = watched.define_guest("late", mac="52:54:00:aa:00:03", options=options)
    guest.start()
    guest.wait_until_up()
    guest.run("ping -c1 -W1 192.168.122.1 || :")
    wait_until(lambda: is_served(outside), "the guest", timeout=30)

    moves = "ip addr flush dev eth0", "ip addr add 192.168.122.78/24 dev eth0"
    guest.run("; ".join([*moves, "ip route add default via 192.168.122.1"]))
    guest.run("ping -c1 -W1 192.168.122.1 || :")
    wait_until(lambda: is_served(outside), "its new address")
    standin = watched.standin("squatter", "192.168.122.77/24", mac="52:54:00:aa:00:09")
    with standin.serve_tcp(80):
        bodies = {outside.http(URL).body for _ in range(5)}
    guest.destroy()
    guest.undefine()

    assert bodies == {"late 80 203.0.113.2"}


def test_stale_lease(watched: Host, outside: Net) -> None:
    """While a guest that had an address by lease boots, whoever is there now does not
    get its traffic."""
    first = watched.define_guest("late", mac=MAC, options=SILENT)
    first.start().run(ASK)
    address = first.address
    first.destroy()
    squatter = watched.standin("holder", f"{address}/24", mac="52:54:00:aa:00:0a")
    watched.net.http(f"http://{address}/", timeout=1)

    with squatter.serve_tcp(80) as server:
        first.start()  # and does not ask: the lease is that of before
        replies = [outside.http(URL, timeout=2).body for _ in range(3)]
        clients = list(server.clients)
    first.destroy()
    first.undefine()

    assert ("203.0.113.2" in clients, replies.count("holder 80 203.0.113.2")) == (
        False,
        0,
    )
