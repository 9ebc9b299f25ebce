"""Other firewalls that drop what is forwarded: status and doctor name them and the
cure, which is then carried out as it stands there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab.box import wait_until
from lab.docker import install_rules
from lab.firewalld import CONF, start_firewalld
from lab.host import Host
from lab.net import Net
from lab.network import default_network, mac_for
from product import call_hook, domain_xml, put_in, rows, vfwhooks

from e2e.cures import cures, in_checkout

URLS = "http://203.0.113.1:8080/", "http://[2001:db8::1]:8080/"
FORWARDS = """guests:
  web1: {ports: [8080:80], address: [192.168.122.10, "fd00:122::10"]}
"""
DNATED = "-m conntrack --ctstate DNAT -j ACCEPT"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host whose libvirt has rules of its own, so that others' are beside them."""
    with Host.debian13("nftables") as host:
        prepare(host)
        yield host


@pytest.fixture(scope="module")
def outside(host: Host) -> Iterator[Net]:
    """Somebody outside, and a guest's stand-in that is forwarded to and answers."""
    with outside_and_guest(host) as outside:
        yield outside


def prepare(host: Host) -> None:
    """libvirtd, the default network, and our hooks."""
    put_in(host, FORWARDS)
    host.start_libvirtd()
    host.start_network(default_network(ipv6=True))


@contextmanager
def outside_and_guest(host: Host) -> Iterator[Net]:
    """Somebody outside, and a guest's stand-in that is forwarded to and answers."""
    outside = host.outside()
    web1 = host.standin("web1", "192.168.122.10/24", "fd00:122::10/64", mac=mac_for(10))
    web1.ip("route add default via 192.168.122.1", "route add default via fd00:122::1")
    xml = domain_xml("web1", mac_for(10))
    with web1.serve_tcp(80):
        host.write("/run/libvirt/qemu/web1.pid", "")  # as libvirt does
        call_hook(host, "qemu", "web1", "started", "begin", "-", xml=xml)
        # The bridge's own IPv6 address is new as well, and of no use at first.
        wait_until(lambda: outcomes(outside) == ANSWERED[0], "both families")
        yield outside


def outcomes(outside: Net) -> list[str]:
    """What becomes of a connection by IPv4, and by IPv6."""
    return [outside.http(url, timeout=2).outcome.value for url in URLS]


def cured(host: Host, outside: Net, ident: str) -> tuple[list[str], list[str]]:
    """Outcomes and states after the commands of doctor's findings of this name have
    been run, which say what status says."""
    doctor = in_checkout(host)
    reasons = {reason for state, reason in rows(host) if state == "blocked"}
    with doctor.until_gone(ident) as found:
        assert {f"{one['text']}; {one['cure']['text']}" for one in found} == reasons
        for one in found:
            doctor.carry_out(one)
    return outcomes(outside), [state for state, _ in rows(host)]


ANSWERED = ["answered", "answered"], ["active", "active"]
LOST = ["timed out", "timed out"]


@pytest.fixture
def clean(host: Host, outside: Net) -> Iterator[None]:
    """Nothing is in the way before, and nothing is left after."""
    assert (outcomes(outside), [state for state, _ in rows(host)]) == ANSWERED
    yield
    for tool in ("iptables", "ip6tables"):
        for variant in ("nft", "legacy"):
            host.run([f"{tool}-{variant}", "-P", "FORWARD", "ACCEPT"])
            host.run([f"{tool}-{variant}", "-F"])
            host.run([f"{tool}-{variant}", "-X"])
        host.call(["nft", "delete", "table", "inet", "site"])


@cures("forward-policy-drops")
def test_docker(host: Host, outside: Net, clean: None) -> None:
    """An accept in DOCKER-USER, which Docker leaves alone, cures its FORWARD."""
    install_rules(host, "iptables")
    install_rules(host, "ip6tables")
    lost, found = outcomes(outside), rows(host)
    lines = vfwhooks(host, "status").stdout.splitlines()
    line = next(line for line in lines if "8080/tcp" in line)

    after = cured(host, outside, "forward-policy-drops")

    reasons = [
        f"Docker drops forwarded packets (chain FORWARD of {tool}); "
        f"run: {tool} -I DOCKER-USER {DNATED}"
        for tool in ("iptables", "ip6tables")
    ]
    assert (lost, found) == (LOST, [("blocked", reason) for reason in reasons])
    row = f"web1 * 8080/tcp 192.168.122.10 80 blocked {reasons[0]}"
    assert " ".join(word for word in line.split() if not word.isdigit()) == (
        row.replace(" 80 ", " ")
    )
    assert after == ANSWERED


