"""The main job: reachable when a guest starts, and not any more when it stops."""

from __future__ import annotations

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from lab.network import default_network
from product import configure, put_in, reload_libvirtd, ruleset, status, vfwhooks

from .conftest import KINDS, TWO_KINDS

WEB = "52:54:00:00:00:20"
MAIL = "52:54:00:00:00:21"
WEB_IPV6 = "fd00:122::5054:ff:fe00:20"  # what SLAAC makes of the MAC


def answers(outside: Net, *urls: str) -> list[str]:
    """What each URL comes to: the body, or the outcome."""
    replies = [outside.http(url) for url in urls]
    return [reply.body if reply.answered else reply.outcome.value for reply in replies]


def defined(host: Host, name: str, mac: str) -> Guest:
    """A guest of that name, defined anew."""
    host.call(["virsh", "undefine", name])
    return host.define_guest(name, mac=mac)


def test_reachable_from_start_to_stop(host: Host, outside: Net) -> None:
    """TCP, UDP and IPv6: refused before the start, served after it, refused after."""
    configure(
        host,
        f"""
guests:
  web1:
    ports: [8080:80, 5353:5353/udp]
    address: [192.168.122.32, "{WEB_IPV6}"]
""",
    )
    web1 = defined(host, "web1", WEB)
    urls = "http://203.0.113.1:8080/", "http://[2001:db8::1]:8080/"
    seen = [answers(outside, *urls), outside.udp("203.0.113.1", 5353).refused]

    web1.start(wait=True)
    wait_until(lambda: host.net.http(f"http://[{WEB_IPV6}]/").answered, "SLAAC")
    seen += [answers(outside, *urls), outside.udp("203.0.113.1", 5353).body]
    web1.destroy()
    seen += [answers(outside, *urls), outside.udp("203.0.113.1", 5353).refused]

    assert seen == [
        ["refused", "refused"],
        True,
        ["web1 80 203.0.113.2", "web1 80 2001:db8::2"],
        "web1 5353 203.0.113.2 ?",
        ["refused", "refused"],
        True,
    ]


def test_guests_share_an_address_by_port(host: Host, outside: Net) -> None:
    """80 and 443 lead to one guest, 25 and 143 to another."""
    configure(host, "guests:\n  web1: [80, 443]\n  mail: [25, 143]\n")
    web1, mail = defined(host, "web1", WEB), defined(host, "mail", MAIL)

    web1.start()
    mail.start(wait=True)
    web1.wait_for(80)
    seen = answers(outside, *(f"http://203.0.113.1:{p}/" for p in (80, 443, 25, 143)))
    web1.destroy()
    mail.destroy()

    client = "203.0.113.2"
    assert seen == [
        f"web1 80 {client}",
        f"web1 443 {client}",
        f"mail 25 {client}",
        f"mail 143 {client}",
    ]


@pytest.mark.parametrize("kind", TWO_KINDS)
def test_purge_leaves_what_was_before(kind: str) -> None:
    """After a guest's stop and purge netfilter is what it was before we came, byte for
    byte."""
    with KINDS[kind]() as host:
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        before = ruleset(host)
        put_in(host, "guests:\n  web1: [80, 5000-5010:5000-5010/udp]\n")
        reload_libvirtd(host)
        web1 = host.define_guest("web1", mac=WEB)
        web1.start()
        after_start = ruleset(host)
        web1.destroy()

        vfwhooks(host, "purge")

        assert ("192.168.122.32" in after_start, ruleset(host)) == (True, before)


def test_pending_without_an_address(host: Host) -> None:
    """A guest that nothing is known of starts all the same; status says what misses."""
    configure(host, "guests:\n  web1: [8080:80]\n")
    mac = "52:54:00:ff:00:01"
    web1 = defined(host, "web1", mac)

    web1.start()
    rows = status(host)["forwards"]
    web1.destroy()

    assert [(row["state"], row["reason"]) for row in rows] == [
        (
            "pending",
            "; ".join(
                f"no reservation, lease or neighbour for {mac} on virbr0 (IPv{family})"
                for family in "46"
            ),
        )
    ]
