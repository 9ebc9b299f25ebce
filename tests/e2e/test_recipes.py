"""docs/recipes.md: each recipe's blocks as they stand, on a host with real libvirt, by
real packets. Who comes from an older script is in test_recipes_move.py, fail2ban in
test_bans.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from ipaddress import ip_interface

import pytest
from lab.box import wait_until
from lab.firewalld import CONF, start_firewalld
from lab.host import Host
from lab.machine import Machine, Nic
from lab.net import Net, add_outside
from lab.network import default_network, mac_for
from lab.service import serving
from product import configure, put_in, start_watch

from e2e.recipes import HOST, RECIPES, Site

TRIED = {
    "fail2ban": "test_bans.py",
    "From the wiki's script": "test_recipes_move.py",
    "From saschpe's hooks.json": "test_recipes_move.py",
}
# In the order in which the recipes have them: name, MAC, network, address or a lease.
HELD = [
    ("web6", mac_for(13), "six", "fd00:6::10/64"),
    ("debian12", "52:54:00:6b:3c:58", "default", ""),
    ("fedora41-2026-8-21", mac_for(14), "default", "192.168.122.14/24"),
    ("shop_web", "52:54:00:8e:91:7c", "vagrant-libvirt", ""),
    ("k8s-master", "52:54:00:1d:0a:05", "k8snet", "10.17.3.10/24"),
]
# Networks as Vagrant's provider and Terraform's make them.
VAGRANT = """<network ipv6='yes'>
  <name>vagrant-libvirt</name>
  <bridge name='virbr1' stp='on' delay='0'/>
  <forward mode='nat'/>
  <ip address='192.168.121.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.121.1' end='192.168.121.254'/></dhcp>
  </ip>
</network>
"""
TERRAFORM = """<network>
  <name>k8snet</name>
  <forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>
  <domain name='k8s.local' localOnly='yes'/>
  <ip address='10.17.3.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='10.17.3.2' end='10.17.3.254'/>
      <host mac='52:54:00:1d:0a:05' name='k8s-master' ip='10.17.3.10'/>
    </dhcp>
  </ip>
</network>
"""
# What udhcpc calls with its lease.
LEASED = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
"""
ONE, OTHER = "web1 80 203.0.113.2", "web1 443 203.0.113.2"
Test = Callable[..., None]


def tries(title: str) -> Callable[[Test], Test]:
    """The test of a recipe."""

    def note(test: Test) -> Test:
        TRIED[title] = test.__name__
        return test

    return note


def test_every_recipe_is_tried() -> None:
    """A new recipe needs a test, says where it was tried, and is short."""
    silent = [one.title for one in RECIPES.values() if "\nTried " not in one.text]
    long = [one.title for one in RECIPES.values() if one.lines > 25]

    assert (sorted(TRIED), silent, long) == (sorted(RECIPES), [], [])


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """libvirt 11.3 with nftables, the service, and three guests."""
    with Host.debian13("nftables") as host:
        put_in(host)
        host.start_libvirtd()
        host.start_network(default_network())
        site = Site(host, host.outside(name="eth0"))
        start_watch(host)
        site.start("web1", mac_for(10))
        site.start("mail", mac_for(11), tcp=[25, 587, 993])
        site.start("pbx", mac_for(12), udp=[5060, 10000, 15000, 20000])
        for guest in site.guests.values():
            guest.wait_until_up()
        yield site


@pytest.fixture(scope="module")
def held(site: Site) -> Iterator[dict[str, Net]]:
    """Domains that libvirt runs and whose processors stand still, which costs nothing;
    who answers where their cards are, on port 22, 80, 443 and 6443."""
    for xml in (VAGRANT, TERRAFORM, RECIPES["IPv6 only"].block("xml")):
        start_network(site.host, xml)
    site.host.write("/run/leased", LEASED, 0o755)
    xmls = [
        Machine(name, nics=(Nic(mac, network=network),)).xml()
        for name, mac, network, _ in HELD
    ]
    create(site.host, xmls)
    with ExitStack() as stack:
        nets = {}
        for name, mac, _, address in HELD:
            dump = site.host.virsh("dumpxml", name)
            bridge = re.findall(r"bridge='(.*?)'", dump)[0]
            own = address or f"fe80::{mac[-2:]}/64"
            net = site.host.standin(name[:15], own, mac=mac, bridge=bridge)
            if address:
                gateway = next(ip_interface(address).network.hosts())
                net.ip(f"route add default via {gateway}")
            for port in (22, 80, 443, 6443):
                stack.enter_context(net.serve_tcp(port))
            nets[name] = net
        with ThreadPoolExecutor() as pool:
            by_lease = [name for name, *_, address in HELD if not address]
            list(pool.map(ask_for_lease, [nets[name] for name in by_lease]))
        yield nets


