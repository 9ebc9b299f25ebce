"""The laboratory itself: what the other end-to-end tests take for granted."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.machine import Nic, delayed, static
from lab.migrate import join, migrate
from lab.net import Net
from lab.network import default_network, mac_for, second_network
from lab.probe import Outcome, Reply

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")

HOSTS: dict[str, Callable[[], Host]] = {
    "libvirt 9.0": Host.debian12,
    "libvirt 11.3 nftables": lambda: Host.debian13("nftables"),
    "libvirt 11.3 iptables": lambda: Host.debian13("iptables"),
}

RECORDING_HOOK = """\
#!/bin/sh
echo "${0##*/} $*" >>/run/lab/calls
cat >>/run/lab/stdin
exit 0
"""


def look_at_machine() -> str:
    """What of the machine itself a careless lab would change."""
    commands = (
        ["nft", "-s", "list", "ruleset"],
        ["ip", "-brief", "link"],
        ["ip", "rule"],
        ["findmnt", "--raw", "--noheadings", "--output", "TARGET,FSTYPE"],
        ["sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"],
        ["hostname"],
    )
    return "\n".join(
        subprocess.run(each, capture_output=True, text=True, check=False).stdout
        for each in commands
    )


def find_processes(pid_namespace: str) -> list[str]:
    """The processes in a process id namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "ns/pid").readlink()) == pid_namespace:
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


@dataclass
class Scene:
    """A host with a guest and somebody outside."""

    flavour: str
    host: Host
    guest: Guest
    outside: Net


@pytest.fixture(
    scope="module",
    params=HOSTS if "VFWHOOKS_ALL_KINDS" in os.environ else [*HOSTS][:2],
)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A scene for each libvirt, used by several tests as its guest boots slowly."""
    with HOSTS[request.param]() as host:
        host.install_hooks({"qemu": RECORDING_HOOK, "network": RECORDING_HOOK})
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        outside = host.outside()
        guest = host.define_guest("web1").start(wait=True)
        yield Scene(request.param, host, guest, outside)


def test_host_runs_the_libvirt_asked_for(scene: Scene) -> None:
    """A host has the libvirt and the backend that its name promises."""
    words = scene.flavour.split()

    version = scene.host.virsh("version")
    tables = scene.host.run(["nft", "list", "tables"])

    assert (f"libvirt {words[1]}." in version, "libvirt_network" in tables) == (
        True,
        words[-1] == "nftables",
    )


def test_guest_gets_its_reservation(scene: Scene) -> None:
    """A guest asks by DHCP and gets the address reserved for its MAC."""
    addresses = scene.guest.addresses()

    assert addresses == ["192.168.122.10"]


def test_guest_answers_the_host(scene: Scene) -> None:
    """A guest's HTTP server names the guest, its port and its client."""
    reply = scene.host.net.http(f"http://{scene.guest.address}:8080/")

    assert reply == Reply(Outcome.ANSWERED, "web1 8080 192.168.122.1", 200)


def test_guest_echoes_udp(scene: Scene) -> None:
    """A guest's UDP echo names them too, and gives the payload back."""
    reply = scene.host.net.udp(scene.guest.address, 5353, "hello")

    assert reply == Reply(Outcome.ANSWERED, "web1 5353 192.168.122.1 hello")


def test_guest_answers_over_ipv6(scene: Scene) -> None:
    """A guest takes an IPv6 address from the bridge's advertisements."""
    addresses = wait_until(lambda: scene.guest.addresses(6), "the guest has IPv6")

    reply = scene.host.net.http(f"http://[{addresses[0]}]/")

    assert reply == Reply(Outcome.ANSWERED, "web1 80 fd00:122::1", 200)


def test_connection_to_a_guest_stays_open(scene: Scene) -> None:
    """A connection can be used again, to see what becomes of it meanwhile."""
    with scene.host.net.connect(scene.guest.address, 25) as connection:
        scene.host.net.ask(connection, "one")

        reply = scene.host.net.ask(connection, "two")

    assert reply == Reply(Outcome.ANSWERED, "web1 25 192.168.122.1 two")


