"""`host_ip: 127.0.0.1`: for the host alone, and no way for anybody to its loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import second_network
from product import (
    ruleset,
    settled_ruleset,
    start_watch,
    status,
    stop_watch,
    vfwhooks,
)

from e2e.standins import Standin, check_everything, put_in_force

FORWARDS = """
defaults: {allow_from: 198.51.100.0/24, when_stopped: reject}
guests:
  web1:
    - 127.0.0.1:8080:80
    - 127.0.0.1:5353:53/udp
    - 127.1.2.3:9000-9010:9000-9010
  web2: ["127.0.0.1:8082:80"]
  lab1: ["127.0.0.1:8083:80"]
"""
KEYS = ("all", "default", "virbr0", "virbr150", "outside")


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Iterator[Standin]:
    """A guest that only the host itself reaches, by its loopback addresses."""
    put_in_force(host, FORWARDS)
    guest = Standin(host, "web1", 10)
    guest.start()
    yield guest
    guest.stop()


def opened(host: Host) -> dict[str, str]:
    """route_localnet by interface, where it is not 0."""
    paths = [f"/proc/sys/net/ipv4/conf/{key}/route_localnet" for key in KEYS]
    values = host.call(["cat", *paths]).stdout.split()
    if len(values) < len(KEYS):
        values.insert(3, "0")  # virbr150 is not there yet
    return {key: value for key, value in zip(KEYS, values) if value != "0"}


def set_localnet(host: Host, value: int) -> None:
    """Set it on virbr0, as an administrator would."""
    path = "/proc/sys/net/ipv4/conf/virbr0/route_localnet"
    host.run(["sh", "-c", f"echo {value} >{path}"])


@pytest.mark.parametrize(
    ("url", "port"), [("http://127.0.0.1:8080/", 80), ("http://127.1.2.3:9007/", 9007)]
)
def test_the_host_reaches_it(host: Host, web1: Standin, url: str, port: int) -> None:
    """The guest sees its network's own address, for it cannot answer another."""
    with web1.net.serve_tcp(port):
        reply = host.net.http(url)

    assert reply.body == f"{web1.net.name} {port} 192.168.122.1"


def test_the_host_reaches_it_over_udp(host: Host, web1: Standin) -> None:
    """The same over UDP, and the next flow too."""
    with web1.net.serve_udp(53):
        replies = [host.net.udp("127.0.0.1", 5353).answered for _ in range(2)]

    assert replies == [True, True]


def test_a_program_that_sent_before_the_guest_ran(host: Host, web1: Standin) -> None:
    """It goes on sending from the same socket, and reaches the guest."""

    def is_answered() -> bool:
        sent = host.net.udp("127.0.0.1", 5353, timeout=0.3, source_port=5555)
        return sent.answered

    web1.stop()
    before = is_answered()
    web1.start()
    with web1.net.serve_udp(53):
        wait_until(is_answered, "the guest's answer")

    assert before is False


def test_its_way_is_explained(host: Host, web1: Standin) -> None:
    """What the host sends itself passes no forward chain, ours or of others."""
    lines = vfwhooks(host, "explain", "8080").stdout.splitlines()

    ways = (
        "inet vfwhooks publish4 → inet vfwhooks postrouting → virbr0",
        "nat VFW-PUBLISH → nat VFW-POSTROUTING → virbr0",
    )
    found = [line for line in lines if line.split()[0] in ("way", "then")]
    assert [line.removeprefix("  way      ") in ways for line in found] == [True]


def test_nobody_else_does(host: Host, outside: Net, web1: Standin) -> None:
    """Not from outside and not by another address of the host."""
    with web1.net.serve_tcp(80):
        replies = [
            net.http("http://203.0.113.1:8080/").refused for net in (outside, host.net)
        ]

    assert replies == [True, True]


def loopback_routes(net: Net, via: str) -> None:
    """Have a neighbour send what is for 127.0.0.0/8 to the host."""
    path = "/proc/sys/net/ipv4/conf"
    net.run(
        ["sh", "-c", f"for i in all eth0; do echo 1 >{path}/$i/route_localnet; done"]
    )
    net.ip("addr flush dev lo", f"route replace 127.0.0.0/8 via {via}")


