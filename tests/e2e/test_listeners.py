"""Services of the host on published ports: whoever was first keeps the port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import default_network, mac_for
from lab.service import serving
from product import (
    CONFIG,
    call_hook,
    configure,
    domain_xml,
    edit,
    published,
    put_in,
    ruleset,
    start_watch,
    states,
    status,
    stop_watch,
    vfwhooks,
)

CURE = "; over_listener: true takes the port from it"
WHOLE = (
    "; publish another port of the host, 2222:22 say; or over_listener: true, which "
    "takes it from the service"
)
XML = domain_xml("web1", mac_for(10))


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with one stand-in for a guest; the kernel's listeners know no backend."""
    with Host.debian13("nftables") as host:
        put_in(host)
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        yield host


@pytest.fixture(scope="module")
def web1(host: Host) -> Net:
    """What answers for the guest web1."""
    net = host.standin("web1", "192.168.122.10/24", "fd00:122::10/64", mac=mac_for(10))
    net.ip("route add default via 192.168.122.1", "route add default via fd00:122::1")
    return net


@pytest.fixture(scope="module")
def outside(host: Host) -> Net:
    """203.0.113.2; the host has two addresses there, the first in its default route."""
    outside = host.outside()
    host.net.ip(
        "addr add 203.0.113.5/24 dev outside",
        "route add default via 203.0.113.2 dev outside",
    )
    return outside


def event(host: Host, operation: str = "started") -> None:
    """Tell the hook of web1, as libvirt does."""
    call_hook(host, "qemu", "web1", operation, "begin", "-", xml=XML)


def start(host: Host, ports: str) -> list[tuple[str, str, str]]:
    """Publish the ports and start web1 anew; address, state and reason of its rows."""
    event(host, "stopped")
    configure(host, f"guests:\n  web1: {ports}\n")
    event(host)
    return rows(host)


def rows(host: Host) -> list[tuple[str, str, str]]:
    """What status says of every forward: family, state and reason."""
    return [
        ("6" if ":" in row["address"] else "4", row["state"], row["reason"])
        for row in status(host)["forwards"]
    ]


def test_the_hosts_own_sshd(host: Host, outside: Net, web1: Net) -> None:
    """A typo locks nobody out: 22 stays the host's, status and check name who has it,
    and everything else of the guest's is forwarded."""
    with serving(host, "sshd", 22) as pid, web1.serve_tcp(80):
        found = start(host, '["0.0.0.0:22:22", "0.0.0.0:8080:80"]')
        checked = vfwhooks(host, "check")
        who = outside.http("http://203.0.113.1:22/").body
        web = outside.http("http://203.0.113.1:8080/").body

    name = f"sshd (pid {pid}) listens on tcp 0.0.0.0:22"
    warning = "it keeps the port if it is there first, unless over_listener: true"
    assert found == [("4", "conflict", name + WHOLE), ("4", "active", "")]
    assert (who, web) == ("sshd", "web1 80 203.0.113.2")
    assert (checked.status, checked.stderr) == (
        0,
        f"{CONFIG}:2:10: warning: {name}; {warning}\n",
    )


def test_the_log_says_so(host: Host, outside: Net, web1: Net) -> None:
    """The hook's line for a guest that yields."""
    seen = len(host.syslog("web1"))
    with serving(host, "sshd", 22):
        start(host, '["0.0.0.0:22:22"]')

    pending = "web1: pending: the host listens on tcp 0.0.0.0:22"

    def said() -> list[str]:
        return [line.partition("]: ")[2] for line in host.syslog("web1")[seen:]]

    wait_until(lambda: pending in said(), "the line")
    assert said() in ([pending], ["web1: stopped, nothing is forwarded", pending])


