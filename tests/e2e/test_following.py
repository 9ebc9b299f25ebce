"""No hook is laid anywhere: the service follows libvirt's own files.

Latencies are printed, from the moment at which virsh returned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import HOOKS, Host
from lab.machine import Nic
from lab.migrate import join, migrate
from lab.net import Net
from lab.network import default_network, mac_for, second_network
from product import (
    configure,
    hook_files,
    published,
    published_ports,
    put_in,
    rested,
    start_watch,
    status,
    stop_watch,
    vfwhooks,
)

from .conftest import KINDS, ONE_KIND, TWO_KINDS

WEB = mac_for(32)
URL = "http://203.0.113.1:8080/"
SERVED = "web1 80 203.0.113.2"
Measured = Callable[[str, float], None]
# Again and again, for the service may be writing there.
_REMOVE = "until rm -r /run/vfwhooks; do :; done"
_IS_IDLE = """
[ -z "$(ls /run/vfwhooks/spool)" ] && flock -n /run/vfwhooks/lock true &&
    [ -z "$(cat /proc/$(cat /run/watch.pid)/task/*/children)" ]
"""

_WRONG = "lost|Error|refused|cannot"


@pytest.fixture(scope="module", params=ONE_KIND)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """libvirtd with its default network, our service, and not one hook."""
    with KINDS[request.param]() as host:
        prepare(host, "guests: {}\n")
        yield host
        stop_watch(host)


def prepare(host: Host, forwards: str) -> None:
    """Start the service, first, as it may be at boot; then libvirtd with its files."""
    host.run(["mkdir", "-p", "/var/lib/vfwhooks"])
    configure(host, forwards)
    start_watch(host)
    host.start_libvirtd()
    host.start_network(default_network())


@pytest.fixture
def web1(host: Host) -> Iterator[Guest]:
    """A guest whose port 80 is published at 8080; it does not run yet."""
    configure(host, "guests:\n  web1: [8080:80, 5353:5353/udp]\n")
    guest = host.define_guest("web1", mac=WEB)
    yield guest
    host.call(["virsh", "destroy", "web1"])
    host.call(["virsh", "undefine", "web1"])
    wait_until(lambda: not published(host), "no rule is left")


def settled(host: Host, measured: Measured, what: str, is_there: bool) -> None:
    """Wait until something is published, or nothing, and print how long it took."""
    begun = time.monotonic()
    wait_for_rules(host, is_there)
    measured(f"ms to {what}", (time.monotonic() - begun) * 1000)


def answer(outside: Net) -> str:
    """The body of the answer, or what came instead of one."""
    reply = outside.http(URL)
    return reply.body if reply.answered else reply.outcome.value


def test_reachable_from_start_to_stop(
    host: Host, outside: Net, web1: Guest, measured: Measured
) -> None:
    """Refused before the start, served once the guest serves, refused after it."""
    seen = [answer(outside)]

    web1.start()
    settled(host, measured, "forward to a guest that has started", True)
    web1.wait_for()
    web1.wait_until_up()  # it serves UDP after TCP
    seen += [answer(outside), outside.udp("203.0.113.1", 5353).body]
    web1.destroy()
    settled(host, measured, "take out what a destroyed guest had", False)
    seen += [answer(outside)]

    assert seen == [
        "refused",
        "web1 80 203.0.113.2",
        "web1 5353 203.0.113.2 ?",
        "refused",
    ]


def test_interface_plugged_in_and_out(
    host: Host, outside: Net, web1: Guest, measured: Measured
) -> None:
    """A guest that had none on the network is reached as soon as it has one."""
    host.start_network(second_network("other", 130))
    web1.undefine()
    configure(host, "guests:\n  web1: {ports: [8080:80], network: default}\n")
    guest = host.define_guest("web1", nics=[Nic(mac_for(33), network="other")])
    guest.start(wait=True)
    nic = Nic(WEB)
    seen = [answer(outside)]

    guest.attach(nic)
    settled(host, measured, "forward to an interface that was plugged in", True)
    wait_until(lambda: answer(outside) == "web1 80 203.0.113.2", "the guest answers")
    seen.append(answer(outside))
    detach = ["detach-interface", "web1", "network", "--mac", WEB, "--live"]
    host.virsh(*detach)
    settled(host, measured, "take out what an unplugged interface had", False)
    seen.append(answer(outside))
    guest.destroy()
    host.virsh("net-destroy", "other")

    assert seen == ["refused", "web1 80 203.0.113.2", "refused"]


def test_network_that_restarts(host: Host, web1: Guest, measured: Measured) -> None:
    """Its guests' forwards go with it and come with it, DNS and DHCP left alone."""
    web1.start()
    settled(host, measured, "forward", True)

    host.virsh("net-destroy", "default")
    settled(host, measured, "take out what is behind a destroyed network", False)
    reason = status(host)["forwards"][0]["reason"]
    host.virsh("net-start", "default")
    settled(host, measured, "forward behind a network that has started", True)

    assert reason == "network default is not active"