def ask_for_lease(net: Net) -> None:
    """Ask DHCP for an address, and take it."""
    net.run(["sh", "-c", "busybox udhcpc -fqi eth0 -s /run/leased -t 20 -T 1 -n"])


def start_network(host: Host, xml: str) -> None:
    """Define a network and start it, without the seconds that STP wants."""
    name = re.findall("<name>(.*?)</name>", xml)[0]
    host.virsh("net-define", "/dev/stdin", input=xml)
    host.virsh("net-start", name)
    bridge = re.findall("<bridge name='(.*?)'", host.virsh("net-dumpxml", name))[0]
    host.net.ip(f"link set {bridge} type bridge stp_state 0")


def create(host: Host, xmls: Sequence[str]) -> None:
    """Start domains whose processors do not run."""

    def start(xml: str) -> None:
        host.virsh("create", "/dev/stdin", "--paused", input=xml)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, xmls))


@tries("Web and mail on one address")
def test_web_and_mail(site: Site) -> None:
    """Each port leads to its guest; a mail server of the host's keeps its port until it
    ends."""
    recipe = RECIPES["Web and mail on one address"]
    with serving(site.host, "exim4", 25):
        site.follow(recipe)
        taken = [(words, why) for words, why in site.rows() if words[-1] != "active"]
    wait_until(lambda: site.asks(25)[0].startswith("mail"), "port 25 is free")

    seen = site.asks(80, 443, 25, 587, 993)
    shown = site.enter("vfwhooks status").splitlines()

    assert [words for words, _ in recipe.rows if not any_has(shown, words)] == []
    ports = {"web1": (80, 443), "mail": (25, 587, 993)}
    assert seen == [f"{name} {p} 203.0.113.2" for name in ports for p in ports[name]]
    assert site.rows() == recipe.rows
    assert [(w[2], w[-1], "exim4" in why) for w, why in taken] == [
        ("25/tcp", "conflict", True)
    ]


def any_has(lines: Sequence[str], words: Sequence[str]) -> bool:
    """Whether a line has these words in this order, whatever is between them."""
    pattern = r".*\s".join(map(re.escape, words))
    return any(re.search(pattern, line) for line in lines)


@tries("A public address for each guest")
def test_public_addresses(site: Site) -> None:
    """In and out by it; what is not listed is rejected. No address: pending."""
    recipe = RECIPES["A public address for each guest"]
    site.host.run(["ip", "route", "replace", "default", "via", site.outside.address])
    site.follow(recipe)
    before = site.states()
    site.enter(recipe.commands)
    site.follow(recipe)

    seen = [
        site.asks(80, 443, address="203.0.113.7"),
        site.asks(25, 80, address="203.0.113.8"),
    ]
    with site.outside.serve_tcp(2525):
        url = f"http://{site.outside.address}:2525/"
        left = [site.guests[name].http(url) for name in ("web1", "mail")]

    assert (before, site.rows()) == ({"pending"}, recipe.rows)
    assert seen == [[ONE, OTHER], ["mail 25 203.0.113.2", "refused"]]
    assert left == ["eth0 2525 203.0.113.7", "eth0 2525 203.0.113.8"]


@tries("ssh to ten guests")
def test_ten_guests(site: Site) -> None:
    """Each port leads to its guest; libvirt runs the ten, held."""
    recipe = RECIPES["ssh to ten guests"]
    site.follow(recipe)
    off = site.states(), site.asks(2203)
    names = {number: f"vm{number - 20}" for number in range(21, 31)}
    create(
        site.host,
        [Machine(m, nics=(Nic(mac_for(n)),)).xml() for n, m in names.items()],
    )
    with ExitStack() as stack:
        for number, name in names.items():
            own = f"192.168.122.{number}/24"
            net = site.host.standin(name, own, mac=mac_for(number))
            net.ip("route add default via 192.168.122.1")
            stack.enter_context(net.serve_tcp(22))
        seen = site.asks(*range(2201, 2211))
        rows = site.rows()
    script = "".join(f"destroy {name}\n" for name in names.values())
    site.host.run(["virsh", "-q"], input=script)

    assert off == ({"stopped"}, ["refused"])
    assert seen == [f"{name} 22 203.0.113.2" for name in names.values()]
    assert [row for row in rows if row in recipe.rows] == recipe.rows
    assert {words[-1] for words, _ in rows} == {"active"}


@tries("An RTP range")
def test_rtp(site: Site) -> None:
    """Both ends of the range and its middle, from the caller's own address."""
    recipe = RECIPES["An RTP range"]
    site.follow(recipe)

    ports = 5060, 10000, 15000, 20000
    seen = [site.outside.udp(HOST, port).body for port in ports]

    assert seen == [f"pbx {port} 203.0.113.2 ?" for port in ports]
    assert site.rows() == recipe.rows


