"""Endpoints of guests under the watch, as leases and neighbours come, go and are
forgotten."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from standin import STATE, StandIn, alone, ipv4, put, run, wait_for

from faults.scenes import WEB1
from faults.test_watch import FORWARDS, LEASES, neighbour
from faults.watched import rest, watching

RECORD = STATE / "guests" / "qemu" / "web1"
ELSEWHERE = "192.168.122.77"
HOUR = 3600


def leases(*known: tuple[str, int]) -> None:
    """web1's: address, and seconds from now on."""
    some = [
        {
            "ip-address": address,
            "mac-address": WEB1.mac,
            "expiry-time": int(time.time()) + seconds,
        }
        for address, seconds in known
    ]
    put(LEASES, json.dumps(some))


def endpoint() -> str:
    """Where web1 is forwarded to; '' for nowhere."""
    lines = RECORD.read_text().split("\n") if RECORD.exists() else []
    found = [one for one in lines if one.startswith("entry accept 4 ")]
    return " ".join(found).removeprefix("entry accept 4 ")


def nobody_at(address: str) -> bool:
    """Whether the kernel has asked in vain."""
    return "FAILED" in run("ip", "neigh", "show", address, "dev", "virbr0")


@contextmanager
def answering(address: str) -> Iterator[None]:
    """web1 itself, as far as its interface answers at this address."""
    with subprocess.Popen(["unshare", "-n", "sleep", "1000"]) as inside:
        try:
            of = "/proc/self/ns/net", f"/proc/{inside.pid}/ns/net"
            wait_for(lambda: len({Path(one).readlink() for one in of}) == 2)
            port = "vnet11", "address", "fe:54:00:00:00:0b", "master", "virbr0"
            peer = "name", "eth0", "address", WEB1.mac, "netns", str(inside.pid)
            run("ip", "link", "add", *port, "type", "veth", "peer", *peer)
            run("ip", "link", "set", "vnet11", "up")
            its = "nsenter", "-t", str(inside.pid), "-n", "ip"
            run(*its, "addr", "add", f"{address}/24", "dev", "eth0")
            run(*its, "link", "set", "eth0", "up")
            yield
        finally:
            inside.kill()


@alone
def test_a_guest_that_leaves_its_lease() -> None:
    """It had an address by DHCP, and has another one that is set inside: that counts
    when the first one does not answer."""
    host = StandIn("nftables", FORWARDS)
    with watching() as watch:
        leases((ipv4(WEB1), HOUR))
        host.start(WEB1)
        wait_for(lambda: endpoint() == ipv4(WEB1))
        rest(watch)  # it has read the record, too
        neighbour(ELSEWHERE, WEB1.mac)

        wait_for(lambda: endpoint() == ELSEWHERE)


@alone
def test_a_lease_that_ends() -> None:
    """The guest is asked for there, and goes where it is seen, though that is no news:
    nobody has asked before."""
    host = StandIn("nftables", FORWARDS)
    with watching():
        neighbour(ELSEWHERE, WEB1.mac)
        leases((ipv4(WEB1), HOUR))
        host.start(WEB1)
        wait_for(lambda: endpoint() == ipv4(WEB1))
        time.sleep(4)
        before = endpoint()

        leases()

        wait_for(lambda: endpoint() == ELSEWHERE)

    assert before == ipv4(WEB1)


@alone
def test_a_lease_of_before_that_is_longer() -> None:
    """Of two leases the one that ends later is the newer one as a rule; not if it was
    given without end, or while the clock was wrong."""
    host = StandIn("nftables", FORWARDS)
    with answering(ELSEWHERE), watching():
        leases((ipv4(WEB1), 9 * HOUR))
        host.start(WEB1)
        wait_for(lambda: endpoint() == ipv4(WEB1))

        leases((ipv4(WEB1), 9 * HOUR), (ELSEWHERE, HOUR))

        wait_for(lambda: endpoint() == ELSEWHERE)


@alone
def test_a_lease_that_had_expired() -> None:
    """The host was off for longer than that: the guest gets the same one again."""
    host = StandIn("nftables", FORWARDS)
    leases((ipv4(WEB1), -HOUR))
    with watching():
        host.start(WEB1)
        time.sleep(1)
        before = endpoint()

        leases((ipv4(WEB1), HOUR))

        wait_for(lambda: endpoint() == ipv4(WEB1))

    assert before == ""


@alone
def test_an_address_that_the_kernel_has_forgotten() -> None:
    """Where there are many neighbours, the kernel forgets the silent ones. A guest that
    is seen at a second address is asked for at the first one, and moves to the second
    when nobody answers; not before."""
    host = StandIn("nftables", FORWARDS)
    with watching() as watch:
        host.start(WEB1)
        neighbour(ipv4(WEB1), WEB1.mac)
        wait_for(lambda: endpoint() == ipv4(WEB1))
        rest(watch)  # it has read the record, too
        run("ip", "neigh", "del", ipv4(WEB1), "dev", "virbr0")

        neighbour(ELSEWHERE, WEB1.mac)
        before: set[str] = set()

        def has_asked() -> bool:
            at = endpoint()
            is_over = nobody_at(ipv4(WEB1))
            before.update(() if is_over else (at,))
            return is_over

        wait_for(has_asked)

        wait_for(lambda: endpoint() == ELSEWHERE)

    assert before <= {ipv4(WEB1)}


@alone
def test_an_address_that_packets_go_to_all_the_time() -> None:
    """The kernel asks for it anew at once when nobody has answered, so that it is never
    found silent: that it was silent counts."""
    host = StandIn("nftables", FORWARDS)
    with watching() as watch, socket.socket(type=socket.SOCK_DGRAM) as client:
        host.start(WEB1)
        neighbour(ipv4(WEB1), WEB1.mac)
        wait_for(lambda: endpoint() == ipv4(WEB1))
        rest(watch)

        neighbour(ELSEWHERE, WEB1.mac)

        def has_moved() -> bool:
            with suppress(OSError):  # nobody is there
                client.sendto(b"1", (ipv4(WEB1), 80))
            return endpoint() == ELSEWHERE

        wait_for(has_moved)


@alone
def test_a_guest_whose_bridge_libvirt_does_not_name() -> None:
    """libvirt before 1.2.11 or so names the network alone: the guest is asked for on
    its bridge all the same."""
    host = StandIn("nftables", FORWARDS)
    with watching() as watch:
        xml = WEB1.xml().replace(" bridge='virbr0'", "")
        host.call("qemu", "web1", "started", xml)
        neighbour(ipv4(WEB1), WEB1.mac)
        wait_for(lambda: endpoint() == ipv4(WEB1))
        rest(watch)  # it has read the record, too

        neighbour(ELSEWHERE, WEB1.mac)

        wait_for(lambda: endpoint() == ELSEWHERE)


@alone
def test_a_lease_where_nobody_has_answered() -> None:
    """It counts at once, though the kernel has asked there in vain: the guest is about
    to be there."""
    host = StandIn("nftables", FORWARDS)
    with watching() as watch:
        host.start(WEB1)
        neighbour(ipv4(WEB1), WEB1.mac)
        wait_for(lambda: endpoint() == ipv4(WEB1))
        failed = "dev", "virbr0", "nud", "failed"
        run("ip", "neigh", "replace", ELSEWHERE, *failed)
        rest(watch)
        # Whoever waits until the kernel has asked anywhere again waits for minutes.
        Path("/proc/sys/net/ipv4/neigh/virbr0/retrans_time_ms").write_text("60000")

        leases((ELSEWHERE, HOUR))

        wait_for(lambda: endpoint() == ELSEWHERE)
