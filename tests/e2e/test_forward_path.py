"""doctor GUEST on real hosts: a hop is broken and found. Where its cure is a command,
that is run as it stands, and the way is whole again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import mac_for
from product import call_hook, configure, domain_xml, vfwhooks

FORWARDS = """guests:
  web1: {ports: [8080:80], address: 192.168.122.10}
"""
WHOLE = [
    "entry-found",
    "guest-runs",
    "address-known",
    "rules-there",
    "way-open",
    "way-back-open",
    "guest-answers",
]
CHAIN = "add table inet own\nadd chain inet own routed"
HOOK = "{ type filter hook forward priority 0; policy %s; }"
DROPS = f"{CHAIN} {HOOK % 'accept'}\nadd rule inet own routed tcp dport 80 drop\n"
STRICT = f"{CHAIN} {HOOK % 'drop'}\n"


@pytest.fixture(scope="module")
def guest(host: Host, outside: Net) -> Iterator[Net]:
    """A stand-in that is forwarded to and answers. libvirt, which does not know it, is
    stopped: apply goes by what the hook has recorded."""
    configure(host, FORWARDS)
    web1 = host.standin("web1", "192.168.122.10/24", mac=mac_for(10))
    web1.ip("route add default via 192.168.122.1")
    with web1.serve_tcp(80):
        host.write("/run/libvirt/qemu/web1.pid", "")  # as libvirt does
        xml = domain_xml("web1", mac_for(10))
        call_hook(host, "qemu", "web1", "started", "begin", "-", xml=xml)
        wait_until(lambda: is_served(outside), "the forward")
        host.stop_libvirtd()
        yield web1


@pytest.fixture
def clean(host: Host, guest: Net) -> Iterator[Net]:
    """The guest; whatever a test leaves broken is mended after it."""
    yield guest
    host.call(["nft", "delete", "table", "inet", "own"])
    host.call(["sysctl", "-w", "net.ipv4.ip_forward=1"])
    guest.ip("link set eth0 up", "route replace default via 192.168.122.1")
    configure(host, FORWARDS)
    vfwhooks(host, "apply").check()
    wait_until(lambda: hops(host)[:2] == (0, WHOLE), "the way to be whole again")


def carry_out(host: Host, argv: list[str]) -> None:
    """Run a cure on a host where the command is in a checkout."""
    if argv[0] == "vfwhooks":
        vfwhooks(host, *argv[1:]).check()
    else:
        host.run(argv)


def is_served(outside: Net) -> bool:
    """Whether somebody outside is answered."""
    found = outside.http("http://203.0.113.1:8080/")
    return found.outcome.value == "answered"


def hops(host: Host) -> tuple[int, list[str], dict[str, Any]]:
    """Exit status, the hops by name, and the last one whole."""
    done = vfwhooks(host, "doctor", "web1", "--json")
    (one,) = json.loads(done.stdout)["forwards"]
    return done.status, [hop["id"] for hop in one["hops"]], one["hops"][-1]


def test_a_whole_way(host: Host, guest: Net) -> None:
    """Every hop, to the guest's answer."""
    assert hops(host)[:2] == (0, WHOLE)


def test_whoever_may_connect(host: Host, guest: Net, outside: Net) -> None:
    """With allow_from the way is that of somebody in it."""
    line = "{published: 8080, target: 80, allow_from: 198.51.100.0/24}"
    configure(host, FORWARDS.replace("8080:80", line))
    vfwhooks(host, "apply").check()

    found, served = hops(host)[:2], is_served(outside)
    configure(host, FORWARDS)
    vfwhooks(host, "apply").check()

    limited = [*WHOLE[:4], "clients-limited", *WHOLE[4:]]
    assert (found, served) == ((0, limited), False)


def lose_rules(host: Host) -> None:
    """Somebody flushes our rules, and no service runs."""
    if host.firewall_backend == "nftables":
        host.run(["nft", "delete", "table", "inet", "vfwhooks"])
    else:
        lines = host.run(["iptables", "-t", "nat", "-S"]).splitlines()
        chain = next(line[3:] for line in lines if line.startswith("-N VFW-A-"))
        host.run(["iptables", "-t", "nat", "-F", chain])