def test_nobody_reaches_the_hosts_loopback(
    host: Host, outside: Net, web1: Standin
) -> None:
    """Neither a guest on the bridge that loopback leads to, nor anybody outside; it is
    our rule that stops the guest, as is seen when it is taken away."""
    attacker = Standin(host, "attacker", 66)
    stranger = host.outside("198.51.100.2/24", name="stranger")
    loopback_routes(attacker.net, "192.168.122.1")
    loopback_routes(stranger, "198.51.100.1")

    with host.net.serve_udp(7777, "127.0.0.1"), host.net.serve_tcp(7777, "127.0.0.1"):
        tries = [
            net.udp("127.0.0.1", 7777, timeout=0.3).answered
            or net.http("http://127.0.0.1:7777/", timeout=0.3).answered
            for net in (attacker.net, stranger)
        ]
        unguard(host)
        unguarded = attacker.net.udp("127.0.0.1", 7777).answered
        check_everything(host)
        again = attacker.net.udp("127.0.0.1", 7777, timeout=0.3).answered

    assert (tries, unguarded, again) == ([False, False], True, False)


def unguard(host: Host) -> None:
    """Take our rule away, whichever backend it is in."""
    host.call(["nft", "flush", "chain", "inet", "vfwhooks", "raw"])
    host.call(["iptables", "-t", "raw", "-F", "VFW-GUARD"])


def test_the_watch_sees_to_the_guard(host: Host, web1: Standin) -> None:
    """Our rule comes back by itself when somebody takes it away."""
    start_watch(host)
    before = sorted(settled_ruleset(host).split("\n"))

    unguard(host)
    wait_until(lambda: sorted(ruleset(host).split("\n")) == before, "the guard")
    stop_watch(host)


def test_open_on_that_bridge_while_it_is_needed(
    host: Host, outside: Net, web1: Standin
) -> None:
    """With the first such guest of a bridge it is opened and with the last one closed,
    and the kernel holds what a full comparison would put there, at every step."""
    host.start_network(second_network("lab", 150, mode="nat"))
    lab1 = Standin(host, "lab1", 12, "lab", "virbr150", subnet="192.168.150", ipv6="")
    web2 = Standin(host, "web2", 11)
    seen = []

    for step in (web2.start, lab1.start, web1.stop, lab1.stop, web2.stop, web1.start):
        step()
        before = "+".join(opened(host)), sorted(ruleset(host).split("\n"))
        check_everything(host)
        after = "+".join(opened(host)), sorted(ruleset(host).split("\n"))
        seen.append((before[0], before == after))
    host.virsh("net-destroy", "lab")

    assert seen == [
        ("virbr0", True),
        ("virbr0+virbr150", True),
        ("virbr0+virbr150", True),
        ("virbr0", True),
        ("", True),
        ("virbr0", True),
    ]


def test_what_was_there_before_comes_back(host: Host, web1: Standin) -> None:
    """Who had it on already keeps it on."""
    web1.stop()
    set_localnet(host, 1)

    web1.start()
    web1.stop()
    after = opened(host)
    set_localnet(host, 0)
    web1.start()

    assert after == {"virbr0": "1"}


def test_status_says_that_it_was_closed(host: Host, web1: Standin) -> None:
    """Somebody set it back: blocked, with the cure, which cures it."""
    set_localnet(host, 0)
    blocked = status(host)["forwards"][0]

    check_everything(host)
    active = status(host)["forwards"][0]

    reason = "net.ipv4.conf.virbr0.route_localnet is 0; run vfwhooks apply"
    assert (blocked["state"], blocked["reason"]) == ("blocked", reason)
    assert (active["state"], active["host_ip"]) == ("active", "127.0.0.1")


def test_a_network_that_comes_back(host: Host, web1: Standin) -> None:
    """Its bridge is another one, and is opened again."""
    host.virsh("net-destroy", "default")
    gone = opened(host)
    host.virsh("net-start", "default")
    check_everything(host)
    host.net.ip(f"link set {web1.net.name} master virbr0")

    with web1.net.serve_tcp(80):
        wait_until(
            lambda: host.net.http("http://127.0.0.1:8080/").answered, "an answer"
        )

    assert (gone, opened(host)) == ({}, {"virbr0": "1"})


def test_purge_closes_it(host: Host, web1: Standin) -> None:
    """With the rules goes what they needed."""
    vfwhooks(host, "purge")
    left = opened(host), "VFW" in ruleset(host), "ip raw" in ruleset(host)
    check_everything(host)
    web1.start()

    assert (left, opened(host)) == (({}, False, False), {"virbr0": "1"})
