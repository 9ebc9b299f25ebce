"""A guest that does not answer what is forwarded to it: status names it by what the
kernel's connections tell, and its forward stays active."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from lab.network import mac_for
from product import status, vfwhooks

from e2e.standins import Standin, put_in_force

FORWARDS = """
guests:
  real: {address: 192.168.122.39, ports: [8079:80]}
  well:
    address: [192.168.122.10, "fd00:122::10"]
    ports: [8080:80, 8081:81, 8082:82]
  drops:
    address: [192.168.122.11, "fd00:122::11"]
    ports: [8083:80, 8084:53/udp]
  lost:
    address: [192.168.122.12, "fd00:122::12"]
    ports: [8085:80, "203.0.113.1:9000-9002:9100-9102"]
  elsewhere:
    address: [192.168.122.13, "fd00:122::13"]
    ports: [8086:80, {published: 9200-9201, target: 80}]
"""
FOUR, SIX = "203.0.113.1", "2001:db8::1"
WHY = "unanswered: default route or firewall in the guest?"
NONE = ("active", "")
BRIEFLY, PATIENCE = 0.3, 5.0
DROP = """
table inet own {
  chain input {
    type filter hook input priority 0; policy drop;
    meta l4proto ipv6-icmp accept
  }
}
"""


@pytest.fixture(scope="module")
def guests(host: Host, outside: Net) -> Iterator[dict[str, Net]]:
    """All that are no machines, running, with a server on port 80 of each."""
    del outside  # the host has its addresses with it
    put_in_force(host, FORWARDS)
    names = "well", "drops", "lost", "elsewhere"
    found = [Standin(host, name, 10 + number) for number, name in enumerate(names)]
    for guest in found:
        guest.start()
    nets = {guest.name: guest.net for guest in found}
    nets["drops"].run(["nft", "-f", "-"], input=DROP)
    for name in ("lost", "elsewhere"):
        for version in ("-4", "-6"):
            nets[name].run(["ip", version, "route", "flush", "default"])
    nets["elsewhere"].ip(
        "link add eth1 type veth peer name far",
        "link set far up",
        "link set eth1 up",
        "addr add 10.9.9.2/24 dev eth1",
        "addr add fd00:9::2/64 dev eth1 nodad",
        "neigh add 10.9.9.1 lladdr 02:00:00:00:00:01 dev eth1",
        "neigh add fd00:9::1 lladdr 02:00:00:00:00:01 dev eth1",
        "route add default via 10.9.9.1",
        "route add default via fd00:9::1",
    )
    servers = [net.serve_tcp(80) for net in nets.values()]
    for server in servers:
        server.__enter__()
    yield nets
    for server in servers:
        server.__exit__(None, None, None)
    for guest in found:
        guest.stop()


@pytest.fixture(autouse=True)
def forgotten(host: Host) -> None:
    """The kernel knows of no connection."""
    host.run(["conntrack", "-F"])


def said(host: Host, guest: str) -> dict[tuple[str, str], tuple[str, str]]:
    """State and reason of the guest's forwards, by family and what is published."""
    return {
        ("6" if ":" in row["address"] else "4", row["published"]): (
            row["state"],
            row["reason"],
        )
        for row in status(host)["forwards"]
        if row["guest"] == guest
    }


def ask(
    outside: Net,
    port: int,
    times: int = 1,
    address: str = FOUR,
    timeout: float = BRIEFLY,
) -> list[bool]:
    """Whether somebody outside is answered, each time."""
    shown = f"[{address}]" if ":" in address else address
    url = f"http://{shown}:{port}/"
    return [outside.http(url, timeout).answered for _ in range(times)]


def unanswered(count: int) -> tuple[str, str]:
    """What is said of so many."""
    return "active", f"{count} of {count} {WHY}"


def test_a_healthy_guest(host: Host, outside: Net, guests: dict[str, Net]) -> None:
    """Nothing is said where it answers, where it refuses (it has no server on 81), and
    where nobody has asked."""
    answered = [
        one
        for port in (8080, 8081)
        for address in (FOUR, SIX)
        for one in ask(outside, port, 2, address, PATIENCE)
    ]

    found = said(host, "well")

    ports = "8080", "8081", "8082"
    assert answered == [True] * 4 + [False] * 4
    assert found == {(family, port): NONE for port in ports for family in "46"}