def test_daemon_that_restarts(host: Host, outside: Net, web1: Guest) -> None:
    """Guests that start, stop and go on while libvirtd is away or comes back: what is
    forwarded is right again, and nothing was said of it that is not so."""
    web1.start(wait=True)
    wait_for_rules(host, True)
    host.restart_libvirtd()
    wait_until(lambda: answer(outside) == SERVED, lambda: answer(outside))
    seen = [answer(outside)]

    host.stop_libvirtd()
    seen.append(answer(outside))
    host.run(["sh", "-c", "kill -9 $(cat /run/libvirt/qemu/web1.pid)"])
    try:
        wait_until(lambda: not published(host), "a dead guest is not forwarded to")
    finally:
        host.start_libvirtd()
    seen.append(answer(outside))
    web1.start(wait=True)
    wait_until(lambda: published(host), "the guest is forwarded to")
    seen.append(answer(outside))

    assert seen == [SERVED, SERVED, "refused", SERVED]


def test_directories_that_are_taken_away(host: Host, web1: Guest) -> None:
    """Ours is made anew, by what libvirt's files say; where libvirt's has gone, the
    guest goes on being forwarded to, by an edited file as well."""
    record = "/run/vfwhooks/guests/qemu/web1"
    web1.start()
    wait_for_rules(host, True)
    files = {8082: "guests: {web1: [8082:80]}\n", 8081: "guests: {web1: [8081:80]}\n"}

    host.run(["sh", "-c", _REMOVE])
    wait_until(lambda: host.path(record).exists(), "the guest is recorded again")
    host.run(["mv", "/run/libvirt/qemu", "/run/libvirt/away"])
    for port, text in files.items():
        configure(host, text)
        wait_for_port(host, port)
    host.run(["mv", "/run/libvirt/away", "/run/libvirt/qemu"])
    wait_until(lambda: status(host)["forwards"][0]["state"] == "active", "all is well")

    assert host.path(record).exists()


@pytest.mark.parametrize("host", ONE_KIND, indirect=True)
def test_nobody_notices_that_our_directory_is_taken_away(
    host: Host, outside: Net, web1: Guest
) -> None:
    """What was recorded is gone; connections go on, and new ones are answered."""
    record = host.path("/run/vfwhooks/guests/qemu/web1")
    web1.start(wait=True)
    wait_for_rules(host, True)
    seen: set[str] = set()

    with outside.connect("203.0.113.1", 8080) as connection:
        for _ in range(5):
            host.run(["sh", "-c", _REMOVE])
            until = time.monotonic() + 1.5
            while time.monotonic() < until or not record.exists():
                seen.add(answer(outside))
        seen.add(outside.ask(connection, "still").body)

    assert seen == {"web1 80 203.0.113.2", "web1 80 203.0.113.2 still"}


def wait_for_port(host: Host, port: int) -> None:
    """Until it is published, and no other."""
    wait_until(lambda: published_ports(host) == {port}, "it is edited")


@pytest.mark.parametrize("host", ONE_KIND, indirect=True)
def test_many_at_once(host: Host, measured: Measured) -> None:
    """Twenty guests that start together, and stop together."""
    names = [f"many{n}" for n in range(20)]
    lines = [f"  {name}: [{9000 + n}:80]\n" for n, name in enumerate(names)]
    configure(host, "guests:\n" + "".join(lines))
    for n, name in enumerate(names):
        host.define_guest(name, mac=mac_for(40 + n))
    start = f"for g in {' '.join(names)}; do virsh -q start --paused $g & done; wait"
    seen = len(host.syslog(_WRONG))

    host.run(["sh", "-c", start], timeout=200)
    begun = time.monotonic()
    wait_until(lambda: len(published(host)) == 20, "all are forwarded to")
    measured("ms to forward to the last of 20", (time.monotonic() - begun) * 1000)
    host.run(["sh", "-c", start.replace("start --paused", "destroy")], timeout=200)
    settled(host, measured, "take out the last of 20", False)
    for name in names:
        host.virsh("undefine", name)

    assert host.syslog(_WRONG)[seen:] == []


@pytest.mark.parametrize("kind", ONE_KIND)
def test_nothing_happens_while_nothing_happens(kind: str) -> None:
    """Not one wake-up in five seconds, with a guest that is there and says nothing,
    and none while libvirtd is away, and no line in the log: what comes is heard."""
    with KINDS[kind]() as host:  # on which nobody has spoken: neighbours are news
        prepare(host, "guests:\n  web1: [8080:80]\n")
        host.define_guest("web1", mac=WEB)
        host.virsh("start", "web1", "--paused")
        wait_for_rules(host, True)
        seen = []

        for is_away in (False, True):
            if is_away:
                host.stop_libvirtd()
            rested(host)  # from what that has set off
            before = switches(host), len(host.syslog())
            time.sleep(5)
            seen.append((switches(host) - before[0], len(host.syslog()) - before[1]))
        stop_watch(host)

    assert seen == [(0, 0), (0, 0)]