@tries("Only from the office")
def test_office(site: Site) -> None:
    """The office reaches both, everybody the site; elsewhere and on the host ssh is
    refused."""
    recipe = RECIPES["Only from the office"]
    office = site.host.outside("198.51.100.20/24", name="office")
    site.follow(recipe)

    seen = [
        site.asks(443, 2222, of=office),
        site.asks(443, 2222),
        site.asks(2222, of=site.host.net),
    ]
    rows = site.rows()
    site.host.unplug(office)

    there = ["web1 443 198.51.100.20", "web1 22 198.51.100.20"]
    assert seen == [there, [OTHER, "refused"], ["refused"]]
    assert rows == recipe.rows


@tries("IPv6 only")
def test_ipv6(site: Site, held: dict[str, Net]) -> None:
    """By IPv6, and not by IPv4."""
    recipe = RECIPES["IPv6 only"]
    site.follow(recipe)

    seen = site.asks(443, address="2001:db8::1"), site.asks(443)

    assert seen == (["web6 443 2001:db8::2"], ["refused"])
    assert site.rows() == recipe.rows


@tries("With virt-manager")
def test_virt_manager(site: Site, held: dict[str, Net]) -> None:
    """A guest with a lease, which becomes its reservation."""
    recipe = RECIPES["With virt-manager"]
    site.follow(recipe)

    said = site.enter(recipe.commands)
    seen = site.asks(2222, 8080)

    network = site.host.virsh("net-dumpxml", "default")
    assert "52:54:00:6b:3c:58" in network, said
    assert seen == [f"debian12 {port} 203.0.113.2" for port in (22, 80)]
    assert site.rows() == recipe.rows


@tries("With Cockpit")
def test_cockpit(site: Site, held: dict[str, Net]) -> None:
    """A name that begins with letters and goes on with a date."""
    recipe = RECIPES["With Cockpit"]
    site.follow(recipe)

    seen = site.asks(2223)

    assert seen == ["fedora41-2026-8 22 203.0.113.2"]
    assert site.rows() == recipe.rows


@tries("With Vagrant")
def test_vagrant(site: Site, held: dict[str, Net]) -> None:
    """The machine by the network of the provider's; who comes anew with another MAC,
    UUID and address is found by his name."""
    recipe = RECIPES["With Vagrant"]
    site.follow(recipe)
    seen, rows = site.asks(8080), site.rows()
    mac = "52:54:00:8e:91:7d"

    site.host.virsh("destroy", "shop_web")
    create(
        site.host,
        [Machine("shop_web", nics=(Nic(mac, network="vagrant-libvirt"),)).xml()],
    )
    anew = site.host.standin("anew", "fe80::7d/64", mac=mac, bridge="virbr1")
    with anew.serve_tcp(80):
        ask_for_lease(anew)
        wait_until(lambda: site.asks(8080)[0].startswith("anew"), "the new one")

    assert seen == ["shop_web 80 203.0.113.2"]
    assert rows == recipe.rows


@tries("With Terraform")
def test_terraform(site: Site, held: dict[str, Net]) -> None:
    """An address that the provider reserves, on a bridge that libvirt has named."""
    recipe = RECIPES["With Terraform"]
    site.follow(recipe)

    seen = site.asks(6443)

    assert seen == ["k8s-master 6443 203.0.113.2"]
    assert site.rows() == recipe.rows


@tries("Behind WireGuard")
def test_wireguard(site: Site) -> None:
    """Who comes by the tunnel sees the guest, and the guest sees him; without
    return_path the row is blocked."""
    recipe = RECIPES["Behind WireGuard"]
    server = site.host.outside("198.51.100.2/24", name="server")
    client = add_outside(server, site.host.box, "client", ["192.0.2.50/24"])
    with tunnel(site.host, server, recipe.block("ini")):
        server.run(["sh", "-c", re.findall(r"`(iptables .*?)`", recipe.text)[0]])
        site.follow(recipe)
        seen = site.asks(443, address="198.51.100.2", of=client), site.rows()
        without = recipe.forwards.replace("return_path: true", "return_path: false")
        configure(site.host, without)
        site.enter("vfwhooks apply >/dev/null")
        [(words, why)] = site.rows()

    assert seen == (["web1 443 192.0.2.50"], recipe.rows)
    assert (words[-1], "write return_path: true" in why) == ("blocked", True)


