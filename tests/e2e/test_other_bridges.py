"""Guests on a bridge that the host made itself, behind a masquerade of the host's own:
`bridge:` has them forwarded to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.machine import Nic, static
from lab.net import Net
from lab.network import mac_for
from product import (
    configure,
    published,
    rows,
    settled_ruleset,
    start_watch,
    status,
    stop_watch,
    vfwhooks,
)

URLS = "http://203.0.113.1:8080/", "http://[2001:db8::1]:8080/"
MAC = "52:54:00:aa:00:51"
MASQUERADE = """
table inet byhand {
	chain postrouting {
		type nat hook postrouting priority 100
		ip saddr 10.9.0.0/24 oifname != "br-nat" masquerade
	}
}
"""
DROPPING = """
table inet site {
	chain forward {
		type filter hook forward priority 10; policy drop;
		iifname "br-nat" accept
	}
}
"""
WITHOUT = "guests:\n  inner: [8080:80]\n"
FOUND = """guests:
  inner: {ports: ["0.0.0.0:8080:80", "[::]:8080:80"], bridge: br-nat}
"""
TOLD = """guests:
  inner: {ports: [8080:80], bridge: br-nat, address: [10.9.0.51, "fd00:9::51"]}
"""
ANSWERED = ["inner 80 203.0.113.2", "inner 80 2001:db8::2"]
ACTIVE = [("active", "")] * 2
DNSMASQS = "/var/lib/misc/dnsmasq.leases", "/var/lib/dnsmasq/dnsmasq.leases"


def make_bridge(host: Host) -> None:
    """As administrators do."""
    host.net.ip(
        "link add br-nat type bridge",
        "addr add 10.9.0.1/24 dev br-nat",
        "addr add fd00:9::1/64 dev br-nat nodad",
        "link set br-nat up",
    )


@pytest.fixture(scope="module")
def inner(host: Host, outside: Net) -> Iterator[Guest]:
    """A guest on br-nat with addresses of its own, and the watch."""
    del outside
    make_bridge(host)
    host.run(["nft", "-f", "-"], input=MASQUERADE)
    options = [
        *static("10.9.0.51/24,fd00:9::51/64", "10.9.0.1"),
        "vfw.gw6=fd00:9::1",
    ]
    nic = Nic(MAC, bridge="br-nat")
    guest = host.define_guest("inner", nics=[nic], options=options)
    configure(host, WITHOUT)
    start_watch(host)
    guest.start(wait=True)
    yield guest
    stop_watch(host)
    guest.destroy()


def put_in_force(host: Host, forwards: str) -> None:
    """An edit, and nothing is wrong with it."""
    configure(host, forwards)
    vfwhooks(host, "apply").check()


def bodies(outside: Net, patience: float = 5) -> list[str]:
    """Who answers by IPv4, and by IPv6; else why nobody does, within so many
    seconds."""
    replies = [outside.http(url, timeout=patience) for url in URLS]
    return [reply.body or reply.outcome.value for reply in replies]


def expect(outside: Net, what: list[str]) -> None:
    """Wait for what is answered to become this."""
    wait_until(lambda: bodies(outside) == what, lambda: f"{bodies(outside)}")


def test_without_the_key(host: Host, outside: Net, inner: Guest) -> None:
    """It may be the LAN: nothing is forwarded, and the reason says what to write."""
    del inner
    put_in_force(host, WITHOUT)

    found = bodies(outside), rows(host)

    what = "bridge br-nat is the host's own, not a network of libvirt's"
    cure = "on the LAN the guest is reached at its own address, without forwards"
    reason = f"interface {MAC}: {what}: {cure}; behind NAT, write bridge: br-nat"
    assert found == (["refused"] * 2, [("pending", reason)])


def test_by_address(host: Host, outside: Net, inner: Guest) -> None:
    """In both families; what is said to be wrong is nothing."""
    del inner
    put_in_force(host, TOLD)

    found = bodies(outside), rows(host), vfwhooks(host, "status").status

    assert found == (ANSWERED, ACTIVE, 0)


def test_on_loopback(host: Host, inner: Guest) -> None:
    """Published for the host alone; the dry run says the same beforehand."""
    del inner
    put_in_force(host, "guests: {}\n")
    alone = TOLD.replace("8080:80", '"127.0.0.1:8081:80"')
    stop_watch(host)  # which would be at it first
    configure(host, alone)

    said = vfwhooks(host, "apply", "--dry-run").stdout
    start_watch(host)
    put_in_force(host, alone)
    body = host.net.http("http://127.0.0.1:8081/").body
    put_in_force(host, TOLD)
    closed = host.run(["cat", "/proc/sys/net/ipv4/conf/br-nat/route_localnet"])

    assert (body, closed) == ("inner 80 10.9.0.1", "0\n")
    assert "127.0.0.1" in said and "10.9.0.51" in said


def test_an_address_of_another_subnet(host: Host, inner: Guest) -> None:
    """Nothing is forwarded to where the bridge does not lead."""
    del inner
    put_in_force(host, TOLD.replace("10.9.", "10.8.").replace("fd00:9:", "fd00:8:"))

    found = rows(host)

    outside = "is outside 10.9.0.0/24, fd00:9::/64 of br-nat"
    reason = f"address 10.8.0.51 {outside}; address fd00:8::51 {outside}"
    assert found == [("pending", reason)]


def test_by_the_neighbour_table(host: Host, outside: Net, inner: Guest) -> None:
    """Pending until it sends something, and then forwarded to without another event."""
    inner.destroy()
    host.net.ip("neigh flush dev br-nat")
    put_in_force(host, FOUND)
    inner.start()
    inner.wait_until_up()
    inner.run("ip neigh flush dev eth0 || :")

    before = {state for state, _ in rows(host)}
    inner.http("http://10.9.0.1:9/")
    inner.http("http://[fd00:9::1]:9/")
    expect(outside, ANSWERED)

    assert (before, rows(host)) == ({"pending"}, ACTIVE)


@pytest.mark.parametrize("file", DNSMASQS)
def test_by_a_lease_of_the_hosts_own_dnsmasq(
    host: Host, outside: Net, inner: Guest, file: str
) -> None:
    """A guest that sends nothing is pending until the lease is written; from then on
    its start is enough."""
    inner.destroy()
    host.net.ip("neigh flush dev br-nat")
    host.run(["mkdir", "-p", file.rpartition("/")[0]])  # as its package does
    put_in_force(host, FOUND.replace(', "[::]:8080:80"', ""))
    inner.start()
    inner.wait_until_up()
    inner.run("ip neigh flush dev eth0 || :")

    before = {state for state, _ in rows(host)}
    host.write(file, f"0 {MAC} 10.9.0.51 inner *\n")
    wait_until(lambda: rows(host) == ACTIVE[:1], lambda: f"{rows(host)}")
    body = outside.http(URLS[0]).body
    inner.destroy()
    host.net.ip("neigh flush dev br-nat")
    inner.start()
    after = rows(host)
    inner.wait_until_up()
    host.run(["rm", file])

    assert (before, body, after) == ({"pending"}, ANSWERED[0], ACTIVE[:1])


def test_a_chain_that_drops(host: Host, outside: Net, inner: Guest) -> None:
    """It is named with its cure, which is then carried out as it stands there."""
    del inner
    put_in_force(host, TOLD)
    host.run(["nft", "-f", "-"], input=DROPPING)

    before = bodies(outside, 1), rows(host)
    for cure in dict.fromkeys(r.partition("; run: ")[2] for _, r in before[1]):
        host.run(["sh", "-c", cure])
    after = bodies(outside), rows(host)
    host.run(["nft", "delete", "table", "inet", "site"])

    what = "chain inet site forward drops what it does not accept"
    reason = f"{what}; run: nft insert rule inet site forward ct status dnat accept"
    assert before == (["timed out"] * 2, [("blocked", reason)] * 2)
    assert after == (ANSWERED, ACTIVE)


def test_a_service_on_the_bridge(host: Host, outside: Net, inner: Guest) -> None:
    """DNS of the host's there stays the guests', and keeps nobody from port 53."""
    del inner
    put_in_force(host, TOLD.replace("8080:80", "53:53"))

    with host.net.serve_tcp(53, "10.9.0.1") as server:
        replies = [
            outside.http("http://203.0.113.1:53/"),
            neighbour(host).http("http://10.9.0.1:53/"),
        ]
        clients = list(server.clients)
    host.unplug(NEIGHBOURS.pop())

    assert [reply.outcome.value for reply in replies] == ["answered", "answered"]
    assert (replies[0].body, clients) == ("inner 53 203.0.113.2", ["10.9.0.60"])


NEIGHBOURS: list[Net] = []


def neighbour(host: Host) -> Net:
    """Another one on the bridge."""
    net = host.standin("beside", "10.9.0.60/24", bridge="br-nat")
    net.ip("route add default via 10.9.0.1")
    NEIGHBOURS.append(net)
    return net


def test_from_the_same_bridge(host: Host, inner: Guest) -> None:
    """Its neighbours reach it by the host's address as well: answers come back by the
    host."""
    del inner
    put_in_force(host, TOLD)

    reply = neighbour(host).http(URLS[0])
    host.unplug(NEIGHBOURS.pop())

    assert reply.body == "inner 80 10.9.0.1"


def test_no_address_on_the_bridge(host: Host, outside: Net, inner: Guest) -> None:
    """Then it is the LAN, or not ready: pending with the reason; once the host has one
    there the guest is forwarded to by itself."""
    del inner
    host.net.ip("addr flush dev br-nat scope global")
    put_in_force(host, TOLD)

    before = bodies(outside), rows(host)
    host.net.ip(
        "addr add 10.9.0.1/24 dev br-nat", "addr add fd00:9::1/64 dev br-nat nodad"
    )
    expect(outside, ANSWERED)

    what = "the host has no address on bridge br-nat"
    cure = "on the LAN the guest is reached at its own address, without forwards"
    nat = "behind NAT, give br-nat the guests' gateway address"
    assert before == (["refused"] * 2, [("pending", f"{what}: {cure}; {nat}")])
    assert rows(host) == ACTIVE


def test_taken_away_and_back(host: Host, outside: Net, inner: Guest) -> None:
    """Nothing is forwarded to a bridge that has gone; when it is back, and the guest
    plugged in, it is forwarded to by itself."""
    device = host.virsh("domiflist", inner.uuid).split()[0]
    put_in_force(host, TOLD)
    held = bodies(outside)

    host.net.ip("link del br-nat")
    expect(outside, ["refused"] * 2)
    gone = rows(host)
    make_bridge(host)
    host.net.ip(f"link set {device} master br-nat")
    expect(outside, ANSWERED)

    reason = "bridge br-nat is not there; forwards come with it"
    assert (held, gone) == (ANSWERED, [("pending", reason)])
    assert rows(host) == ACTIVE


def test_another_subnet(host: Host, outside: Net, inner: Guest) -> None:
    """An address more on the bridge, and one less: what is left to the host there
    follows."""
    del inner
    put_in_force(host, TOLD)

    host.net.ip("addr add 10.7.0.1/24 dev br-nat")
    wait_until(lambda: "10.7.0.1" in settled_ruleset(host), "the new one")
    host.net.ip("addr del 10.7.0.1/24 dev br-nat")
    wait_until(lambda: "10.7.0.1" not in settled_ruleset(host), "no more of it")

    assert bodies(outside) == ANSWERED


def test_the_bridge_of_a_network(host: Host, inner: Guest) -> None:
    """Where libvirt's own network is named by its bridge, check says so and it works as
    that network does; both keys together are refused."""
    del inner
    lines = "guests:\n  web1:\n    ports: [8080:80]\n    bridge: virbr0\n"
    configure(host, lines)
    one = vfwhooks(host, "check")
    configure(host, f"{lines}    network: default\n")
    both = vfwhooks(host, "check")

    at = "/etc/vfwhooks/forwards.yaml:4:13"
    what = "virbr0 is the bridge of libvirt's network default, and is taken for it"
    said = f"{at}: warning: {what}; write network: default"
    assert (one.status, said in one.stderr.splitlines()) == (0, True)
    what = "bridge: and network: both say which interface is meant"
    cure = "write bridge: for a bridge of the host's own, network: for libvirt's"
    assert (both.status, f"{at}: {what}; {cure}" in both.stderr.splitlines()) == (
        2,
        True,
    )


def test_two_cards(host: Host, outside: Net, inner: Guest) -> None:
    """One on a network of libvirt's and one on the bridge: the key says which is meant;
    the default route goes by the other, for which masquerade: true is there."""
    inner.destroy()
    nics = [Nic(mac_for(52)), Nic("52:54:00:aa:00:53", bridge="br-nat")]
    options = ["vfw.eth0=dhcp", *static("10.9.0.53/24", card=1)]
    both = host.define_guest("inner2", nics=nics, options=options)
    put_in_force(host, "guests:\n  inner2: [8080:80]\n")
    both.start(wait=True)
    keys = "bridge: br-nat, address: 10.9.0.53, masquerade: true"

    first = outside.http(URLS[0]).body, status(host)["forwards"][0]["address"]
    put_in_force(host, f"guests:\n  inner2: {{ports: [8080:80], {keys}}}\n")
    second = outside.http(URLS[0]).body, status(host)["forwards"][0]["address"]
    both.destroy()
    both.undefine()
    inner.start()

    assert first == ("inner2 80 203.0.113.2", both.address)
    assert second == ("inner2 80 10.9.0.1", "10.9.0.53")


def test_a_network_that_is_the_bridge(host: Host, outside: Net, inner: Guest) -> None:
    """libvirt may have a network that leaves the bridge as it is."""
    inner.destroy()
    xml = "<forward mode='bridge'/><bridge name='br-nat'/>"
    define = f"<network><name>onbridge</name>{xml}</network>"
    host.virsh("net-define", "/dev/stdin", input=define)
    host.virsh("net-start", "onbridge")
    options = static("10.9.0.54/24", "10.9.0.1")
    nic = Nic("52:54:00:aa:00:54", network="onbridge")
    guest = host.define_guest("inner3", nics=[nic], options=options)
    keys = "bridge: br-nat, address: 10.9.0.54"
    put_in_force(host, f"guests:\n  inner3: {{ports: [8080:80], {keys}}}\n")

    guest.start(wait=True)
    body, found = outside.http(URLS[0]).body, rows(host)
    guest.destroy()
    guest.undefine()
    host.virsh("net-destroy", "onbridge")
    host.virsh("net-undefine", "onbridge")
    inner.start()

    assert (body, found) == ("inner3 80 203.0.113.2", [("active", "")])


def test_stop_and_purge(host: Host, outside: Net, inner: Guest) -> None:
    """From the stop on it is refused, and then nothing of ours is left."""
    inner.destroy()
    stop_watch(host)
    vfwhooks(host, "purge").check()
    before = settled_ruleset(host)
    put_in_force(host, TOLD)
    inner.start(wait=True)
    served = bodies(outside)

    inner.destroy()
    stopped = bodies(outside), published(host)
    vfwhooks(host, "purge").check()
    after = settled_ruleset(host)
    members = host.call(["ls", "/run/vfwhooks/members"]).stdout
    start_watch(host)
    inner.start()

    assert (served, stopped) == (ANSWERED, (["refused"] * 2, set()))
    assert (after.splitlines(), members) == (before.splitlines(), "")
