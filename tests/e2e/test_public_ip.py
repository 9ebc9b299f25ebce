"""`public_ip`: a whole address for one guest, all ports and protocols, in and out."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from product import ruleset, status, vfwhooks

from e2e.standins import Standin, check_everything, put_in_force

FORWARDS = """
guests:
  mail:
    public_ip: [203.0.113.7, "2001:db8::7"]
    address: [192.168.122.10, "fd00:122::10"]
  part: {public_ip: 203.0.113.8, ports: [25, "2222:22"]}
  picky: {public_ip: 203.0.113.9, allow_from: 198.51.100.0/24, outgoing: false}
  web1: [8080:80, 9000]
"""
NUMBERS = {"mail": 10, "part": 11, "picky": 12, "web1": 13}
ADDRESSES = ("203.0.113.7/24", "203.0.113.8/24", "203.0.113.9/24", "2001:db8::7/64")


@pytest.fixture(scope="module")
def guests(host: Host, outside: Net) -> Iterator[dict[str, Standin]]:
    """All of them, running."""
    for address in ADDRESSES:
        nodad = " nodad" if ":" in address else ""
        host.net.ip(f"addr add {address} dev outside{nodad}")
    put_in_force(host, FORWARDS)
    found = {name: Standin(host, name, number) for name, number in NUMBERS.items()}
    for guest in found.values():
        guest.start()
    yield found
    for guest in found.values():
        guest.stop()


def is_pinged(net: Net, address: str, patience: float = 0.5) -> bool:
    """Whether the address answers an echo request within so many seconds."""
    with net.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(patience)
        sock.sendto(
            b"\x08\0" + struct.pack(">HHH", 0xF7FF - 0x1234, 0x1234, 0), (address, 0)
        )
        try:
            while True:
                packet, (source, _) = sock.recvfrom(2048)
                if source == address and packet[20] == 0:
                    return True
        except OSError:
            return False


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
@pytest.mark.parametrize("port", [80, 8080, 54321])
def test_every_port_leads_there(
    host: Host, outside: Net, guests: dict[str, Standin], address: str, port: int
) -> None:
    """Over TCP, whoever has that port on every address; the guest sees who asks."""
    shown = f"[{address}]" if ":" in address else address
    url = f"http://{shown}:{port}/"
    mail = guests["mail"].net

    with mail.serve_tcp(port), host.net.serve_tcp(port):
        reply = outside.http(url)

    client = "2001:db8::2" if ":" in address else "203.0.113.2"
    assert reply.body == f"{mail.name} {port} {client}"


def test_every_protocol_leads_there(
    host: Host, outside: Net, guests: dict[str, Standin]
) -> None:
    """UDP; and it is the guest that answers a ping, or does not."""
    mail = guests["mail"].net
    ignore = "/proc/sys/net/ipv4/icmp_echo_ignore_all"

    with mail.serve_udp(5060):
        udp = outside.udp("203.0.113.7", 5060).answered
    pinged = is_pinged(outside, "203.0.113.7", 5)
    mail.run(["sh", "-c", f"echo 1 >{ignore}"])
    silent = is_pinged(outside, "203.0.113.7")
    mail.run(["sh", "-c", f"echo 0 >{ignore}"])

    assert (udp, pinged, silent) == (True, True, False)


@pytest.mark.parametrize(
    ("name", "to", "source"),
    [
        ("mail", "203.0.113.2", "203.0.113.7"),
        ("mail", "[2001:db8::2]", "2001:db8::7"),
        ("part", "203.0.113.2", "203.0.113.8"),
        ("picky", "203.0.113.2", "203.0.113.1"),
        ("web1", "203.0.113.2", "203.0.113.1"),
    ],
)
def test_what_leaves_has_that_address(
    outside: Net, guests: dict[str, Standin], name: str, to: str, source: str
) -> None:
    """The guest's own connections, unless `outgoing: false`; nobody else's."""
    with outside.serve_tcp(2500):
        reply = guests[name].net.http(f"http://{to}:2500/")

    assert reply.body == f"outside 2500 {source}"


def test_from_inside(host: Host, guests: dict[str, Standin]) -> None:
    """The host, a neighbour and the guest itself reach it by that address; between
    neighbours nothing is changed on the way."""
    mail, web1 = guests["mail"].net, guests["web1"].net

    with mail.serve_tcp(80):
        found = [
            net.http("http://203.0.113.7/").answered for net in (host.net, web1, mail)
        ]
    with web1.serve_tcp(8000):
        direct = mail.http(f"http://{web1.address}:8000/").body

    assert found == [True, True, True]
    assert direct == f"{web1.name} 8000 {mail.address}"


@pytest.mark.parametrize(("port", "target"), [(25, 25), (2222, 22)])
def test_only_its_ports_lead_there(
    outside: Net, guests: dict[str, Standin], port: int, target: int
) -> None:
    """With `ports`, those, on that address."""
    part = guests["part"].net

    with part.serve_tcp(target):
        reply = outside.http(f"http://203.0.113.8:{port}/")
        elsewhere = outside.http(f"http://203.0.113.1:{port}/").refused

    assert (reply.body, elsewhere) == (f"{part.name} {target} 203.0.113.2", True)


@pytest.mark.parametrize("port", [22, 8080, 9000])
def test_the_rest_of_it_is_nobodys(
    host: Host, outside: Net, guests: dict[str, Standin], port: int
) -> None:
    """Neither a service of the host's nor who has the port on every address."""
    with host.net.serve_tcp(port), host.net.serve_udp(port):
        with guests["web1"].net.serve_tcp(80), guests["web1"].net.serve_tcp(9000):
            tcp = outside.http(f"http://203.0.113.8:{port}/").refused
        udp = outside.udp("203.0.113.8", port).refused

    assert (tcp, udp) == (True, True)


