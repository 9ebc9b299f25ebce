"""A forward on an address that the host does not have waits for it, and serves from
the moment that it is there: nobody has to be told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from product import ruleset, status, vfwhooks

from e2e.standins import Standin, put_in_force

FORWARDS = """
guests:
  web1:
    address: [192.168.122.10, "fd00:122::10"]
    ports:
      - "54.210.1.2:8080:80"
      - "[2001:db8:1::2]:8080:80"
      - "54.210.1.2:5000-5001:6000-6001/udp"
      - 8081:80
      - "127.0.0.1:8082:80"
  mail:
    public_ip: [54.210.1.3, "2001:db8:1::3"]
    address: [192.168.122.11, "fd00:122::11"]
  part: {public_ip: 54.210.1.4, ports: [25]}
"""
FOUR, SIX, MAIL, MAIL6 = "54.210.1.2", "2001:db8:1::2", "54.210.1.3", "2001:db8:1::3"
NAT = "behind a provider's NAT?"
CURES = {"web1": "leave host_ip out", "mail": "write the address that it leads to"}
CURES["part"] = CURES["mail"]


@pytest.fixture(scope="module")
def guests(host: Host, outside: Net) -> Iterator[dict[str, Net]]:
    """All of them, running, with a server each."""
    put_in_force(host, FORWARDS)
    outside.ip("route add 54.210.1.0/24 via 203.0.113.1")
    outside.ip("route add 2001:db8:1::/64 via 2001:db8::1")
    web1, mail = Standin(host, "web1", 10), Standin(host, "mail", 11)
    part = Standin(host, "part", 12)
    for guest in (web1, mail, part):
        guest.start()
    with web1.net.serve_tcp(80), mail.net.serve_tcp(80), part.net.serve_tcp(25):
        yield {"web1": web1.net, "mail": mail.net}
    for guest in (web1, mail, part):
        guest.stop()


def said(host: Host) -> dict[tuple[str, str], tuple[str, str]]:
    """State and reason of every forward, by its guest and the host's address."""
    return {
        (row["guest"], row["host_ip"]): (row["state"], row["reason"])
        for row in status(host)["forwards"]
        if row["address"].startswith("192.") or ":" in row["host_ip"]
    }


def waiting(guest: str, address: str) -> tuple[str, str]:
    """What is said of an address that is not there."""
    why = f"this host has no address {address}; {NAT} {CURES[guest]}"
    return "pending", why


ABSENT = {
    ("web1", FOUR): waiting("web1", FOUR),
    ("web1", SIX): waiting("web1", SIX),
    ("web1", "*"): ("active", ""),
    ("web1", "127.0.0.1"): ("active", ""),
    ("mail", MAIL): waiting("mail", MAIL),
    ("mail", MAIL6): waiting("mail", MAIL6),
    ("part", "54.210.1.4"): waiting("part", "54.210.1.4"),
}


def test_what_waits(host: Host, outside: Net, guests: dict[str, Net]) -> None:
    """Both kinds, both families, and ranges; what does not is active beside them."""
    answered = [outside.http(f"http://{a}:8080/").answered for a in (FOUR, MAIL)]

    assert (said(host), answered) == (ABSENT, [False, False])


@pytest.mark.parametrize("guest", ["web1", "mail", "part"])
def test_explained(host: Host, guests: dict[str, Net], guest: str) -> None:
    """With the reason, and exit status 1."""
    done = vfwhooks(host, "explain", guest)

    reasons = [ln[11:] for ln in done.stdout.splitlines() if ln[2:5] == "why"]
    wanted = [why for (name, _), (_, why) in ABSENT.items() if name == guest and why]
    assert (done.status, list(dict.fromkeys(reasons))) == (1, wanted)


def test_doctor_and_check(host: Host, guests: dict[str, Net]) -> None:
    """Both say the same, and neither calls it a fault."""
    doctor = vfwhooks(host, "doctor").stdout.splitlines()
    check = vfwhooks(host, "check")

    wanted = sorted(why for _, why in ABSENT.values() if why)
    noted = [line for line in doctor if "has no address" in line]
    warned = {line.partition("warning: ")[2] for line in check.stderr.splitlines()}
    assert sorted(line.partition(": ")[2] for line in noted) == wanted
    assert {line[:5] for line in noted} == {"note "}
    assert (sorted(one for one in warned if NAT in one), check.status) == (wanted, 0)


@pytest.mark.parametrize(
    ("guest", "address", "add", "delete"),
    [
        ("web1", FOUR, f"addr add {FOUR}/32 dev lo", f"addr del {FOUR}/32 dev lo"),
        (
            "web1",
            FOUR,
            "route add local 54.210.1.0/24 dev lo",
            "route del local 54.210.1.0/24 dev lo",
        ),
        (
            "mail",
            MAIL,
            f"addr add {MAIL}/24 dev outside",
            f"addr del {MAIL}/24 dev outside",
        ),
        ("web1", SIX, f"addr add {SIX}/128 dev lo", f"addr del {SIX}/128 dev lo"),
        (
            "mail",
            MAIL6,
            "route add local 2001:db8:1::/64 dev lo",
            "route del local 2001:db8:1::/64 dev lo",
        ),
    ],
    ids=["lo", "anyip", "moved-public-ip", "ipv6-lo", "ipv6-anyip-public-ip"],
)
def test_it_comes_and_goes(
    host: Host,
    outside: Net,
    guests: dict[str, Net],
    guest: str,
    address: str,
    add: str,
    delete: str,
) -> None:
    """Served and active while the address is there, without a change of any rule."""
    shown = f"[{address}]" if ":" in address else address
    url = f"http://{shown}:{8080 if guest == 'web1' else 80}/"
    rules = ruleset(host)

    host.net.ip(add)
    there = said(host)[guest, address], outside.http(url).body.split(" ")[:2]
    host.net.ip(delete)
    gone = said(host)[guest, address], outside.http(url).answered

    assert there == (("active", ""), [guests[guest].name, "80"])
    assert gone == (waiting(guest, address), False)
    assert ruleset(host) == rules


def test_an_interface_that_is_down(
    host: Host, outside: Net, guests: dict[str, Net]
) -> None:
    """Linux takes packets for its address all the same, and so the guest serves."""
    host.net.ip("link add spare type bridge", f"addr add {FOUR}/32 dev spare")
    host.net.ip("link set spare up", "link set spare down")
    found = said(host)["web1", FOUR], outside.http(f"http://{FOUR}:8080/").answered
    host.net.ip("link del spare")

    assert found == (("active", ""), True)


def test_an_address_that_somebody_else_has(
    host: Host, outside: Net, guests: dict[str, Net]
) -> None:
    """`ip addr` shows it, and the kernel has found it to be a duplicate."""
    outside.ip(f"addr add {SIX}/64 dev eth0 nodad")
    host.net.ip(f"addr add {SIX}/64 dev outside")
    shown = ["ip", "-6", "addr", "show", "dev", "outside"]
    wait_until(lambda: "dadfailed" in host.run(shown), "the duplicate to be found", 10)
    found = said(host)["web1", SIX]
    host.net.ip(f"addr del {SIX}/64 dev outside")
    outside.ip(f"addr del {SIX}/64 dev eth0")

    why = f"{SIX} is on outside and not in use: is it a duplicate (dadfailed)?"
    assert found == ("pending", why)
