"""A second way out: who comes in by it and is not answered is not called active; with
`return_path: true` he is answered, whatever else the host does with marks and rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import mac_for, second_network
from lab.service import serving
from product import configure, start_watch, status, stop_watch, vfwhooks

from e2e.standins import Standin

FAR = "192.0.2.50"  # whoever is far away, behind either way out
FAR6 = "2001:db8:50::50"
ADDRESS = "198.51.100.1"
FORWARDS = f"""
guests:
  web1: ["{ADDRESS}:8080:80", "203.0.113.1:8081:80", "0.0.0.0:8082:80"]
"""
RULE = f"from {ADDRESS} lookup 100"


@pytest.fixture(scope="module")
def second(host: Host, outside: Net) -> Iterator[Net]:
    """Somebody far away behind a second uplink, which has a table of its own; the guest
    runs."""
    del outside  # the first uplink, by which the default route leads
    net = host.outside("198.51.100.2/24", name="second")
    net.ip(f"addr add {FAR}/32 dev lo")
    net.ip(f"route add {ADDRESS}/32 dev eth0 src {FAR}")
    host.net.ip("route replace default via 203.0.113.2")
    host.net.ip("route replace default via 198.51.100.2 table 100")
    configure(host, FORWARDS)
    web1 = host.define_guest("web1", mac=mac_for(39))
    web1.start(wait=True)
    vfwhooks(host, "apply").check()
    yield net
    web1.destroy()


def rp_filter(host: Host, value: int) -> None:
    """Of every interface."""
    loop = f"for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo {value} >$f; done"
    host.run(["sh", "-c", loop])


def row(host: Host, address: str = ADDRESS) -> tuple[str, str]:
    """The state and the reason of the forward on an address."""
    [found] = [one for one in status(host)["forwards"] if one["host_ip"] == address]
    return found["state"], found["reason"]


@pytest.mark.parametrize("value", [0, 2])
def test_a_rule_that_serves_the_host_alone(host: Host, second: Net, value: int) -> None:
    """The host's own service answers there, and the guest does not: it is blocked, and
    the command that status names cures it. The forward on the other uplink is active,
    and so is one on every address, which says where it is not answered."""
    rp_filter(host, value)
    host.net.ip(f"rule add {RULE}")

    urls = [f"http://{ADDRESS}:{port}/" for port in (9000, 8080)]
    with serving(host, "own", 9000):
        seen = [second.http(url).answered for url in urls]
    before = row(host), row(host, "203.0.113.1"), row(host, "0.0.0.0")
    cure = before[0][1].rpartition("run: ")[2]
    host.run(cure.split())
    cured = second.http(urls[1]).answered, row(host)
    host.run(cure.replace("add", "del").split())
    host.net.ip(f"rule del {RULE}")

    guest = "192.168.122.39"
    what = f"answers of {guest} leave by outside, and those of {ADDRESS} by second"
    assert (seen, before) == (
        [True, False],
        (
            (
                "blocked",
                f"{what}; write return_path: true,"
                f" or run: ip rule add iif virbr0 from {guest} lookup 100",
            ),
            ("active", ""),
            ("active", f"not answered on {ADDRESS}: {before[0][1]}"),
        ),
    )
    assert cured == (True, ("active", ""))


def test_strict_rp_filter(host: Host, second: Net) -> None:
    """What comes in by the second uplink and would be answered by the first is dropped
    by the kernel before anybody sees it; loose, it is let in, and the answer leaves."""
    rp_filter(host, 1)

    seen = second.http(f"http://{ADDRESS}:8080/").answered
    state, reason = row(host)
    host.run(reason.rpartition("run: ")[2].split())
    host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])
    after = row(host)[0]

    what = "second drops what is answered by outside (rp_filter 1)"
    cure = "run: sysctl -w net.ipv4.conf.second.rp_filter=2"
    assert (seen, state, reason) == (False, "blocked", f"{what}; {cure}")
    assert after == "active"


RETURNED = f"""
guests:
  web1:
    return_path: true
    ports:
      - "{ADDRESS}:8080:80"
      - "{ADDRESS}:5390:5353/udp"
      - {{host_ip: {ADDRESS}, published: 8081, target: 80, return_path: false}}
      - "203.0.113.1:8080:80"
      - "203.0.113.1:5390:5353/udp"
      - "10.99.0.1:8080:80"