def test_taken_on_purpose(host: Host, outside: Net, web1: Net) -> None:
    """over_listener takes the port, for one forward or for all of a guest's."""
    one = '{ports: [{published: 22, host_ip: 0.0.0.0, over_listener: "true"}]}'
    whole = '{ports: ["0.0.0.0:22:22"], over_listener: true}'
    with serving(host, "sshd", 22), web1.serve_tcp(22):
        found = [start(host, ports) for ports in (one, whole)]
        who = outside.http("http://203.0.113.1:22/").body
        checked = vfwhooks(host, "check")

    assert found == [[("4", "active", "")], [("4", "active", "")]]
    assert (who, checked.stderr) == ("web1 22 203.0.113.2", "")


def test_which_addresses(host: Host, outside: Net, web1: Net) -> None:
    """A wildcard listener keeps the address by which the world knows the host, not
    another one; a listener on an address keeps that, and every address is not free."""
    ports = '["203.0.113.1:22:22", "203.0.113.5:22:22", "0.0.0.0:22:22"]'
    found = []
    for address in ("0.0.0.0", "203.0.113.5"):
        with serving(host, "sshd", 22, address):
            found.append([state for _, state, _ in start(host, ports)])

    assert found == [
        ["conflict", "active", "conflict"],
        ["active", "conflict", "conflict"],
    ]


BOTH = 'address: [192.168.122.10, "fd00:122::10"]'


def test_both_families(host: Host, outside: Net, web1: Net) -> None:
    """An IPv6 wildcard listens for IPv4 as well, unless it says that it does not."""
    with (
        serving(host, "sshd", 22, "::"),
        serving(host, "web", 80, "::", only_ipv6=True),
    ):
        found = start(host, f"{{ports: [22, 80], {BOTH}}}")

    assert [(family, state) for family, state, _ in found] == [
        ("4", "conflict"),
        ("6", "conflict"),
        ("4", "active"),
        ("6", "conflict"),
    ]


def test_udp(host: Host, outside: Net, web1: Net) -> None:
    """A udp service keeps its port, within a range as well, but for a high one there,
    which the service has to look at again; and protocols are told apart."""
    ports = "51820/udp", "51820", "60000-60100/udp", "100-200/udp"
    with (
        serving(host, "vpn", 51820, protocol="udp") as vpn,
        serving(host, "resolver", 60050, protocol="udp") as resolver,
        serving(host, "snmpd", 161, protocol="udp") as snmpd,
    ):
        found = start(host, str([f"0.0.0.0:{p.split('/')[0]}:{p}" for p in ports]))

    late = "it was first, and gets its port by the service or vfwhooks apply"
    assert [(state, reason) for _, state, reason in found] == [
        ("conflict", f"vpn (pid {vpn}) listens on udp 0.0.0.0:51820{WHOLE}"),
        ("active", ""),
        ("active", f"resolver (pid {resolver}) listens on udp 0.0.0.0:60050; {late}"),
        (
            "active",
            f"all but 161: snmpd (pid {snmpd}) listens on udp 0.0.0.0:161{CURE}",
        ),
    ]


def test_what_is_left_to_the_host_anyway(host: Host, outside: Net, web1: Net) -> None:
    """libvirt's dnsmasq on its bridge and whatever serves loopback are no blockers."""
    with serving(host, "resolved", 53, "127.0.0.53", "udp"):
        found = start(host, f"{{ports: [53/udp, 53/tcp], {BOTH}}}")

    assert [state for _, state, _ in found] == ["active"] * 4


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_service_on_libvirts_bridge(
    host: Host, outside: Net, web1: Net, protocol: str
) -> None:
    """What serves the guests on their bridge's address goes on doing so: the forward
    has the port on all other addresses, also after a full check."""
    with (
        serving(host, "cache", 5000, "192.168.122.1", protocol),
        web1.serve_tcp(5000),
        web1.serve_udp(5000),
    ):
        found = start(host, f"['0.0.0.0:5000:5000/{protocol}']")
        host.write("/run/vfwhooks/full", "")
        event(host, "reconnect")
        seen = [
            net.http(f"http://{address}:5000/").body
            if protocol == "tcp"
            else net.udp(address, 5000).body
            for net, address in (
                (web1, "192.168.122.1"),
                (host.net, "192.168.122.1"),
                (outside, "203.0.113.1"),
            )
        ]
    event(host, "stopped")

    assert [state for _, state, _ in found] == ["active"]
    assert [body.partition(" ")[0] for body in seen] == ["cache", "cache", "web1"]
    assert "5000" not in ruleset(host)