def test_cured_by_the_bridge(host: Host, outside: Net, clean: None) -> None:
    """What people put into DOCKER-USER for libvirt is known as well."""
    install_rules(host, "iptables")
    install_rules(host, "ip6tables")
    back = "DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    for tool in ("iptables", "ip6tables"):
        for rule in (back, "DOCKER-USER -o virbr0 -j ACCEPT"):
            host.run([tool, "-I", *rule.split(" ")])

    found = outcomes(outside), [state for state, _ in rows(host)]

    assert found == ANSWERED


@cures("forward-policy-drops")
def test_docker_by_the_old_variant(host: Host, outside: Net, clean: None) -> None:
    """Rules of iptables-legacy are found as well, and IPv6 is told apart."""
    install_rules(host, "iptables-legacy")
    lost, found = outcomes(outside), rows(host)

    after = cured(host, outside, "forward-policy-drops")

    what = "Docker drops forwarded packets (chain FORWARD of iptables-legacy)"
    cure = f"iptables-legacy -I DOCKER-USER {DNATED}"
    assert (lost, found) == (
        ["timed out", "answered"],
        [("blocked", f"{what}; run: {cure}"), ("active", "")],
    )
    assert after == ANSWERED


@cures("forward-policy-drops")
def test_a_policy_alone(host: Host, outside: Net, clean: None) -> None:
    """FORWARD that an administrator has set to DROP."""
    host.run(["iptables", "-P", "FORWARD", "DROP"])
    lost, found = outcomes(outside), rows(host)

    after = cured(host, outside, "forward-policy-drops")

    what = "a policy drops forwarded packets (chain FORWARD of iptables)"
    reason = f"{what}; run: iptables -I FORWARD {DNATED}"
    assert (lost, found) == (
        ["timed out", "answered"],
        [("blocked", reason), ("active", "")],
    )
    assert after == ANSWERED


@cures("chain-drops")
def test_a_table_of_ones_own(host: Host, outside: Net, clean: None) -> None:
    """A chain of nftables' own that drops what it does not accept, both families."""
    head = "type filter hook forward priority 10; policy drop;"
    rules = 'ct state established,related accept\niifname "lo" accept'
    text = f"table inet site {{\nchain routed {{\n{head}\n{rules}\n}}\n}}\n"
    host.run(["nft", "-f", "-"], input=text)
    lost, found = outcomes(outside), rows(host)

    after = cured(host, outside, "chain-drops")

    where = "inet site routed"
    what = f"chain {where} drops what it does not accept"
    reason = f"{what}; run: nft insert rule {where} ct status dnat accept"
    assert (lost, found) == (LOST, [("blocked", reason)] * 2)
    assert after == ANSWERED


def test_a_dormant_table(host: Host, outside: Net, clean: None) -> None:
    """The kernel does not call its chains, and nobody has to do anything."""
    chain = "chain c { type filter hook forward priority 0; policy drop; }"

    host.run(["nft", f"table inet site {{ flags dormant; {chain}; }}"])

    assert (outcomes(outside), [state for state, _ in rows(host)]) == ANSWERED


@pytest.mark.parametrize(
    "rule",
    [
        'oifname { "virbr0", "virbr1" } accept',
        'oifname "virbr0" jump lan',
        "ct status dnat tcp dport 80 accept",
    ],
)
def test_a_table_that_lets_it_through(
    host: Host, outside: Net, clean: None, rule: str
) -> None:
    """Rules to the effect of the cure, in other words: nothing is in the way."""
    head = "type filter hook forward priority 10; policy drop;"
    rules = f"ct state established,related accept\n{rule}"
    lan = "chain lan {\naccept\n}"
    text = f"table inet site {{\n{lan}\nchain routed {{\n{head}\n{rules}\n}}\n}}\n"
    host.run(["nft", "-f", "-"], input=text)

    found = outcomes(outside), [state for state, _ in rows(host)]

    assert (found, drops(host)) == (ANSWERED, set())


def drops(host: Host) -> set[str]:
    """The findings of doctor about chains that drop, with their levels."""
    found = in_checkout(host).findings()
    return {
        f"{one['level']} {name}"
        for name, some in found.items()
        for one in some
        if name.endswith("-drops")
    }


