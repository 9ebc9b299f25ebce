"""`masquerade: true`: a guest answers that would answer by another card, and sees the
host in place of the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from product import ruleset, vfwhooks

from e2e.standins import Standin, put_in_force

FORWARDS = """
guests:
  web1:
    address: [192.168.122.10, "fd00:122::10"]
    ports:
      - {published: 8080, target: 80, masquerade: true}
      - {published: 5390, target: 5353, protocol: udp, masquerade: true}
      - {published: 9000-9002, target: 9000-9002, masquerade: true}
      - {published: 8443, target: 80, masquerade: true, allow_from: 198.51.100.0/24}
      - {published: 8081, target: 80, return_path: true}
      - {host_ip: 203.0.113.1, published: 8082, target: 80, masquerade: true}
      - {host_ip: 0.0.0.0, published: 8082, target: 80}
"""
BEFORE = FORWARDS.replace(", masquerade: true", "").replace(", return_path: true", "")
OUTSIDE = "203.0.113.1"


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Iterator[Standin]:
    """A guest whose default route goes by another card."""
    put_in_force(host, BEFORE)
    guest = Standin(host, "web1", 10)
    guest.net.ip("link add card2 type veth peer name card3")
    guest.net.ip("link set card2 up", "link set card3 up")
    guest.net.ip("addr add 10.9.9.2/24 dev card2", "route replace default via 10.9.9.1")
    guest.net.ip("addr add fd00:9::2/64 dev card2 nodad")
    guest.net.ip("route replace default via fd00:9::1")
    guest.start()
    put_in_force(host, FORWARDS)
    # Until its bridge has its IPv6 address for sure, the kernel masquerades by another.
    shown = ["ip", "-6", "addr", "show", "dev", "virbr0", "tentative"]
    wait_until(lambda: not host.run(shown).strip(), "the bridge's address")
    yield guest
    guest.stop()


def seen(host: Host, net: Net, web1: Standin, urls: list[str]) -> list[str]:
    """Whom the guest sees by each URL, or what becomes of the attempt."""
    found = []
    with web1.net.serve_tcp(80), web1.net.serve_tcp(9001):
        for url in urls:
            reply = net.http(f"http://{url}/", timeout=2)
            who = reply.body.rpartition(" ")[2]
            found.append(who if reply.answered else reply.outcome.value)
    return found


def test_the_guest_answers_the_host(host: Host, outside: Net, web1: Standin) -> None:
    """With the key, of IPv6 and in ranges as well, and of the same port on one address
    and on all only where it stands; without it nobody hears of the guest."""
    urls = [f"{OUTSIDE}:8080", "[2001:db8::1]:8080", f"{OUTSIDE}:9001"]

    answered = seen(host, outside, web1, [*urls, f"{OUTSIDE}:8082"])
    stranger = host.outside("198.51.100.2/24", name="stranger")
    silent = seen(host, outside, web1, [f"{OUTSIDE}:8081"])
    silent += seen(host, stranger, web1, ["198.51.100.1:8082"])
    allowed = seen(host, stranger, web1, ["198.51.100.1:8443"])
    refused = seen(host, outside, web1, [f"{OUTSIDE}:8443"])
    host.unplug(stranger)

    gateway = "192.168.122.1"
    assert answered == [gateway, "fd00:122::1", gateway, gateway]
    assert silent == ["timed out", "timed out"]
    assert (allowed, refused) == ([gateway], ["refused"])


def test_over_udp(host: Host, outside: Net, web1: Standin) -> None:
    """The same over UDP, and the next flow too."""
    with web1.net.serve_udp(5353):
        replies = [outside.udp(OUTSIDE, 5390).body for _ in range(2)]

    assert replies == [f"{web1.net.name} 5353 192.168.122.1 ?"] * 2


def test_its_cost_is_said(host: Host, web1: Standin) -> None:
    """explain says what the guest sees."""
    lines = vfwhooks(host, "explain", "8080").stdout.splitlines()

    cost = "masquerade: the guest sees the host's address, not the client's"
    found = [line.strip() for line in lines if "masquerade:" in line]
    assert found == [f"back     {cost}"] * 2


def test_an_edit_takes_it_away(host: Host, outside: Net, web1: Standin) -> None:
    """What was in the kernel before is there again, and nothing of the key."""
    during = ruleset(host)
    put_in_force(host, BEFORE)
    before = seen(host, outside, web1, [f"{OUTSIDE}:8080"])
    without = ruleset(host)
    put_in_force(host, FORWARDS)
    again = ruleset(host)

    assert before == ["timed out"]
    assert [text.count("0x10000000") > 0 for text in (during, without)] == [True, False]
    assert sorted(again.split("\n")) == sorted(during.split("\n"))
