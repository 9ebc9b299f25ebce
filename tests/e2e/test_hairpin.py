"""`hairpin: true`: a guest reaches itself by its own published port while br_netfilter
is on, and nothing of it stays behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.machine import Nic
from lab.net import Net
from lab.network import mac_for
from product import (
    at_rest,
    configure,
    published,
    ruleset,
    start_watch,
    status,
    stop_watch,
    vfwhooks,
)

from e2e.standins import Standin

URLS = "http://203.0.113.1:8080/", "http://[2001:db8::1]:8080/"
IPV6 = "fd00:122::5054:ff:fe00:a"
WEB1 = f'ports: [8080:80], address: [192.168.122.10, "{IPV6}"]'
WITHOUT = f"guests:\n  web1: {{{WEB1}}}\n  web2: [8081:80]\n"
WITH = f"guests:\n  web1: {{{WEB1}, hairpin: true}}\n  web2: [8081:80]\n"
TIMED_OUT = "wget: download timed out\n"
SERVED = ["web1 80 192.168.122.1", "web1 80 fd00:122::1"]
REFUSAL = "hairpin mode|denied|permitted"


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Iterator[Guest]:
    """A guest whose packets iptables sees on their way through the bridge, as on every
    host with Docker; beside it another one that is forwarded to."""
    for tool in ("iptables", "ip6tables"):
        host.run(["sysctl", "-qw", f"net.bridge.bridge-nf-call-{tool}=1"])
    configure(host, WITHOUT)
    web1, web2 = (host.define_guest(name).start(wait=True) for name in ("web1", "web2"))
    wait_until(lambda: host.net.http(f"http://[{IPV6}]/").answered, "SLAAC")
    yield web1
    web1.destroy()
    web2.destroy()


def in_force(host: Host, forwards: str) -> list[str]:
    """Put the file in force; what `apply` says of ports of bridges."""
    configure(host, forwards)
    done = vfwhooks(host, "apply")
    assert (done.status, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if "hairpin" in line]


def devices(host: Host, guest: Guest) -> list[str]:
    """The guest's interfaces on the host."""
    lines = host.virsh("domiflist", guest.uuid).splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def modes(host: Host, guest: Guest) -> str:
    """The mode of each of its ports; '' for one that is in no bridge."""
    paths = [
        f"/sys/class/net/{device}/brport/hairpin_mode"
        for device in devices(host, guest)
    ]
    return "".join(host.call(["cat", *paths]).stdout.split())


def set_by_hand(host: Host, guest: Guest, how: str) -> None:
    """What an administrator does without the key."""
    for device in devices(host, guest):
        host.run(["bridge", "link", "set", "dev", device, "hairpin", how])


def asked_itself(guest: Guest, patience: int = 3) -> list[str]:
    """What the guest gets from its own published port, by both families."""
    return [guest.http(url, timeout=patience) for url in URLS]


def is_served(outside: Net) -> list[bool]:
    """Whether somebody outside is, by both families."""
    return [outside.http(url).answered for url in URLS]


def test_without_it_the_guest_times_out(host: Host, outside: Net, web1: Guest) -> None:
    """Whoever else connects is served; doctor says what is the matter."""
    found = asked_itself(web1), is_served(outside), modes(host, web1)

    what = "note   br_netfilter is on: a guest does not reach itself through the host; "
    what += "where it must, write hairpin: true for it in forwards.yaml"
    assert found == ([TIMED_OUT] * 2, [True] * 2, "0")
    assert what in vfwhooks(host, "doctor").stdout.splitlines()


def test_an_edit_while_it_runs(host: Host, outside: Net, web1: Guest) -> None:
    """With the key the guest is answered, and without it is not any more: its port is
    as it was. Nothing of anybody's forwards changes, and connections go on."""
    before = published(host), sorted(ruleset(host).split("\n"))
    connections = [outside.connect("203.0.113.1", port) for port in (8080, 8081)]
    (port,) = devices(host, web1)

    said = [in_force(host, WITH)]
    on = modes(host, web1), asked_itself(web1, 20)
    said.append(in_force(host, WITHOUT))
    off = modes(host, web1), asked_itself(web1)
    after = published(host), sorted(ruleset(host).split("\n"))
    answers = [outside.ask(one).answered for one in connections]

    assert (on, off) == (("1", SERVED), ("0", [TIMED_OUT] * 2))
    assert said == [
        [f"+ web1 {port} → hairpin mode"],
        [f"- web1 {port} → hairpin mode"],
    ]
    assert (after, answers) == (before, [True] * 2)


