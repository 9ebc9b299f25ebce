"""Services of the host within a range of ports: each keeps its own, the guest has the
rest, on either backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import default_network, mac_for
from lab.service import serving
from product import (
    CONFIG,
    at_rest,
    call_hook,
    configure,
    domain_xml,
    edit,
    published,
    published_ports,
    put_in,
    rows,
    ruleset,
    start_watch,
    stop_watch,
    vfwhooks,
)

XML = domain_xml("web1", mac_for(10))
CURE = "; over_listener: true takes the port from it"
TUNNEL = "the kernel (WireGuard, VXLAN or the like) listens on udp 0.0.0.0:51820"
RANGE = "0.0.0.0:50000-52000:50000-52000/udp"
OUTSIDE, SECOND = "203.0.113.1", "203.0.113.5"
OVER = "over_listener: true"


@pytest.fixture(scope="module", params=["nftables", "iptables"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with the service, and a stand-in for a guest, of whom no libvirtd knows:
    the service would ask it."""
    with Host.debian13(request.param) as host:
        put_in(host)
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        host.stop_libvirtd()
        start_watch(host)
        yield host
        stop_watch(host)


@pytest.fixture(scope="module")
def web1(host: Host) -> Net:
    """What answers for the guest web1."""
    net = host.standin("web1", "192.168.122.10/24", "fd00:122::10/64", mac=mac_for(10))
    net.ip("route add default via 192.168.122.1", "route add default via fd00:122::1")
    return net


@pytest.fixture(scope="module")
def outside(host: Host) -> Net:
    """203.0.113.2 and 2001:db8::2; the host has two addresses of IPv4 there, the first
    in its default route, and sends as many refusals as there are."""
    outside = host.outside()
    host.net.run(["sh", "-c", "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit"])
    host.net.ip(
        f"addr add {SECOND}/24 dev outside",
        "route add default via 203.0.113.2 dev outside",
        "route add default via 2001:db8::2 dev outside",
    )
    return outside


@pytest.fixture
def tunnel(request: pytest.FixtureRequest, host: Host, outside: Net) -> Iterator[None]:
    """The kernel's own socket on 51820: a VXLAN from 10.9.0.1 to 10.9.0.2 outside. Its
    packets leave from many ports, so that none is part of what was said before."""
    between = getattr(request, "param", "203.0.113.")
    for net, mine, other in ((host.net, 1, 2), (outside, 2, 1)):
        net.ip(
            f"link add vx type vxlan id 1 local {between}{mine} "
            f"remote {between}{other} dstport 51820",
            f"addr add 10.9.0.{mine}/24 dev vx",
            "link set vx up",
        )
    yield
    for net in (host.net, outside):
        net.ip("link delete vx")


def event(host: Host, operation: str) -> None:
    """Tell the hook of web1, as libvirt does."""
    call_hook(host, "qemu", "web1", operation, "begin", "-", xml=XML)


@contextmanager
def starting(host: Host, guest: str) -> Iterator[list[tuple[str, str]]]:
    """Publish for web1 and start it anew; state and reason of its rows. In the block
    the service does not look at the sockets again yet."""
    event(host, "stopped")
    edit(host, f"guests:\n  web1: {guest}\n")
    event(host, "started")
    with at_rest(host):
        yield rows(host)


def start(host: Host, guest: str) -> list[tuple[str, str]]:
    """The same; the service goes on."""
    with starting(host, guest) as found:
        return found


def who(outside: Net, port: int, address: str = OUTSIDE) -> str:
    """Who answers a datagram: the first word of what is said."""
    return outside.udp(address, port, timeout=2).body.partition(" ")[0]


def through(outside: Net, host: Host) -> bool:
    """Whether the host is reached through the tunnel."""
    with host.net.serve_tcp(8099, "10.9.0.1"):
        return outside.http("http://10.9.0.1:8099/").answered


def record(host: Host) -> str:
    """What is noted of web1."""
    return host.read("/run/vfwhooks/guests/qemu/web1")


def is_decided(host: Host) -> bool:
    """Whether the service has looked again at the sockets that were there."""
    return "\nseen " not in record(host)


def taken_out(host: Host, first: int, last: int) -> list[int]:
    """The ports of a range that the kernel does not publish."""
    there = published_ports(host)
    return [port for port in range(first, last + 1) if port not in there]


def test_a_tunnel_of_the_kernels(
    host: Host, outside: Net, web1: Net, tunnel: None
) -> None:
    """It keeps its port from the first moment; all others reach the guest, the first
    and the last of them too."""
    found = start(host, f'["{RANGE}"]')

    reached = through(outside, host)
    ports = 50000, 51819, 51821, 52000
    answers = []
    for port in ports:
        with web1.serve_udp(port):
            answers.append(who(outside, port))
    assert (found, reached, answers, taken_out(host, 50000, 52000)) == (
        [("active", f"all but 51820: {TUNNEL}{CURE}")],
        True,
        ["web1"] * 4,
        [51820],
    )