"""
TCP, UDP = f"web1 80 {FAR}", f"web1 5353 {FAR} ?"  # what a guest says who sees FAR
# Others use other bits of both marks; what they see of them, last, is what they set.
OTHERS = """
table inet others {
  chain before {
    type filter hook prerouting priority -170
    ct mark set ct mark | 0x6
    meta mark set meta mark | 0x5
  }
  chain after {
    type filter hook forward priority 10
    ct status dnat meta mark & 0xf0ffffff == 5 ct mark & 0xf0ffffff == 6 counter
    ct status dnat counter
  }
}
"""
# What wg-quick sets up for an interface that is the default route, called wg0.
WG_QUICK = """
table ip wg-quick-wg0 {
  chain preraw {
    type filter hook prerouting priority -300
    iifname != "wg0" ip daddr 10.99.0.1 fib saddr type != local drop
  }
  chain premangle {
    type filter hook prerouting priority -150
    meta l4proto udp meta mark set ct mark
  }
  chain postmangle {
    type filter hook postrouting priority -150
    meta l4proto udp meta mark 51820 ct mark set meta mark
  }
}
"""


def set_mark(host: Host, interface: str = "second") -> str:
    """src_valid_mark of an interface."""
    path = f"/proc/sys/net/ipv4/conf/{interface}/src_valid_mark"
    return host.run(["cat", path]).strip()


def our_rules(host: Host, family: str = "-4") -> list[str]:
    """The rules for which table is used that are ours, without where they stand."""
    lines = host.run(["ip", family, "rule"]).splitlines()
    found = [line.partition("\t")[2].strip() for line in lines if "fwmark 0x" in line]
    return [one for one in found if "/0xf000000" in one]


def first_rules(host: Host) -> list[bool]:
    """Of the rules behind the one for what is local, which are ours."""
    lines = host.run(["ip", "rule"]).splitlines()
    return ["/0xf000000" in line for line in lines if not line.startswith("0:")]


@contextmanager
def rule(host: Host, *rules: str, family: str = "-4") -> Iterator[None]:
    """Rules of the host's while the block runs."""
    for one in rules:
        host.run(["ip", family, "rule", "add", *one.split()])
    try:
        yield
    finally:
        for one in rules:
            host.run(["ip", family, "rule", "del", *one.split()])


@pytest.fixture
def returned(host: Host, second: Net) -> Iterator[Net]:
    """Forwards with return_path are in force, with the rule that needs them."""
    configure(host, RETURNED)
    with rule(host, RULE):
        vfwhooks(host, "apply").check()
        yield second
    configure(host, FORWARDS)
    vfwhooks(host, "apply").check()


@pytest.mark.parametrize("value", [0, 1, 2])
def test_answers_leave_by_the_way_of_the_hosts_own(
    host: Host, returned: Net, value: int
) -> None:
    """TCP and UDP, the guest sees the client; the forward beside it without the key is
    not answered. Nobody else's bits of either mark are changed."""
    rp_filter(host, value)
    host.run(["nft", "-f", "-"], input=OTHERS)
    host.run(["conntrack", "-F"])

    answers = (
        returned.http(f"http://{ADDRESS}:8080/").body,
        returned.udp(ADDRESS, 5390).body,
        returned.http(f"http://{ADDRESS}:8081/", timeout=1).answered,
    )
    listed = host.run(["conntrack", "-L", "--orig-dst", ADDRESS])
    seen = host.run(["nft", "list", "table", "inet", "others"])
    host.run(["nft", "delete", "table", "inet", "others"])

    marks = re.findall(r"dport=(\d+) src=.* mark=(\d+)", listed)
    unmarked = [] if value == 1 else [("8081", "6")]  # it is dropped before
    assert (answers, sorted(set(marks))) == (
        (TCP, UDP, False),
        [("5390", f"{0x1000006}"), ("8080", f"{0x1000006}"), *unmarked],
    )
    counts = re.findall(r"counter packets (\d+)", seen)
    assert (counts[0], int(counts[0]) > 10) == (counts[1], True)