def lose_jumps(host: Host) -> None:
    """What leads from our chains to the rules of the guests is gone."""
    if host.firewall_backend == "nftables":
        host.run(["nft", "flush", "chain", "inet", "vfwhooks", "publish4"])
    else:
        host.run(["iptables", "-t", "nat", "-F", "VFW-PUBLISH"])


def turn_off(host: Host) -> None:
    """The kernel forwards nothing."""
    host.run(["sysctl", "-w", "net.ipv4.ip_forward=0"])


def drop_all(host: Host) -> None:
    """Somebody's chain has the policy drop."""
    host.run(["nft", "-f", "-"], input=STRICT)


def lose_accepts(host: Host) -> None:
    """Those of our rules that stand ahead of libvirt's reject are gone."""
    if host.firewall_backend == "nftables":
        host.run(["nft", "flush", "chain", "ip", "libvirt_network", "vfwhooks"])
    else:
        host.run(["iptables", "-F", "VFW-FORWARD"])


@pytest.mark.parametrize(
    ("fault", "ident", "kind"),
    [
        (lose_rules, "forward-blocked", "vfwhooks"),
        (lose_jumps, "forward-blocked", "vfwhooks"),
        (lose_accepts, "forward-blocked", "vfwhooks"),
        (turn_off, "forwarding-off", "sysctl"),
        (drop_all, "chain-drops", "manual"),
    ],
)
def test_a_hop_with_a_cure(
    host: Host, clean: Net, outside: Net, fault: Any, ident: str, kind: str
) -> None:
    """Nobody is served, the hop is the last that is told, and its command cures it."""
    fault(host)
    lost, (status, names, last) = is_served(outside), hops(host)
    carry_out(host, last["cure"]["argv"])
    after = hops(host)[:2], is_served(outside)

    assert (lost, status, names[-1], last["cure"]["kind"]) == (False, 1, ident, kind)
    assert after == ((0, WHOLE), True)


def test_a_rule_of_somebodys(host: Host, clean: Net, outside: Net) -> None:
    """It is named, by its text; nobody but who made it knows a cure."""
    host.run(["nft", "-f", "-"], input=DROPS)
    lost, (status, names, last) = is_served(outside), hops(host)

    rule = "inet own, chain routed: tcp dport 80 drop"
    assert (lost, status, names[-1], last["cure"]) == (False, 1, "way-refused", None)
    assert rule in last["text"]


def test_a_guest_without_a_service(host: Host, clean: Net) -> None:
    """The way is whole, and nobody listens there; nor does one that is not plugged."""
    configure(host, FORWARDS.replace("8080:80", "8080:81"))
    vfwhooks(host, "apply").check()
    refused = hops(host)[1]
    clean.ip("link set eth0 down")
    silent = hops(host)[1]

    assert (refused, silent) == (
        [*WHOLE[:-1], "guest-refuses"],
        [*WHOLE[:-1], "guest-silent"],
    )


@pytest.mark.parametrize(
    ("kind", "refusing", "expected"),
    [
        ("veth", "mgmt0", (0, "note", "10.9.9.1")),
        ("veth", "outside", (0, "note", "203.0.113.1")),
        ("veth", '{ "mgmt0", "outside" }', (1, "wrong", "203.0.113.1, 10.9.9.1")),
        ("bridge", "outside", (1, "wrong", "203.0.113.1")),
    ],
)
def test_a_host_with_two_addresses(
    host: Host, clean: Net, kind: str, refusing: str, expected: tuple[int, str, str]
) -> None:
    """What is refused on one of them is a note that names it, and wrong if nobody from
    outside is let in: who comes to a bridge's address may be a container."""
    rule = f"iifname {refusing} drop\n"
    host.run(["ip", "link", "add", "mgmt0", "type", kind])
    host.run(["ip", "addr", "add", "10.9.9.1/24", "dev", "mgmt0"])
    host.run(["nft", "-f", "-"], input=DROPS.replace("tcp dport 80 drop\n", rule))

    done = vfwhooks(host, "doctor", "web1", "--json")
    host.run(["ip", "link", "del", "mgmt0"])

    hops = json.loads(done.stdout)["forwards"][0]["hops"]
    (told,) = [hop for hop in hops if hop["id"] == "way-refused"]
    status, level, where = expected
    rest = [hop for hop in hops if hop["level"] == "wrong" and hop is not told]
    assert (done.status, told["level"], rest) == (status, level, [])
    assert told["text"].startswith(f"way in: on {where}: dropped by handle ")
