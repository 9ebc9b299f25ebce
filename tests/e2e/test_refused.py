"""What must stay shut, and what must pass untouched, while forwards are in force."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from product import configure, status, vfwhooks

FORWARDS = """
guests:
  web1:
    - 8080:80
    - 8000
    - {published: 8443, target: 443, allow_from: 198.51.100.0/24}
    - {published: 8444, target: 80, allow_from: [0.0.0.0/0, "fd00::/8"]}
    - {published: 8445, target: 80, allow_from: [0.0.0.0/0, "::/0"]}
    - {published: 5000-5010, protocol: [tcp, udp], allow_from: 198.51.100.0/24}
"""


@pytest.fixture(scope="module")
def web1(host: Host) -> Iterator[Guest]:
    """The guest that all of this is about."""
    configure(host, FORWARDS)
    guest = host.define_guest("web1").start(wait=True)
    yield guest
    guest.destroy()


@pytest.fixture(scope="module")
def allowed(host: Host) -> Net:
    """Another network outside, the only one that allow_from names."""
    return host.outside("198.51.100.2/24", name="allowed")


@pytest.mark.parametrize("port", [80, 8000, 22])
def test_straight_at_the_guest(outside: Net, web1: Guest, port: int) -> None:
    """Who routes straight at the guest is refused, on a forwarded port as on others."""
    outside.route("192.168.122.0/24")

    reply = outside.http(f"http://{web1.address}:{port}/")

    assert reply.refused


@pytest.mark.parametrize("port", [8443, 5000, 5005])
def test_source_outside_allow_from(outside: Net, web1: Guest, port: int) -> None:
    """A source that allow_from does not name is refused, on a range too."""
    reply = outside.http(f"http://203.0.113.1:{port}/")

    assert reply.refused


def test_source_outside_allow_from_udp(outside: Net, web1: Guest) -> None:
    """The same over UDP."""
    reply = outside.udp("203.0.113.1", 5000)

    assert reply.refused


def test_refused_source_never_meets_the_host(
    host: Host, outside: Net, web1: Guest
) -> None:
    """A refused source does not fall through to a service of the host on that port."""
    with host.net.serve_tcp(8443):
        reply = outside.http("http://203.0.113.1:8443/")

    assert reply.refused


@pytest.mark.parametrize("port", [8444, 8445])
def test_everybody_in_allow_from(
    host: Host, outside: Net, web1: Guest, port: int
) -> None:
    """A range of all addresses lets everybody in, and every command says so."""
    reply = outside.http(f"http://203.0.113.1:{port}/")
    rows = [r for r in status(host)["forwards"] if r["published"] == f"{port}"]
    explained = vfwhooks(host, "explain", "--trace", f"tcp/{port}", "--wait", "0")

    states = {(row["state"], row["reason"]) for row in rows}
    assert (reply.body, states) == ("web1 80 203.0.113.2", {("active", "")})
    assert (explained.status, explained.stdout.splitlines()[-1]) == (0, "it gets there")


@pytest.mark.parametrize("port", [8443, 5000])
def test_source_in_allow_from(allowed: Net, web1: Guest, port: int) -> None:
    """A source that allow_from names is served, and keeps its address."""
    reply = allowed.http(f"http://198.51.100.1:{port}/")

    target = 443 if port == 8443 else port
    assert reply.body == f"web1 {target} 198.51.100.2"


def test_transit_passes(outside: Net, allowed: Net, web1: Guest) -> None:
    """Traffic through the host to a forwarded port number elsewhere is untouched."""
    with allowed.serve_tcp(8080):
        reply = outside.http("http://198.51.100.2:8080/")

    assert reply.body == "allowed 8080 203.0.113.2"


def test_guests_outgoing_passes(outside: Net, web1: Guest) -> None:
    """A guest's own connection to a forwarded port number elsewhere is untouched."""
    with outside.serve_tcp(8080):
        body = web1.http("http://203.0.113.2:8080/")

    assert body == "outside 8080 203.0.113.1"