def switches(host: Host) -> int:
    """How often the service has been woken up so far."""
    pid = host.read("/run/watch.pid").strip()
    words = host.read(f"/proc/{pid}/status").split()
    return int(words[words.index("voluntary_ctxt_switches:") + 1])


def test_a_daemon_that_is_asked_by_nobody_else(host: Host, web1: Guest) -> None:
    """A connection would keep a modular daemon from ending when it is idle: the
    service has none."""
    web1.start(wait=True)
    wait_until(lambda: published(host), "the guest is forwarded to")

    pid = host.read("/run/watch.pid").strip()
    sockets = host.run(["ls", "-l", f"/proc/{pid}/fd"])

    wait_until(lambda: not clients(host), "nobody is connected any more")
    assert "libvirt" not in sockets


def clients(host: Host) -> list[str]:
    """Whoever is connected to libvirtd, but for who asks."""
    listed = host.run(["virt-admin", "-q", "client-list", "libvirtd"]).splitlines()
    return [line for line in listed if line.strip()]


def test_a_guest_that_moves() -> None:
    """Live, from host to host: the one forwards to it once it runs there, and not while
    it waits for its memory; the other does not any more."""
    with Host.debian13(name="hosta") as source, Host.debian13(name="hostb") as target:
        for host in (source, target):
            host.run(["mkdir", "-p", "/var/lib/vfwhooks"])
            configure(host, "guests:\n  web1: [8080:80]\n")
            start_watch(host)
            host.start_libvirtd(listen=host is target)
            host.start_network(default_network())
        join(source, target)
        web1 = source.define_guest("web1", mac=WEB)
        web1.start(wait=True)
        wait_for_rules(source, True)
        before = published(target)

        migrate(web1, source, target)
        wait_for_rules(target, True)
        wait_for_rules(source, False)
        outside = target.outside()
        wait_until(lambda: outside.http(URL).answered, "it has found its new gateway")
        seen = outside.http(URL)
        for host in (source, target):
            stop_watch(host)

    assert (before, seen.body) == (set(), "web1 80 203.0.113.2")


@pytest.mark.parametrize("kind", TWO_KINDS)
def test_hooks_and_files_together(kind: str, measured: Measured) -> None:
    """Whichever comes first does the work, and the other finds nothing to do: a start
    and a stop are as many transactions as with one of them alone."""
    late = {"qemu": hook_files()["qemu"].replace("\n", "\nsleep 0.3\n", 1)}

    with KINDS[kind]() as host:
        put_in(host, "guests:\n  web1: [8080:80]\n")
        host.start_libvirtd()
        host.start_network(default_network())
        host.define_guest("web1", mac=WEB)
        vfwhooks(host, "apply").check()
        count_transactions(host)  # the first start makes the base ruleset
        counted = {"hooks alone": count_transactions(host)}
        start_watch(host)
        counted["both"] = count_transactions(host)
        host.install_hooks(late)
        counted["both, the hook last"] = count_transactions(host)
        host.run(["sh", "-c", f"rm {HOOKS}/*"])
        before = generation(host)
        host.sighup()
        wait_until(lambda: generation(host) != before, "libvirtd makes its rules anew")
        counted["files alone"] = count_transactions(host)
        stop_watch(host)

    for how, (start, stop) in counted.items():
        measured(f"transactions of a start, {how}", start)
        measured(f"transactions of a stop, {how}", stop)
    assert set(counted.values()) == {counted["hooks alone"]}


def count_transactions(host: Host) -> tuple[int, int]:
    """How many a guest's start and stop are, with all that comes after them."""
    counts = []
    for command, is_there in (("start --paused", True), ("destroy", False)):
        wait_for_rest(host)
        before = generation(host)
        host.virsh(*command.split(), "web1")
        wait_for_rules(host, is_there)
        wait_for_rest(host)
        counts.append(generation(host) - before)
    return counts[0], counts[1]


def wait_for_rest(host: Host) -> None:
    """Until no event waits, and nobody changes a rule for a second."""

    def is_at_rest() -> bool:
        before = generation(host)
        time.sleep(1)
        is_idle = host.call(["sh", "-c", _IS_IDLE]).status == 0
        return is_idle and generation(host) == before

    wait_until(is_at_rest, "all is at rest")


def wait_for_rules(host: Host, is_there: bool) -> None:
    """Until something is published, or nothing."""
    wait_until(lambda: bool(published(host)) == is_there, "the rules settle")


def generation(host: Host) -> int:
    """How many transactions nf_tables of the host has seen, whoever made them."""
    return int(host.run(["/usr/bin/python3", "-c", _GENERATION]))


_GENERATION = """
import socket, struct
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
link.send(struct.pack("=IHHIIBBH", 20, 10 << 8 | 16, 1, 1, 0, 0, 0, 0))
print(struct.unpack_from(">I", link.recv(4096), 24)[0])
"""