def test_what_status_says_of_it(host: Host, returned: Net) -> None:
    """It is active while the kernel routes what has our mark as the host's own; and
    else blocked, until everything is checked."""
    rp_filter(host, 1)
    before = states_of(host, "203.0.113.1"), states_of(host)
    [one] = our_rules(host)
    host.run(["ip", "rule", "del", *one.split()])
    without = states_of(host)
    vfwhooks(host, "apply").check()
    host.run(["sysctl", "-qw", "net.ipv4.conf.second.src_valid_mark=0"])
    unmarked = states_of(host)
    vfwhooks(host, "apply").check()

    answers = "answers of 192.168.122.39 leave by outside, and those of 198.51.100.1"
    assert (before, without, unmarked, states_of(host)) == (
        ([("active", "")], [("active", "")]),
        [("blocked", f"{answers} by second, return_path or not; run vfwhooks apply")],
        [
            (
                "blocked",
                "net.ipv4.conf.second.src_valid_mark is 0, and rp_filter 1;"
                " run vfwhooks apply",
            )
        ],
        [("active", "")],
    )


def states_of(host: Host, address: str = ADDRESS) -> list[tuple[str, str]]:
    """Of the forwards with return_path on an address, each state once."""
    return sorted(
        {
            (one["state"], one["reason"])
            for one in status(host)["forwards"]
            if one["host_ip"] == address and one["published"] != "8081"
        }
    )


def test_what_explain_says_of_it(host: Host, returned: Net) -> None:
    """By which interface answers leave."""
    lines = vfwhooks(host, "explain", "8080").stdout.splitlines()

    found = [line.strip() for line in lines if "return_path" in line]
    assert found == [
        f"back     return_path: what comes in on {ADDRESS} leaves by second"
    ]


def test_a_dry_run_touches_nothing(host: Host, second: Net) -> None:
    """`apply --dry-run` says by which interface answers would leave."""
    configure(host, RETURNED)
    with rule(host, RULE):
        lines = vfwhooks(host, "apply", "--dry-run").stdout.splitlines()
        after = our_rules(host), set_mark(host)
    configure(host, FORWARDS)

    found = [line for line in lines if "answered by" in line]
    assert (found, after) == (
        [
            f"+ web1 {ADDRESS} tcp 8080 → answered by second",
            f"+ web1 {ADDRESS} udp 5390 → answered by second",
        ],
        ([], "0"),
    )


@pytest.mark.parametrize("end", ["destroy", "purge", "edit"])
def test_nothing_stays_behind(
    host: Host, second: Net, end: str, request: pytest.FixtureRequest
) -> None:
    """When the guest has stopped, with the key, and with everything of ours: no rule,
    no setting, no mark."""
    request.getfixturevalue("returned")
    before = our_rules(host), set_mark(host)

    if end == "destroy":
        host.virsh("destroy", "web1")
    elif end == "purge":
        vfwhooks(host, "purge").check()
    else:
        configure(host, FORWARDS)
        vfwhooks(host, "apply").check()
    after = our_rules(host), set_mark(host)
    if end == "destroy":
        host.virsh("start", "web1")
        url = f"http://{ADDRESS}:8080/"
        wait_until(lambda: second.http(url).body == TCP, "web1 is up again")
    vfwhooks(host, "apply").check()

    mark = "from all fwmark 0x1000000/0xf000000 iif virbr0 lookup 100 proto 86"
    assert (before, after) == (([mark], "1"), ([], "0"))


def test_a_rule_that_was_removed_comes_back(host: Host, returned: Net) -> None:
    """As systemd-networkd removes it when it starts: the service puts it back, and
    moves it ahead of one that comes later."""
    start_watch(host)
    ours = our_rules(host)

    host.run(["ip", "rule", "del", *ours[0].split()])
    wait_until(lambda: our_rules(host) == ours, "the rule")
    with rule(host, "from 192.0.2.99 lookup 100"):
        wait_until(lambda: first_rules(host)[:2] == [True, False], "its place")
        there = our_rules(host)
    wait_until(lambda: first_rules(host)[:2] == [True, False], "its place again")
    stop_watch(host)

    assert there == our_rules(host) == ours