def test_it_is_set_at_the_start(host: Host, outside: Net, web1: Guest) -> None:
    """By the hook, which is done when the guest's start is."""
    in_force(host, WITH)
    web1.destroy()

    web1.start()
    at_once = modes(host, web1)
    web1.wait_for()
    answer = web1.http(URLS[0], timeout=10)

    assert (at_once, answer, host.syslog(REFUSAL)) == ("1", SERVED[0], [])


def test_doctor_has_nothing_to_say(host: Host, web1: Guest) -> None:
    """Where every guest that is forwarded to has the key, from the defaults too."""
    seen = []
    for forwards in (WITH, f"defaults: {{hairpin: true}}\n{WITHOUT}", WITHOUT):
        in_force(host, forwards)
        seen.append("br_netfilter" in vfwhooks(host, "doctor").stdout)

    assert seen == [True, False, True]


def test_check_names_ipv6(host: Host, web1: Guest) -> None:
    """The network has IPv6: what may come of it, and where the key stands."""
    configure(host, "guests:\n  web1: {ports: [8080:80], hairpin: true}\n")

    said = vfwhooks(host, "check").stderr.splitlines()

    harm = "a port in hairpin mode gets its own broadcasts back, and a guest may take"
    harm += " them for another's that has its IPv6 address, and give it up"
    cure = "Linux since 4.10 does not; for a guest that does, write hairpin: false"
    where = "/etc/vfwhooks/forwards.yaml:2:37: warning: network default has IPv6"
    assert said == [f"{where}: {harm}; {cure}"]


@pytest.mark.parametrize(("enhanced", "flags"), [("1", set()), ("0", {"dadfailed"})])
def test_what_check_warns_of(
    host: Host, web1: Guest, enhanced: str, flags: set[str]
) -> None:
    """A system that knows its own question again (Linux since 4.10) keeps its address;
    one that does not gives it up."""
    guest = Standin(host, "old", 66)
    keys = [f"net.ipv6.conf.{name}" for name in ("all", "eth0")]
    settings = [f"{key}.enhanced_dad={enhanced}" for key in keys]
    guest.net.run(["sysctl", "-qw", *settings, "net.ipv6.conf.eth0.accept_dad=1"])
    address = f"fd00:122::7{enhanced}"

    guest.net.ip(f"addr add {address}/64 dev eth0")

    def decided() -> list[str]:
        lines = guest.net.run(["ip", "-6", "-o", "addr", "show", "dev", "eth0"])
        (line,) = (line for line in lines.splitlines() if f"{address}/" in line)
        words = line.split()
        return words if {"dadfailed"} & {*words} or "tentative" not in words else []

    words = wait_until(decided, "its own decision")
    host.unplug(guest.net)
    assert {"dadfailed"} & {*words} == flags


def test_a_port_that_was_set_by_hand(host: Host, web1: Guest) -> None:
    """It was so before us, and stays so after us: after the key, and after a purge."""
    in_force(host, WITHOUT)
    set_by_hand(host, web1, "on")
    seen = []
    for forwards in (WITH, WITHOUT, WITH):
        in_force(host, forwards)
        seen.append(modes(host, web1))

    vfwhooks(host, "purge")
    seen.append(modes(host, web1))

    set_by_hand(host, web1, "off")
    assert seen == ["1"] * 4


def test_purge_sets_it_back(host: Host, web1: Guest) -> None:
    """With the rules goes what was set."""
    in_force(host, WITH)
    before = modes(host, web1)

    done = vfwhooks(host, "purge")

    assert (before, done.status, done.stderr, modes(host, web1)) == ("1", 0, "", "0")


def test_over_a_restart_of_libvirtd(host: Host, web1: Guest) -> None:
    """What is ours stays ours, and can be given back."""
    in_force(host, WITH)
    host.restart_libvirtd()
    wait_until(lambda: "running" in host.virsh("domstate", "web1"), "reconnect")
    on = modes(host, web1)

    in_force(host, WITHOUT)

    assert (on, modes(host, web1)) == ("1", "0")


def test_a_dry_run(host: Host, web1: Guest) -> None:
    """It says what `apply` would, and leaves the host's ports alone."""
    in_force(host, WITHOUT)
    (port,) = devices(host, web1)
    configure(host, WITH)

    said = vfwhooks(host, "apply", "--dry-run").stdout.splitlines()

    assert (said, modes(host, web1)) == ([f"+ web1 {port} → hairpin mode"], "0")