def test_a_firewall(host: Host, outside: Net, guests: dict[str, Net]) -> None:
    """A guest that drops: TCP and UDP, either family, each counted by itself."""
    answered = [*ask(outside, 8083, 3), *ask(outside, 8083, 2, SIX)]
    outside.udp(FOUR, 8084, timeout=BRIEFLY)

    found = said(host, "drops")

    assert (answered, found) == (
        [False] * 5,
        {
            ("4", "8083"): unanswered(3),
            ("6", "8083"): unanswered(2),
            ("4", "8084"): unanswered(1),
            ("6", "8084"): NONE,
        },
    )


def test_no_default_route(host: Host, outside: Net, guests: dict[str, Net]) -> None:
    """A guest without one; on a single port, and on a range of one address."""
    for port in (9000, 9002):
        ask(outside, port)
    ask(outside, 8085, 1, SIX)

    found = said(host, "lost")

    assert found == {
        ("4", "8085"): NONE,
        ("6", "8085"): unanswered(1),
        ("4", "9000-9002"): unanswered(2),
    }


def test_a_second_card(host: Host, outside: Net, guests: dict[str, Net]) -> None:
    """A guest whose default route is by another card, which leads away from here."""
    ask(outside, 8086, 3)
    for port in (9200, 9201):
        ask(outside, port, 1, SIX)

    found = said(host, "elsewhere")

    assert found == {
        ("4", "8086"): unanswered(3),
        ("6", "8086"): NONE,
        ("4", "9200-9201"): NONE,
        ("6", "9200-9201"): unanswered(2),
    }


def test_one_that_was_answered(
    host: Host, outside: Net, guests: dict[str, Net]
) -> None:
    """The route is there for one connection: nothing is said of the others."""
    route = "default via 192.168.122.1"
    before = ask(outside, 8085), said(host, "lost")["4", "8085"]
    guests["lost"].ip(f"route add {route}")
    after = ask(outside, 8085, timeout=PATIENCE), said(host, "lost")["4", "8085"]
    guests["lost"].ip(f"route del {route}")

    assert (before, after) == (([False], unanswered(1)), ([True], NONE))


def test_doctor_and_explain(host: Host, outside: Net, guests: dict[str, Net]) -> None:
    """Both say it, and neither calls it a fault."""
    ask(outside, 8083, 2)
    ask(outside, 8080, timeout=PATIENCE)

    doctor = vfwhooks(host, "doctor").stdout.splitlines()
    explain = vfwhooks(host, "explain", "drops")

    why = f"2 of 2 {WHY}"
    cure = "look in the guest: ip route, ip -6 route, nft list ruleset"
    noted = [line for line in doctor if "unanswered" in line]
    assert noted == [f"note   drops: 8083/tcp to 192.168.122.11: {why}; {cure}"]
    assert why in explain.stdout


def test_what_this_host_drops(host: Host, outside: Net, guests: dict[str, Net]) -> None:
    """It never gets to the guest, and is no fault of the guest's."""
    host.run(["nft", "-f", "-"], input=DROP.replace("input", "forward"))
    answered = ask(outside, 8085)
    found = said(host, "lost")["4", "8085"]
    host.run(["nft", "delete", "table", "inet", "own"])

    assert (answered, found[0], WHY in found[1]) == ([False], "blocked", False)


@pytest.fixture
def real(host: Host) -> Iterator[Guest]:
    """A machine that has its address and route by DHCP."""
    guest = host.define_guest("real", mac=mac_for(39)).start(wait=True)
    yield guest
    guest.destroy()


def test_a_real_guest(
    host: Host, outside: Net, guests: dict[str, Net], real: Guest
) -> None:
    """It serves; without its default route it is named; with it, it serves again."""
    seen = []
    away = "ip route del default"
    back = "ip route add default via 192.168.122.1"

    for change, timeout in ((":", PATIENCE), (away, BRIEFLY), (back, PATIENCE)):
        real.run(change)
        host.run(["conntrack", "-F"])
        answered = ask(outside, 8079, 3, timeout=timeout)
        seen.append((answered, said(host, "real")["4", "8079"]))

    lost = [False] * 3, unanswered(3)
    assert seen == [([True] * 3, NONE), lost, ([True] * 3, NONE)]