def test_an_address_that_moves_to_another_uplink(host: Host, returned: Net) -> None:
    """The answers follow it, by the service alone."""
    rp_filter(host, 1)
    third = host.outside("198.51.101.2/24", name="third")
    third.ip(f"addr add {FAR}/32 dev lo", f"route add {ADDRESS}/32 dev eth0 src {FAR}")
    host.net.ip("route replace default via 198.51.101.2 table 101")
    start_watch(host)
    url = f"http://{ADDRESS}:8080/"
    before = returned.http(url).body

    host.net.ip(f"addr del {ADDRESS}/24 dev second", f"addr add {ADDRESS}/32 dev third")
    host.net.ip(f"rule del {RULE}", f"rule add from {ADDRESS} lookup 101")
    rp_filter(host, 1)
    wait_until(lambda: third.http(url, timeout=2).body == TCP, "an answer")
    mark = "from all fwmark 0x2000000/0xf000000 iif virbr0 lookup 101 proto 86"

    def moved() -> tuple[list[str], str, str]:
        return our_rules(host), set_mark(host), set_mark(host, "third")

    wait_until(lambda: moved() == ([mark], "0", "1"), lambda: f"{moved()}")
    host.net.ip(f"addr del {ADDRESS}/32 dev third", f"addr add {ADDRESS}/24 dev second")
    host.net.ip(f"rule add {RULE}", f"rule del from {ADDRESS} lookup 101")
    host.net.ip("route replace default via 198.51.100.2 table 100")
    wait_until(lambda: returned.http(url, timeout=2).body == TCP, "an answer again")
    stop_watch(host)
    host.unplug(third)

    assert before == TCP


@contextmanager
def wg_quick(host: Host, peer: Net) -> Iterator[None]:
    """A tunnel to the peer that is the default route, as wg-quick sets it up. This
    kernel has no WireGuard, and VXLAN stands in for it."""
    link = "link add wg0 type vxlan id 7 dstport 4789"
    host.net.ip(f"{link} local {ADDRESS} remote 198.51.100.2 dev second")
    host.net.ip("addr add 10.99.0.1/24 dev wg0", "link set wg0 up")
    peer.ip(f"{link} local 198.51.100.2 remote {ADDRESS} dev eth0")
    peer.ip("addr add 10.99.0.2/24 dev wg0", "link set wg0 up")
    peer.ip(f"route add 10.99.0.1/32 dev wg0 src {FAR}")
    host.net.ip("route add default via 10.99.0.2 dev wg0 table 51820")
    host.run(["nft", "-f", "-"], input=WG_QUICK)
    rules = "not fwmark 51820 table 51820", "table main suppress_prefixlength 0"
    with rule(host, *rules):
        yield
    host.run(["nft", "delete", "table", "ip", "wg-quick-wg0"])
    host.net.ip("link del wg0")
    peer.ip("link del wg0")


@pytest.mark.parametrize("value", [0, 1, 2])
def test_a_host_as_wg_quick_sets_it_up(
    host: Host, second: Net, outside: Net, value: int
) -> None:
    """The tunnel is the default route, ahead of which stands a rule for the host's own
    services on the first uplink: who comes in there is answered there, over TCP and
    UDP, and who comes in by the tunnel there. It comes up after us, and goes."""
    outside.ip(f"addr replace {FAR}/32 dev lo")
    outside.ip(f"route replace 203.0.113.1/32 dev eth0 src {FAR}")
    configure(host, RETURNED)
    rp_filter(host, value)
    vfwhooks(host, "apply").check()
    start_watch(host)
    url = "http://203.0.113.1:8080/"
    before = outside.http(url).body
    with wg_quick(host, second), rule(host, "from 203.0.113.1 lookup main"):
        rp_filter(host, value)
        wait_until(lambda: first_rules(host)[:2] == [True, False], "its place")
        wait_until(lambda: outside.http(url, timeout=2).body == TCP, "an answer")
        by_the_tunnel = "http://10.99.0.1:8080/"
        wait_until(lambda: second.http(by_the_tunnel, 2).body == TCP, "another")
        during = (
            outside.udp("203.0.113.1", 5390).body,
            outside.udp("203.0.113.1", 5390).body,
            second.http(by_the_tunnel).body,
            first_rules(host)[:2],
        )
    wait_until(lambda: not our_rules(host), "the end of our rule")
    after = outside.http(url).body
    stop_watch(host)
    outside.ip("route del 203.0.113.1/32", f"addr del {FAR}/32 dev lo")
    configure(host, FORWARDS)
    vfwhooks(host, "apply").check()

    assert (before, during, after) == (TCP, (UDP, UDP, TCP, [True, False]), TCP)