def test_status_says_that_somebody_set_it_back(host: Host, web1: Guest) -> None:
    """Whoever else connects is served; the cure cures it."""
    in_force(host, WITH)
    set_by_hand(host, web1, "off")
    (port,) = devices(host, web1)

    rows = status(host)["forwards"]
    vfwhooks(host, "apply")
    cured = status(host)["forwards"]

    what = f"{port} is not in hairpin mode: the guest does not reach itself"
    note = f"{what}; run vfwhooks apply"
    found = {(r["guest"], r["state"], r["reason"]) for r in rows}
    assert found == {("web1", "active", note), ("web2", "active", "")}
    assert {(r["state"], r["reason"]) for r in cured} == {("active", "")}
    assert modes(host, web1) == "1"


def test_an_interface_that_is_plugged_in(host: Host, web1: Guest) -> None:
    """Without the service `apply` finds it, by asking libvirtd. It is given back as the
    other one is."""
    in_force(host, WITH)
    web1.attach(Nic(mac_for(90)))
    plugged = modes(host, web1)

    in_force(host, WITH)
    applied = modes(host, web1)
    in_force(host, WITHOUT)
    without = modes(host, web1)
    mac = mac_for(90)
    host.virsh("detach-interface", "web1", "network", "--mac", mac, "--live")
    wait_until(lambda: len(devices(host, web1)) == 1, "it is unplugged")

    assert (plugged, applied, without) == ("10", "11", "00")


def test_an_interface_that_the_watch_finds(host: Host, web1: Guest) -> None:
    """One that is plugged in is in libvirt's status file, with its device."""
    in_force(host, WITH)
    start_watch(host)

    web1.attach(Nic(mac_for(90)))
    wait_until(lambda: modes(host, web1) == "11", "the service")
    mac = mac_for(90)
    host.virsh("detach-interface", "web1", "network", "--mac", mac, "--live")
    wait_until(lambda: len(devices(host, web1)) == 1, "it is unplugged")
    wait_until(lambda: record(host).count("hairpin ") == 1, "it is forgotten")
    stop_watch(host)

    assert modes(host, web1) == "1"


def test_the_watch_sees_to_it(host: Host, outside: Net, web1: Guest) -> None:
    """An edit; somebody who sets it back; a port that is plugged into its bridge again,
    by itself and after its network was away. Without the key it is let go."""
    in_force(host, WITHOUT)
    start_watch(host)
    (port,) = devices(host, web1)

    configure(host, WITH)
    wait_until(lambda: modes(host, web1) == "1", "the edit")
    set_by_hand(host, web1, "off")
    wait_until(lambda: modes(host, web1) == "1", "it is set again")
    host.net.ip(f"link set {port} nomaster", f"link set {port} master virbr0")
    wait_until(lambda: modes(host, web1) == "1", "the port is in its bridge again")
    host.virsh("net-destroy", "default")
    host.virsh("net-start", "default")
    wait_until(lambda: f"hairpin {port} virbr0 0\n" in record(host), "the network")
    unplugged = modes(host, web1)
    host.net.ip(f"link set {port} master virbr0")
    wait_until(lambda: modes(host, web1) == "1", "the port is in the new bridge")
    wait_until(lambda: web1.http(URLS[0], timeout=3) == SERVED[0], "an answer")
    configure(host, WITHOUT)
    wait_until(lambda: modes(host, web1) == "0", "it is set back")
    set_by_hand(host, web1, "on")
    set_by_hand(host, web1, "off")
    stop_watch(host)
    host.restart_libvirtd()
    wait_until(lambda: "running" in host.virsh("domstate", "web1"), "reconnect")

    assert (unplugged, host.syslog(REFUSAL)) == ("", [])


def test_the_watch_looks_when_it_begins_to_listen(host: Host, web1: Guest) -> None:
    """Of what happened to a port before it listens to any, nobody tells it. By IPv4
    alone, so that no neighbour is news meanwhile."""
    forwards = 'guests: {web1: {ports: ["0.0.0.0:8080:80"], hairpin: false}}\n'
    in_force(host, forwards)
    start_watch(host)
    with at_rest(host):
        in_force(host, forwards.replace("false", "true"))
        set_by_hand(host, web1, "off")

    wait_until(lambda: modes(host, web1) == "1", "it is set again")
    stop_watch(host)
    in_force(host, WITHOUT)

    assert modes(host, web1) == "0"


def record(host: Host) -> str:
    """What is written down of web1."""
    return host.read("/run/vfwhooks/guests/qemu/web1")
