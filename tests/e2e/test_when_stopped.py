"""`when_stopped: reject`: the ports of a guest that is off are not the host's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.host import Host
from lab.net import Net
from product import configure, ruleset, status, vfwhooks

from e2e.standins import Standin, check_everything

FORWARDS = """
defaults: {when_stopped: reject}
guests:
  web1:
    - 8080:80
    - 53:53/udp
    - 203.0.113.5:2525:25
    - {published: 5000-5010, protocol: [tcp, udp]}
    - {published: 8443, target: 443, allow_from: 198.51.100.0/24}
  web2: {ports: [9090:90, 2525], when_stopped: pass}
"""
HOST = "203.0.113.1"


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Iterator[Standin]:
    """The guest that is off, on a host that has a second address."""
    host.net.ip("addr add 203.0.113.5/24 dev outside")
    put_in_force(host, FORWARDS)
    yield Standin(host, "web1", 10)
    put_in_force(host, "guests: {}\n")


def put_in_force(host: Host, forwards: str) -> None:
    """An edit and its apply."""
    configure(host, forwards)
    assert vfwhooks(host, "apply").status == 0


@pytest.mark.parametrize("address", [HOST, "203.0.113.5", "[2001:db8::1]"])
@pytest.mark.parametrize("port", [8080, 5000, 5007, 8443])
def test_reset_although_the_host_serves(
    host: Host, outside: Net, web1: Standin, address: str, port: int
) -> None:
    """A guest that never ran: who connects gets a reset on every address, and never
    meets a service of the host."""
    with host.net.serve_tcp(port):
        reply = outside.http(f"http://{address}:{port}/")

    assert reply.refused


@pytest.mark.parametrize("port", [53, 5003])
def test_udp_is_told_that_nobody_is_there(
    host: Host, outside: Net, web1: Standin, port: int
) -> None:
    """Over UDP that is an ICMP error."""
    with host.net.serve_udp(port, HOST):
        reply = outside.udp(HOST, port)

    assert reply.refused


def test_the_host_and_its_guests_are_rejected_as_well(
    host: Host, web1: Standin
) -> None:
    """From wherever the connection comes."""
    with host.net.serve_tcp(8080):
        replies = [
            net.http(f"http://{HOST}:8080/").refused for net in (host.net, web1.net)
        ]

    assert replies == [True, True]


def test_what_stays_the_hosts(host: Host, outside: Net, web1: Standin) -> None:
    """Loopback, DNS on libvirt's bridge, and every port that nobody has claimed."""
    query = "\0\1\1\0\0\1\0\0\0\0\0\0\1x\0\0\1\0\1"

    with host.net.serve_tcp(8080), host.net.serve_tcp(9090):
        loopback = host.net.http("http://127.0.0.1:8080/").answered
        unclaimed = outside.http(f"http://{HOST}:9090/").answered
    dns = web1.net.udp("192.168.122.1", 53, query).answered

    assert (loopback, unclaimed, dns) == (True, True, True)


def test_a_port_on_one_address_is_nobody_elses(
    host: Host, outside: Net, web1: Standin
) -> None:
    """What an absent guest has on one address leads to no other guest that has the
    same port on every address."""
    web2 = Standin(host, "web2", 11)
    web2.start()

    with web2.net.serve_tcp(2525):
        bound = outside.http("http://203.0.113.5:2525/").refused
        other = outside.http(f"http://{HOST}:2525/").answered
    web2.stop()

    assert (bound, other) == (True, True)


def test_status_of_a_guest_that_is_off(host: Host, web1: Standin) -> None:
    """Its forwards are stopped, and what that means is said."""
    rows = {
        (row["guest"], row["state"], row["reason"]) for row in status(host)["forwards"]
    }

    off = "the guest is not running"
    assert rows == {
        ("web1", "stopped", f"{off}; its ports are rejected"),
        ("web2", "stopped", off),
    }


def test_it_serves_while_it_runs(host: Host, outside: Net, web1: Standin) -> None:
    """Served while it runs and rejected when it has stopped, and the kernel holds what
    a full apply would put there, at every step."""
    off = sorted(ruleset(host).split("\n"))
    seen = []

    for step in (web1.start, web1.stop):
        step()
        with web1.net.serve_tcp(80), host.net.serve_tcp(8080):
            reply = outside.http(f"http://{HOST}:8080/")
        before = sorted(ruleset(host).split("\n"))
        check_everything(host)
        after = sorted(ruleset(host).split("\n"))
        seen.append((reply.outcome.value, before == after))

    assert seen == [("answered", True), ("refused", True)]
    assert after == off


def test_rejected_from_the_first_event_after_boot(
    host: Host, outside: Net, web1: Standin
) -> None:
    """Before any guest has started: libvirt's own network is enough."""
    off = sorted(ruleset(host).split("\n"))
    vfwhooks(host, "purge")
    purged = ruleset(host)

    check_everything(host, "started")
    after = sorted(ruleset(host).split("\n"))

    assert (after == off, "vfwhooks" in purged, "VFW" in purged) == (True, False, False)


def test_an_edit_gives_the_ports_back(host: Host, outside: Net, web1: Standin) -> None:
    """With `pass` the port is the host's again, and apply says what changed."""
    configure(host, FORWARDS.replace("reject", "pass", 1))
    said = vfwhooks(host, "apply").stdout.splitlines()
    with host.net.serve_tcp(8080):
        reply = outside.http(f"http://{HOST}:8080/")
    put_in_force(host, FORWARDS)

    assert reply.answered
    assert "- tcp 8080 → rejected while web1 is stopped" in said