@pytest.fixture(scope="module")
def uplinks(host: Host, second: Net) -> Iterator[dict[str, Net]]:
    """Three of them, by the host's address; the last has IPv6 as well."""
    third = host.outside("198.51.102.2/24", "2001:db8:3::2/64", name="uplink3")
    third.ip(f"addr add {FAR}/32 dev lo", f"addr add {FAR6}/128 dev lo nodad")
    third.ip(f"route add 198.51.102.1/32 dev eth0 src {FAR}")
    third.ip(f"route add 2001:db8:3::1/128 dev eth0 src {FAR6}")
    host.net.ip("route replace default via 198.51.102.2 table 102")
    host.net.ip("route replace default via 2001:db8:3::2 table 102")
    host.net.ip("route replace default via 2001:db8::2")
    yield {ADDRESS: second, "198.51.102.1": third, "[2001:db8:3::1]": third}
    host.unplug(third)


def test_one_on_every_address_of_three_uplinks(
    host: Host, uplinks: dict[str, Net], outside: Net
) -> None:
    """Each of the host's addresses has its own way back, of IPv6 too; ranges, lists of
    sources, and neighbours and the guest itself who ask the host are served as well."""
    rp_filter(host, 1)
    forwards = """
guests:
  six:
    return_path: true
    address: [192.168.122.64, "fd00:122::64"]
    allow_from: [192.0.2.0/24, "2001:db8:50::/48", 203.0.113.0/24, 192.168.122.0/24]
    ports: [8080:80, 8442-8444:8442-8444, 9000-9010:8000-8010]
"""
    six, neighbour = Standin(host, "six", 64), Standin(host, "neighbour", 77)
    configure(host, forwards)
    rules = RULE, "from 198.51.102.1 lookup 102"
    ports = {8080: 80, 8443: 8443, 9000: 8000}
    with ExitStack() as stack:
        stack.enter_context(rule(host, *rules))
        stack.enter_context(rule(host, "from 2001:db8:3::1 lookup 102", family="-6"))
        vfwhooks(host, "apply").check()
        six.start()
        for port in ports.values():
            stack.enter_context(six.net.serve_tcp(port))
        far = {
            address: [net.http(f"http://{address}:{port}/").body for port in ports]
            for address, net in uplinks.items()
        }
        near = [
            net.http(f"http://{address}:8080/").body
            for net, address in (
                (outside, "203.0.113.1"),
                (neighbour.net, ADDRESS),
                (six.net, "198.51.102.1"),
            )
        ]
        ours = our_rules(host), our_rules(host, "-6")
        six.stop()
        left = our_rules(host) + our_rules(host, "-6")
    configure(host, FORWARDS)
    vfwhooks(host, "apply").check()

    seen = f"{six.net.name} {{}} {{}}".format
    assert far == {
        address: [seen(to, FAR6 if ":" in address else FAR) for to in ports.values()]
        for address in uplinks
    }
    gateway = "192.168.122.1"
    assert near == [seen(80, one) for one in ("203.0.113.2", gateway, gateway)]
    assert ([len(some) for some in ours], left) == ([2, 1], [])


def test_guests_on_two_networks_by_one_table(host: Host, second: Net) -> None:
    """Each network's bridge has its rule, which goes with the last guest there."""
    rp_filter(host, 1)
    host.start_network(second_network("lab", 150))
    forwards = f"""
defaults: {{host_ip: {ADDRESS}, return_path: true}}
guests: {{one: [8001:80], two: [8002:80], three: [8003:80]}}
"""
    guests = [
        Standin(host, "one", 61),
        Standin(host, "two", 62, "lab", "virbr150", "192.168.150", ""),
        Standin(host, "three", 63, "lab", "virbr150", "192.168.150", ""),
    ]
    with rule(host, RULE):
        configure(host, forwards)
        vfwhooks(host, "apply").check()
        for guest in guests:
            guest.start()
        seen = []
        for number, guest in enumerate(guests, 8001):
            with guest.net.serve_tcp(80):
                seen.append(second.http(f"http://{ADDRESS}:{number}/").body)
        bridges = []
        for guest in guests:
            bridges.append(sorted(re.findall("iif (\\S+)", "".join(our_rules(host)))))
            guest.stop()
        left = our_rules(host), set_mark(host)
    configure(host, FORWARDS)
    vfwhooks(host, "apply").check()

    assert seen == [f"{guest.net.name} 80 {FAR}" for guest in guests]
    assert (bridges, left) == (
        [["virbr0", "virbr150"], ["virbr150"], ["virbr150"]],
        ([], "0"),
    )