@contextmanager
def tunnel(host: Host, server: Net, conf: str) -> Iterator[None]:
    """The host's end by its wg0.conf, and the server's."""
    keys = "for k in a b; do wg genkey | tee /run/$k | wg pubkey >/run/$k.pub; done"
    host.run(["sh", "-c", f"umask 077; {keys}"])
    own, theirs = host.read("/run/a").strip(), host.read("/run/b.pub").strip()
    conf = conf.replace("(this host's)", own).replace("(the server's)", theirs)
    host.write("/etc/wireguard/wg0.conf", conf, 0o600)
    up = """
        sysctl -qw net.ipv4.ip_forward=1
        wireguard-go vpn0 >/run/vpn.log 2>&1 </dev/null
        wg set vpn0 private-key /run/b listen-port 51820 \
            peer "$(cat /run/a.pub)" allowed-ips 10.99.0.2/32
        ip addr add 10.99.0.1/24 dev vpn0
        ip link set vpn0 up
    """
    server.run(["sh", "-ec", up])
    # It leaves a process behind, which would hold the pipe.
    host.run(["sh", "-c", "wg-quick up wg0 >/run/wg.log 2>&1 </dev/null"])
    try:
        yield
    finally:
        host.run(["wg-quick", "down", "wg0"])
        server.ip("link delete vpn0")


@tries("Beside Docker")
def test_docker(site: Site) -> None:
    """Docker that came first drops; the rule of the recipe cures it, and a restart of
    Docker keeps it."""
    recipe = RECIPES["Beside Docker"]
    with ExitStack() as stack:
        site.host.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
        stack.callback(sweep, site.host)
        with dockerd(site.host):
            site.follow(recipe)
            before = site.asks(8080, timeout=1), site.rows()
            site.enter(recipe.commands)
            after = site.asks(8080), site.states()
        with dockerd(site.host):
            anew = site.asks(8080), site.states()

    assert before == (["timed out"], recipe.rows)
    assert (after, anew) == (([ONE], {"active"}), ([ONE], {"active"}))


@contextmanager
def dockerd(host: Host) -> Iterator[None]:
    """Docker itself; no container can run here."""
    options = "--data-root /run/dk/data --exec-root /run/dk/exec -s vfs"
    cgroup = "mountpoint -q /sys/fs/cgroup || mount -t cgroup2 -o ro g /sys/fs/cgroup"
    host.run(["sh", "-c", cgroup])
    command = f"setsid dockerd {options} >/run/dk.log 2>&1 & echo $!"
    pid = host.run(["sh", "-c", command]).strip()
    try:
        ping = "curl -sf --unix-socket /run/docker.sock http://docker/_ping"
        wait_until(
            lambda: host.call(["sh", "-c", ping]).status == 0,
            lambda: host.read("/run/dk.log"),
        )
        yield
    finally:
        host.run(["kill", pid])
        gone = host.path(f"/proc/{pid}/fd/0")
        wait_until(lambda: not gone.exists(), "Docker has ended")


def sweep(host: Host) -> None:
    """Take out whatever a firewall has left in iptables."""
    for tool in ("iptables", "ip6tables"):
        for words in ("-P FORWARD ACCEPT", "-F", "-X", "-t nat -F", "-t nat -X"):
            host.run([tool, *words.split()])


@tries("Beside ufw")
def test_ufw(site: Site) -> None:
    """ufw drops, whatever it allows the host; its route rule cures it, over a reload
    too, and does not let in who routes straight at the guest."""
    recipe = RECIPES["Beside ufw"]
    site.enter("ufw --force enable")
    site.enter("ufw allow 8080/tcp")
    site.follow(recipe)
    before = site.asks(8080, timeout=1), site.rows()

    site.enter(recipe.commands)
    after = site.asks(8080), site.states()
    site.outside.route("192.168.122.0/24")
    straight = site.asks(80, address="192.168.122.10")
    site.enter("ufw reload")
    reloaded = site.asks(8080)
    site.enter("ufw --force disable")
    sweep(site.host)

    assert before == (["timed out"], recipe.rows)
    assert (after, reloaded) == (([ONE], {"active"}), [ONE])
    assert straight == ["refused"]


@tries("Beside firewalld")
def test_firewalld(site: Site) -> None:
    """Nothing is to be done, over a reload too; the strict way has its cure."""
    recipe = RECIPES["Beside firewalld"]
    start_firewalld(site.host)
    site.follow(recipe)
    seen, rows = site.asks(8080), site.rows()
    site.enter("firewall-cmd --reload")
    reloaded = site.asks(8080)

    site.enter(f"sed -i s/^StrictForwardPorts=.*/StrictForwardPorts=yes/ {CONF}")
    site.enter("firewall-cmd --reload")
    strict = site.asks(8080, timeout=1) == [ONE], site.states()
    site.enter(site.rows()[0][1].partition("; run: ")[2])
    cured = site.asks(8080)

    assert (seen, rows, reloaded) == ([ONE], recipe.rows, [ONE])
    assert (strict, cured) == ((False, {"blocked"}), [ONE])