def test_a_listener_that_comes_later(host: Host, outside: Net, web1: Net) -> None:
    """What is in force stays: through an edit, a reconnect, a full check and a wipe;
    status says that somebody listens in vain."""
    start(host, '["0.0.0.0:80:80"]')
    with web1.serve_tcp(80), serving(host, "nginx", 80) as pid:
        configure(host, 'guests:\n  web1: ["0.0.0.0:80:80", "0.0.0.0:8443:80"]\n')
        event(host, "reconnect")
        host.write("/run/vfwhooks/full", "")
        event(host, "reconnect")
        host.run(["nft", "flush", "map", "inet", "vfwhooks", "dnat4_any"])
        host.write("/run/vfwhooks/full", "")
        event(host, "reconnect")
        found = rows(host)
        who = outside.http("http://203.0.113.1/").body

    late = f"nginx (pid {pid}) listens on tcp 0.0.0.0:80; the forward was first"
    assert found == [("4", "active", late), ("4", "active", "")]
    assert who == "web1 80 203.0.113.2"


def test_delta_equals_full(host: Host, outside: Net, web1: Net) -> None:
    """With a listener in the way, what events have made is what a full check makes."""
    with serving(host, "sshd", 22), serving(host, "vpn", 51820, protocol="udp"):
        start(host, "[22, 8080:80, 8443:443]")
        configure(host, "guests:\n  web1: [22, 8080:81, 51820/udp, 90]\n")
        event(host, "reconnect")
        delta = published(host), ruleset(host).replace("\t", " ").split("\n")
        host.write("/run/vfwhooks/full", "")
        event(host, "reconnect")
        full = published(host), ruleset(host).replace("\t", " ").split("\n")
        ports = sorted({one.port for one in delta[0]})

    assert (ports, delta[0] == full[0], sorted(delta[1]) == sorted(full[1])) == (
        [90, 8080],
        True,
        True,
    )


def test_a_listener_that_goes(
    host: Host, outside: Net, web1: Net, measured: Callable[[str, float], None]
) -> None:
    """Its port is the guest's soon after, by itself."""
    # libvirtd, asked by the watch, would not know the stand-in.
    host.stop_libvirtd()
    start_watch(host)
    with web1.serve_tcp(80):
        with serving(host, "nginx", 80):
            event(host, "stopped")
            edit(host, "guests:\n  web1: ['0.0.0.0:80:80']\n")
            event(host)
            before = states(host)
        begun = time.monotonic()
        url = "http://203.0.113.1/"
        wait_until(lambda: outside.http(url, timeout=2).answered, "web1")
        measured("seconds from its end to an answer", time.monotonic() - begun)
        after = states(host)
    stop_watch(host)

    assert (before, after) == ({"web1 80/tcp": "conflict"}, {"web1 80/tcp": "active"})


def test_the_priority_of_an_older_release(host: Host, outside: Net, web1: Net) -> None:
    """Our chains stood at -100 once: where they still do, they are made anew, and hold
    what they held."""
    start(host, '["0.0.0.0:80:80"]')
    before = host.run(["nft", "-s", "list", "table", "inet", "vfwhooks"])
    old = before.replace("priority -111", "priority -100")
    host.run(["nft", "-f", "-"], input=f"delete table inet vfwhooks\n{old}")
    host.write("/run/vfwhooks/full", "")
    with web1.serve_tcp(80):
        event(host, "reconnect")
        who = outside.http("http://203.0.113.1/").body

    after = host.run(["nft", "-s", "list", "table", "inet", "vfwhooks"])
    assert (old.count("-100"), who) == (2, "web1 80 203.0.113.2")
    assert blocks(after) == blocks(before)


def blocks(table: str) -> list[str]:
    """The sets, maps and chains of a listed table, in no order."""
    return sorted(one.strip("{}\n\t ") for one in table.split("\n\n"))