@pytest.fixture(scope="module")
def allowed(host: Host) -> Net:
    """Somebody whom allow_from names."""
    return host.outside("198.51.100.2/24", name="allowed")


def test_sources_that_are_not_allowed(
    host: Host, outside: Net, allowed: Net, guests: dict[str, Standin]
) -> None:
    """They are rejected at the address, not even served by the host; others are let
    through by every port."""
    picky = guests["picky"].net

    with picky.serve_tcp(81), host.net.serve_tcp(81), host.net.serve_udp(81):
        refused = [
            outside.http("http://203.0.113.9:81/").refused,
            outside.udp("203.0.113.9", 81).refused,
            is_pinged(outside, "203.0.113.9"),
        ]
        reply = allowed.http("http://203.0.113.9:81/")

    assert refused == [True, True, False]
    assert reply.body == f"{picky.name} 81 198.51.100.2"


def test_status(host: Host, guests: dict[str, Standin]) -> None:
    """One row for each address."""
    rows = [
        (row["guest"], row["host_ip"], row["published"], row["protocol"], row["state"])
        for row in status(host)["forwards"]
        if row["guest"] in ("mail", "part")
    ]

    assert rows == [
        ("mail", "203.0.113.7", "all", "all", "active"),
        ("mail", "2001:db8::7", "all", "all", "active"),
        ("part", "203.0.113.8", "25", "tcp", "active"),
        ("part", "203.0.113.8", "2222", "tcp", "active"),
    ]


@pytest.mark.parametrize("about", ["mail", "54321"])
def test_explained(host: Host, guests: dict[str, Standin], about: str) -> None:
    """By the guest and by whatever port is asked for, with what the kernel holds."""
    done = vfwhooks(host, "explain", about)

    heads = [line for line in done.stdout.splitlines() if line[:1] != " "]
    assert heads[:2] == [
        "203.0.113.7 all/all → mail 192.168.122.10:all: active",
        "2001:db8::7 all/all → mail [fd00:122::10]:all: active",
    ]
    assert (done.status, "missing" in done.stdout) == (0, False)


