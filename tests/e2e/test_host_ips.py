"""One file for all hosts: ports on whatever addresses an interface has, and on those
that a drop-in of this host gives a name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from product import CONFIG, configure, start_watch, status, stop_watch, vfwhooks

from .conftest import ONE_KIND

pytestmark = pytest.mark.parametrize("host", ONE_KIND, indirect=True)
FORWARDS = """
guests:
  web1:
    - {published: 8080, target: 80, host_ip: {interface: wan0}}
    - {published: 8081, target: 80, host_ip: {name: public}}
"""
NAMES = "addresses: {public: 198.51.100.7}\nguests: {}\n"
FIRST, SECOND, SIX = "198.51.100.8", "198.51.100.9", "2001:db8:1::8"
WAITING = [("wan0", "pending", "wan0 has no free address on this host")]


@pytest.fixture(scope="module")
def watched(host: Host, outside: Net) -> Iterator[Host]:
    """A host whose service runs, with a guest that serves; wan0 is not there yet."""
    outside.ip("route add 198.51.100.0/24 via 203.0.113.1")
    outside.ip("route add 2001:db8:1::/64 via 2001:db8::1")
    host.net.ip("addr add 198.51.100.7/32 dev lo")
    host.write(f"{CONFIG.removesuffix('.yaml')}.d/00-this-host.yaml", NAMES)
    configure(host, FORWARDS)
    start_watch(host)
    host.define_guest("web1").start(wait=True)
    yield host
    stop_watch(host)


def rows(host: Host) -> list[tuple[str, str, str]]:
    """The first forward's rows in `status`."""
    found = status(host)["forwards"]
    return sorted(
        (row["host_ip"], row["state"], row["reason"])
        for row in found
        if row["published"] == "8080"
    )


def serves(outside: Net, *addresses: str) -> None:
    """Wait until whoever connects to these is answered."""
    for address in addresses:
        _serves(outside, f"http://{address}:8080/")


def _serves(outside: Net, url: str) -> None:
    wait_until(lambda: outside.http(url, timeout=2).answered, url, 20)


def test_a_name_of_this_host(watched: Host, outside: Net) -> None:
    """The name leads to the address that the drop-in says, and to no other."""
    _serves(outside, "http://198.51.100.7:8081/")
    answered = [
        outside.http(f"http://{address}:8081/").answered
        for address in ("198.51.100.7", "203.0.113.1")
    ]

    assert answered == [True, False]


def test_an_interface_that_comes_and_changes(watched: Host, outside: Net) -> None:
    """Nothing is told to anybody: the service hears of it. Without the interface the
    port is nobody's, least of all on every address."""
    before = rows(watched), outside.http("http://203.0.113.1:8080/").answered
    warned = vfwhooks(watched, "check").stderr

    watched.net.ip("link add wan0 type bridge", f"addr add {FIRST}/32 dev wan0")
    watched.net.ip("link set wan0 up", f"addr add {SIX}/128 dev wan0 nodad")
    serves(outside, FIRST)
    watched.net.ip(f"addr add {SECOND}/32 dev wan0")
    serves(outside, FIRST, SECOND)
    both = [row[:2] for row in rows(watched) if "." in row[0]]
    watched.net.ip(f"addr del {FIRST}/32 dev wan0")
    wait_until(lambda: FIRST not in str(rows(watched)), "the first address gone", 20)
    watched.net.ip("link del wan0")
    wait_until(lambda: rows(watched) == WAITING, "it to wait again", 20)

    assert before == (WAITING, False)
    assert "wan0 has no free address; the forward comes with one" in warned
    assert both == [(FIRST, "active"), (SECOND, "active")]


def test_without_the_service(watched: Host, outside: Net) -> None:
    """`apply` looks, too."""
    stop_watch(watched)
    watched.net.ip("link add wan0 type bridge", f"addr add {FIRST}/32 dev wan0")
    watched.net.ip("link set wan0 up")
    vfwhooks(watched, "apply")
    serves(outside, FIRST)
    watched.net.ip("link del wan0")
    start_watch(watched)
    wait_until(lambda: rows(watched) == WAITING, "it to wait again", 20)