def test_outside_is_refused_at_the_guest(scene: Scene) -> None:
    """libvirt rejects whoever routes straight at a guest behind NAT."""
    reply = scene.outside.http(f"http://{scene.guest.address}/")

    assert reply.outcome is Outcome.REFUSED


def test_guest_reaches_outside_behind_nat(scene: Scene) -> None:
    """A guest's own connections leave with the host's address."""
    with scene.outside.serve_tcp(8000):
        body = scene.guest.http("http://203.0.113.2:8000/")

    assert body == "outside 8000 203.0.113.1"


def test_libvirt_calls_the_hooks(scene: Scene) -> None:
    """libvirtd runs the hooks that were put in, with the XML on their stdin."""
    calls = [
        line
        for line in scene.host.read("/run/lab/calls").splitlines()
        if line.startswith("qemu") or "started" in line
    ]
    stdin = scene.host.read("/run/lab/stdin")

    assert (calls[:4], "<name>web1</name>" in stdin) == (
        [
            "network default started begin -",
            "qemu web1 prepare begin -",
            "qemu web1 start begin -",
            "qemu web1 started begin -",
        ],
        True,
    )


def test_guests_survive_a_daemon_restart(scene: Scene) -> None:
    """libvirtd restarts and reloads without ending guests, and calls the hooks."""
    scene.host.restart_libvirtd()
    wait_until(
        lambda: "qemu web1 reconnect" in scene.host.read("/run/lab/calls"),
        "libvirtd takes web1 up again",
    )

    scene.host.sighup()

    assert scene.host.net.http(f"http://{scene.guest.address}/").answered


def test_daemon_has_its_guests_when_it_has_started(scene: Scene) -> None:
    """libvirtd answers while it still waits for a guest's monitor; `start` returns
    when it has reconnected, so that the guest can be destroyed without an error."""
    seen = "/run/lab/control"
    scene.host.stop_libvirtd()
    qemu = scene.host.read("/run/libvirt/qemu/web1.pid").strip()
    scene.host.run(["sh", "-c", SLOW_MONITOR.format(qemu=qemu, seen=seen)])

    scene.host.start_libvirtd()
    control = scene.host.virsh("domcontrol", "web1").strip()

    assert (scene.host.read(seen)[:8], control) == ("occupied", "ok")


# A guest that is too busy to answer libvirtd, until somebody has seen libvirtd wait.
SLOW_MONITOR = """
kill -STOP {qemu}
(until virsh -q domcontrol web1 | grep occupied; do :; done >{seen} 2>/dev/null
sleep 0.5
kill -CONT {qemu}) &
"""


def test_syslog_is_read(scene: Scene) -> None:
    """What is logged on the host can be read by a test, and is not logged outside."""
    scene.host.run(["logger", "--tag", "vfwhooks", "a message"])

    lines = scene.host.syslog("vfwhooks")

    assert lines[0].endswith("vfwhooks: a message")


def test_checkout_is_read_only(scene: Scene) -> None:
    """The checkout can be used in there and not changed."""
    target = f"{Host.CHECKOUT}/tests/lab/README.md"

    status = scene.host.call(["sh", "-c", f"echo >>{target}"]).status

    assert (status != 0, "# The lab" in scene.host.read(target)) == (True, True)