def test_it_comes_and_goes_with_the_guest(
    host: Host, outside: Net, guests: dict[str, Standin]
) -> None:
    """At every step the kernel holds what a full comparison would put there; with the
    guest gone the address is the host's again."""
    mail, part = guests["mail"], guests["part"]
    seen = []

    for step in (mail.stop, part.stop, part.start, mail.start):
        step()
        before = sorted(ruleset(host).split("\n"))
        check_everything(host)
        seen.append(before == sorted(ruleset(host).split("\n")))
        if step == mail.stop:
            with host.net.serve_tcp(8081):
                hosts = outside.http("http://203.0.113.7:8081/").answered

    assert (seen, hosts) == ([True] * 4, True)


def test_what_is_open_follows_the_file(
    host: Host, outside: Net, guests: dict[str, Standin]
) -> None:
    """A connection in is cut when the address is taken away, a flow out leaves from
    where the file says, and the host's session on its own address stays."""
    mail = guests["mail"].net
    without = FORWARDS.replace("203.0.113.7, ", "")

    def leaves_from() -> str:
        body = mail.udp("203.0.113.2", 2501, source_port=5555).body
        return [*body.split(" "), "", ""][2]  # empty if the flow is cut meanwhile

    with mail.serve_tcp(80), host.net.serve_tcp(22), outside.serve_udp(2501):
        session = outside.connect("203.0.113.7", 80)
        hosts = outside.connect("203.0.113.1", 22)
        before = outside.ask(session).answered, leaves_from()
        put_in_force(host, without)
        wait_until(lambda: leaves_from() == "203.0.113.1", "the host's address")
        after = outside.ask(session, timeout=0.5).answered
        put_in_force(host, FORWARDS)
        wait_until(lambda: leaves_from() == "203.0.113.7", "its own address")
        again = outside.ask(hosts).answered
        session.close()
        hosts.close()

    assert (before, after, again) == ((True, "203.0.113.7"), False, True)


def test_an_absent_guests_address(
    host: Host, outside: Net, guests: dict[str, Standin]
) -> None:
    """`when_stopped: reject` holds for all of it, with ports or without."""
    put_in_force(host, f"defaults: {{when_stopped: reject}}{FORWARDS}")
    running = outside.http("http://203.0.113.8:2222/").outcome
    for name in ("mail", "part"):
        guests[name].stop()

    with host.net.serve_tcp(2222), host.net.serve_tcp(22):
        replies = [
            outside.http(f"http://203.0.113.{address}:{port}/").refused
            for address in (7, 8)
            for port in (22, 2222)
        ]
    for name in ("mail", "part"):
        guests[name].start()
    before = sorted(ruleset(host).split("\n"))
    check_everything(host)
    after = sorted(ruleset(host).split("\n"))
    put_in_force(host, FORWARDS)

    assert (replies, before == after, running.value) == ([True] * 4, True, "refused")


OWN = "guests:\n  web1: {public_ip: 203.0.113.1}\n"


def test_the_hosts_own_address(
    host: Host, outside: Net, guests: dict[str, Standin]
) -> None:
    """By a typo nobody gives his host's address away: it takes a word, and without it
    status and check say so."""
    host.net.ip("route add default via 203.0.113.2")
    web1 = guests["web1"].net

    def reached() -> str:
        with host.net.serve_tcp(22), web1.serve_tcp(22):
            return outside.http("http://203.0.113.1:22/").body.split(" ")[0]

    put_in_force(host, OWN)
    kept, row = reached(), status(host)["forwards"][0]
    checked = vfwhooks(host, "check").stderr
    put_in_force(host, OWN.replace("}", ", public_ip_of_host: true}"))
    given = reached()
    host.net.ip("route del default")
    put_in_force(host, FORWARDS)

    reason = "203.0.113.1 is the host's own address"
    assert (kept, given) == (host.net.name, web1.name)
    assert (row["state"], row["reason"].partition(";")[0]) == ("conflict", reason)
    assert f"2:21: warning: {reason}; public_ip_of_host: true" in checked


def test_purge_leaves_nothing(host: Host, guests: dict[str, Standin]) -> None:
    """Every rule goes."""
    vfwhooks(host, "purge")
    left = ruleset(host)
    check_everything(host)
    for guest in guests.values():
        guest.start()

    assert ("VFW" in left, "vfwhooks" in left) == (False, False)