def test_ufw_that_lets_it_through(host: Host, outside: Net, clean: None) -> None:
    """By a rule for the guest's own address: the other family is still shut."""
    allow = "allow to 192.168.122.10 port 80 proto tcp"
    host.run(["ufw", "--force", "enable"])
    host.run(["ufw", "route", *allow.split()])

    found = outcomes(outside), [state for state, _ in rows(host)], drops(host)
    host.run(["ufw", "route", "delete", *allow.split()])
    host.run(["ufw", "--force", "disable"])

    assert found == (
        ["answered", "timed out"],
        ["active", "blocked"],
        {"wrong ufw-drops"},
    )


def test_dockers_own_bridge(host: Host, outside: Net, clean: None) -> None:
    """Docker lets its containers through, and nobody from outside: that is blocked. A
    rule of one's own for the interface outside is none the less seen."""
    host.run(["ip", "link", "add", "docker0", "type", "bridge"])
    host.run(["ip", "addr", "add", "172.17.0.1/16", "dev", "docker0"])
    back = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    found = []
    for tool in ("iptables", "ip6tables"):
        install_rules(host, tool)
    found.append((outcomes(outside), [state for state, _ in rows(host)]))
    for tool in ("iptables", "ip6tables"):
        for rule in (back, "-i outside -o virbr0 -j ACCEPT"):
            host.run([tool, "-I", "DOCKER-USER", *rule.split(" ")])
    found.append((outcomes(outside), [state for state, _ in rows(host)]))
    host.run(["ip", "link", "del", "docker0"])

    assert found == [(LOST, ["blocked"] * 2), ANSWERED]


@cures("ufw-drops")
def test_ufw(host: Host, outside: Net, clean: None) -> None:
    """ufw itself, as it is when it has been switched on."""
    host.run(["ufw", "--force", "enable"])
    lost, found = outcomes(outside), rows(host)

    after = cured(host, outside, "ufw-drops")
    host.run(["ufw", "--force", "disable"])

    cure = "ufw route allow out on virbr0"
    reasons = [
        f"ufw drops forwarded packets (chain FORWARD of {tool}); run: {cure}"
        for tool in ("iptables", "ip6tables")
    ]
    assert (lost, found) == (LOST, [("blocked", reason) for reason in reasons])
    assert after == ANSWERED


@cures("forwarding-off")
def test_forwarding_switched_off(host: Host, outside: Net, clean: None) -> None:
    """A host that does not forward at all."""
    host.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    lost, found = outcomes(outside), rows(host)

    after = cured(host, outside, "forwarding-off")

    reason = "IPv4 forwarding is off; run: sysctl -w net.ipv4.ip_forward=1"
    assert (lost[0], found) == ("timed out", [("blocked", reason), ("active", "")])
    assert after == ANSWERED


@cures("firewalld-strict")
def test_firewalld(host: Host, outside: Net, clean: None) -> None:
    """firewalld lets through what is forwarded, unless its StrictForwardPorts says no,
    which has to be in force."""
    start_firewalld(host)
    plain = outcomes(outside), [state for state, _ in rows(host)]
    strict = "s/^StrictForwardPorts=.*/StrictForwardPorts=yes/"
    host.run(["sed", "-i", strict, CONF])
    host.run(["firewall-cmd", "--reload"])
    lost, found = outcomes(outside), rows(host)

    after = cured(host, outside, "firewalld-strict")

    what = "firewalld rejects forwarded packets (StrictForwardPorts=yes)"
    change = f"sed -i s/^StrictForwardPorts=.*/StrictForwardPorts=no/ {CONF}"
    reason = f"{what}; run: {change} && firewall-cmd --reload"
    assert plain == ANSWERED
    assert (lost[0], "answered" in lost) == ("unreachable", False)
    assert (found, after) == ([("blocked", reason)] * 2, ANSWERED)


def test_docker_beside_rules_in_the_same_chain() -> None:
    """Where our accept stands in the chain that drops, nothing is in the way: no false
    alarm."""
    with Host.debian13("iptables") as host:
        prepare(host)
        with outside_and_guest(host) as outside:
            install_rules(host, "iptables")
            install_rules(host, "ip6tables")

            found = outcomes(outside), [state for state, _ in rows(host)]

    assert found == ANSWERED