def test_kinds_of_guests_and_networks() -> None:
    """Static, late, odd-named and two-legged guests; routed networks let in."""
    with Host.debian13() as host:
        host.start_libvirtd()
        host.start_network()
        host.start_network(second_network("isolated", 41))
        host.start_network(second_network("routed", 42, mode="route"))
        outside = host.outside()
        outside.route("192.168.42.0/24")
        odd = host.define_guest(
            'we"b & <1>', options=static("192.168.122.77/24", "192.168.122.1")
        )
        late = host.define_guest("late", options=delayed(3))
        routed = host.define_guest("routed", network="routed", mac=mac_for(60))
        for guest in (odd, late, routed):
            guest.start()
        odd.wait_for()
        odd.attach(Nic(mac_for(61), network="isolated"))
        for guest in (late, routed):
            guest.wait_for()

        found = [
            host.net.http("http://192.168.122.77/").body,
            wait_until(lambda: odd.addresses()[1:], "the second card has a lease"),
            late.address,
            outside.http("http://192.168.42.60/").body,
        ]

    assert found == [
        'we"b & <1> 80 192.168.122.1',
        ["192.168.41.61"],
        "192.168.122.11",
        "routed 80 203.0.113.2",
    ]


def test_standin_takes_a_guests_place() -> None:
    """Where no guest is needed, a namespace on the bridge answers in no time."""
    with Host.debian12(legacy=True) as host:
        host.start_libvirtd()
        host.start_network()
        standin = host.standin("fake", "192.168.122.10/24")

        with standin.serve_udp(53):
            reply = host.net.udp("192.168.122.10", 53, "query")

        legacy = host.run(["cat", "/proc/net/ip_tables_names"]).split()

    assert (reply.body, "filter" in legacy) == ("fake 53 192.168.122.1 query", True)


def test_standin_has_the_addresses_that_it_was_given() -> None:
    """The advertisements of libvirt's dnsmasq give it no other one."""
    with Host.debian13() as host:
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        standin = host.standin("fake", "192.168.122.10/24", "fd00:122::10/64")

        wait_until(lambda: is_advertised(standin), "an advertisement")
        shown = standin.run(["ip", "-o", "-6", "addr", "show", "scope", "global"])

    assert re.findall(r"inet6 (\S+)", shown) == ["fd00:122::10/64"]


def is_advertised(net: Net) -> bool:
    """Whether a router there, when it is asked, says which network this is."""
    index = int(net.run(["ip", "-o", "link", "show", "eth0"]).partition(":")[0])
    prefix = socket.inet_pton(socket.AF_INET6, "fd00:122::")
    icmp = socket.IPPROTO_ICMPV6
    with net.open_socket(socket.AF_INET6, socket.SOCK_RAW, icmp) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.settimeout(1)
        try:
            sock.sendto(b"\x85" + bytes(7), ("ff02::2", 0, 0, index))
            while not ((data := sock.recv(2048))[0] == 134 and prefix in data):
                pass
        except OSError:  # its own address by that card, or the bridge's, is not ready
            return False
    return True


def test_guest_moves_to_another_host() -> None:
    """Live migration works, and the guest goes on where it was."""
    with Host.debian13(name="hosta") as source, Host.debian13(name="hostb") as target:
        join(source, target)
        for host in (source, target):
            host.start_libvirtd(listen=True)
            host.start_network()
        guest = source.define_guest("web1").start(wait=True)
        guest.run("echo here >/tmp/mark")

        moved = migrate(guest, source, target)
        moved.wait_for()

        assert (moved.run("cat /tmp/mark"), source.virsh("list").strip()) == (
            "here\n",
            "",
        )


def test_nothing_is_left_behind() -> None:
    """A host ends with its process, even a killed one, and leaves no trace."""
    before = look_at_machine()
    program = """
import os, sys, time
from lab.host import Host
host = Host.debian13()
host.start_libvirtd()
host.start_network()
outside = host.outside()
host.define_guest("web1").start()
print(os.readlink(f"/proc/{host.box.pid}/ns/pid"), flush=True)
time.sleep(600)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert child.stdout is not None
    namespace = child.stdout.readline().strip()
    running = " ".join(find_processes(namespace))
    during = look_at_machine()

    child.send_signal(signal.SIGKILL)
    child.communicate()
    wait_until(lambda: not find_processes(namespace), "the host's processes end")

    assert ("qemu" in running, "dnsmasq" in running, during, look_at_machine()) == (
        True,
        True,
        before,
        before,
    )