@pytest.mark.parametrize(
    ("tunnel", "ports"),
    [
        ("203.0.113.", "0.0.0.0:51820-51830:51820-51830"),
        ("203.0.113.", "0.0.0.0:51810-51820:51810-51820"),
        ("203.0.113.", "0.0.0.0:51810-51830:1810-1830"),
        ("203.0.113.", "203.0.113.1:51810-51830:51810-51830"),
        ("2001:db8::", "[::]:51810-51830:51810-51830"),
        ("2001:db8::", "[2001:db8::1]:51810-51830:1810-1830"),
    ],
    indirect=["tunnel"],
)
def test_a_tunnel_in_other_ranges(
    host: Host, outside: Net, web1: Net, tunnel: None, ports: str
) -> None:
    """At either end of one, shifted, on one address, by IPv6: all other ports lead to
    the guest."""
    found = start(host, f'{{ports: ["{ports}/udp"], {BOTH}}}')

    first, last = map(int, ports.split(":")[-2].split("-"))
    assert ([state for state, _ in found], through(outside, host)) == (["active"], True)
    assert taken_out(host, first, last) == [51820]


def test_what_is_told_of_it(host: Host, outside: Net, web1: Net, tunnel: None) -> None:
    """explain finds what is left of the range in the kernel, check warns."""
    start(host, f'["{RANGE}"]')

    told = vfwhooks(host, "explain", "web1")
    warned = vfwhooks(host, "check").stderr
    what = "it keeps the port if it is there first, unless over_listener: true"
    assert (told.status, ": there" in told.stdout, "missing" in told.stdout) == (
        0,
        True,
        False,
    )
    assert warned == f"{CONFIG}:2:10: warning: {TUNNEL}; {what}\n"


def test_a_tunnel_taken_on_purpose(
    host: Host, outside: Net, web1: Net, tunnel: None
) -> None:
    """over_listener takes all ports of a range; what the tunnel's other end goes on
    saying is not answered by the guest."""
    found = [state for state, _ in start(host, f'{{ports: ["{RANGE}"], {OVER}}}')]

    with web1.serve_udp(51820):
        answer = who(outside, 51820)
    assert (found, answer, through(outside, host)) == (["active"], "web1", False)


def test_a_tunnel_while_the_guest_is_off(
    host: Host, outside: Net, web1: Net, tunnel: None
) -> None:
    """What is rejected then leaves it its port as well."""
    start(host, f'{{ports: ["{RANGE}"], when_stopped: reject}}')
    event(host, "stopped")

    refused = outside.udp(OUTSIDE, 50000).refused, outside.udp(OUTSIDE, 52000).refused
    assert (through(outside, host), refused) == (True, (True, True))


def give_up_claims(host: Host) -> None:
    """Nothing is rejected any more: who listens next there is first."""
    configure(host, "guests: {}\n")
    claims = "/run/vfwhooks/claims"
    wait_until(lambda: not host.run(["ls", claims]), "nothing rejected")


def test_a_service_that_was_first(host: Host, outside: Net, web1: Net) -> None:
    """The guest has its port for seconds only, until the service ends; what others have
    open with the guest goes on."""
    give_up_claims(host)
    with web1.serve_udp(51900), web1.serve_udp(50500):
        with serving(host, "vpn", 51900, protocol="udp") as pid:
            said = [start(host, f'["{RANGE}"]')]
            other = who(outside, 50500)
            before = flows(host, 50500)
            wait_until(lambda: who(outside, 51900) == "vpn", "vpn's answer")
            said.append(rows(host))
            holes = taken_out(host, 50000, 52000)
            beside = flows(host, 50500)
        wait_until(lambda: who(outside, 51900) == "web1", "web1's answer")
        said.append(rows(host))

    name = f"vpn (pid {pid}) listens on udp 0.0.0.0:51900"
    soon = "it was first, and gets its port by the service or vfwhooks apply"
    assert said == [
        [("active", f"{name}; {soon}")],
        [("active", f"all but 51900: {name}{CURE}")],
        [("active", "")],
    ]
    assert (other, holes, taken_out(host, 50000, 52000)) == ("web1", [51900], [])
    assert before == beside == flows(host, 50500) != ""


def flows(host: Host, port: int) -> str:
    """The connection from outside to that port, without what changes in it."""
    words = host.run(["conntrack", "-L", "-p", "udp", "--orig-port-dst", str(port)])
    return " ".join(w for w in words.split() if w.startswith(("sport", "src", "dst")))


def test_a_socket_that_is_soon_gone(host: Host, outside: Net, web1: Net) -> None:
    """A resolver's, that awaits an answer when the guest starts, changes nothing."""
    with ExitStack() as stack:
        with serving(host, "resolver", 51900, protocol="udp"):
            stack.enter_context(starting(host, f'["{RANGE}"]'))
            was_seen = not is_decided(host)
        before = taken_out(host, 50000, 52000), ruleset(host)
    wait_until(lambda: is_decided(host), "the service's look")

    assert was_seen
    assert before == ([], ruleset(host))
    assert "\nyields " not in record(host)


def test_a_service_that_comes_later(host: Host, outside: Net, web1: Net) -> None:
    """A port that is the guest's already stays so; status says who listens in vain."""
    start(host, f'["{RANGE}"]')
    with web1.serve_udp(51900), serving(host, "vpn", 51900, protocol="udp") as pid:
        event(host, "reconnect")
        found = rows(host)
        noted = record(host)
        answer = who(outside, 51900)

    late = f"vpn (pid {pid}) listens on udp 0.0.0.0:51900; the forward was first"
    assert (found, answer) == ([("active", late)], "web1")
    assert "51900" not in noted


def test_a_service_while_the_guest_is_off(host: Host, outside: Net, web1: Net) -> None:
    """What is rejected then gives its port back within seconds, too. It was first: what
    is rejected, is so from the edit on."""
    give_up_claims(host)
    with serving(host, "vpn", 51900, protocol="udp"):
        start(host, f'{{ports: ["{RANGE}"], when_stopped: reject}}')
        event(host, "stopped")
        wait_until(lambda: who(outside, 51900) == "vpn", "vpn's answer")
        others = (
            outside.udp(OUTSIDE, 51899).refused,
            outside.udp(OUTSIDE, 51901).refused,
        )
    event(host, "started")
    event(host, "stopped")

    wait_until(lambda: outside.udp(OUTSIDE, 51900).refused, "its port rejected")
    assert others == (True, True)


TCP = {
    # what is published of 20-30, the services' ports, the host's address
    "kept": ('"0.0.0.0:20-30:20-30"', [22], OUTSIDE),
    "shifted": ('"0.0.0.0:20-30:120-130"', [22], OUTSIDE),
    "to one port": ('"0.0.0.0:20-30:120"', [22], OUTSIDE),
    "on one address": (f'"{OUTSIDE}:20-30:20-30"', [22], OUTSIDE),
    "IPv6": ('"[::]:20-30:20-30"', [22], "2001:db8::1"),
    "first and last": ('"0.0.0.0:20-30:20-30"', [20, 30], OUTSIDE),
    "two beside each other": ('"0.0.0.0:20-30:20-30"', [24, 25], OUTSIDE),
    "for some": (
        "{published: 20-30, host_ip: 0.0.0.0, allow_from: [203.0.113.0/24]}",
        [22],
        OUTSIDE,
    ),
}


@pytest.mark.parametrize("kind", TCP)
def test_tcp(host: Host, outside: Net, web1: Net, kind: str) -> None:
    """Every kind of range: the services answer on their ports, the guest on its other
    ones, and a full check changes nothing."""
    ports, theirs, address = TCP[kind]
    shift = 100 if "120" in ports else 0
    any_address = "::" if ":" in address else "0.0.0.0"
    asked = sorted({20, 30, *theirs, *(port + 1 for port in theirs if port < 30)})
    at = f"[{address}]" if ":" in address else address
    beside = theirs[-1] if theirs[1:] else 99
    with (
        serving(host, "first", theirs[0], any_address),
        serving(host, "second", beside, any_address),
    ):
        start(host, f"{{ports: [{ports}], {BOTH}}}")
        all_but = f"all but {', '.join(map(str, theirs))}: first (pid "
        wait_until(lambda: is_active(host, all_but), lambda: f"{rows(host)}")
        services = dict(zip(theirs, ("first", "second")))
        expected = {port: services.get(port, "web1") for port in asked}

        def ask() -> dict[int, str]:
            answers = {}
            for port in asked:
                with web1.serve_tcp(120 if '120"' in ports else port + shift):
                    body = outside.http(f"http://{at}:{port}/").body
                    answers[port] = body.partition(" ")[0]
            return answers

        wait_until(lambda: ask() == expected, lambda: f"{ask()}")
        before = published(host)
        host.write("/run/vfwhooks/full", "")
        event(host, "reconnect")
        wait_until(lambda: ask() == expected, lambda: f"{ask()}")
        after = published(host)  # while the services are there

    assert before == after


def is_active(host: Host, reason: str) -> bool:
    """Whether the one forward is active, for a reason that begins so."""
    return [(s, r.startswith(reason)) for s, r in rows(host)] == [("active", True)]


BOTH = 'address: [192.168.122.10, "fd00:122::10"]'


def test_all_ports_of_a_range(host: Host, outside: Net, web1: Net) -> None:
    """Where services have all of them, nothing is forwarded."""
    with serving(host, "first", 20), serving(host, "second", 21) as pid:
        found = start(host, '["0.0.0.0:20-21:20-21"]')
        sent_on = published(host)  # while the services are there

    assert pid
    assert [state for state, _ in found] == ["conflict"]
    assert not sent_on
