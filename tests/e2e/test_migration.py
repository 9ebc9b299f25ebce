"""Live migration between two real libvirt daemons: which host forwards when, and what
both hosts hold straight after, whatever became of the migration.

Order and end are asserted. Times are printed, beside libvirt's own pause of the guest.
"""

from __future__ import annotations

import socket
import statistics
import struct
from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.migrate import PORT, Client, Pair, pause_of
from lab.network import default_network, mac_for
from product import (
    configure,
    published,
    put_in,
    start_watch,
    states,
    status,
    stop_watch,
)

FORWARDS = "guests:\n  web1: [8080:80]\n"
WEB = mac_for(32)
SERVES = "web1 80 {}"
AWAY = "the guest is being migrated and does not run here"
NOT_RUNNING = "the guest is not running"
Measured = Callable[[str, float], None]
# What a host is found to be: the state of its forward, with the reason; whether the
# kernel holds it; and what a client hears there.
Found = tuple[str, str, bool, str]
ACTIVE: Found = "active", "", True, "served"
STOPPED: Found = "stopped", NOT_RUNNING, False, "refused"
PENDING: Found = "pending", AWAY, False, "refused"
LIVE = "--live"
SLOW = LIVE, "--bandwidth", "1"  # MiB/s, of some 80 MiB


def make(backend: str, forwards: str = FORWARDS, *, is_served: bool = True) -> Pair:
    """Two hosts of one kind with our hooks, and our service unless it is left out."""
    hosts = [Host.debian13(backend, name=name) for name in ("hosta", "hostb")]
    for host in hosts:
        put_in(host, forwards)
        if is_served:
            start_watch(host)
        host.start_libvirtd(listen=True)
        host.start_network(default_network())
    return Pair(*hosts)


def end(pair: Pair) -> None:
    """Take both hosts down."""
    for host in pair.hosts:
        stop_watch(host)  # if it runs
        host.close()


LONG = pytest.mark.long
BACKENDS = ["nftables", pytest.param("iptables", marks=LONG)]


@pytest.fixture(scope="module", params=BACKENDS)
def hosts(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two hosts, and a guest that runs on the first."""
    pair = make(request.param)
    try:
        pair.guest = pair.source.define_guest("web1", mac=WEB).start(wait=True)
        yield pair
    finally:
        end(pair)


@pytest.fixture
def pair(hosts: Pair) -> Pair:
    """The two hosts, whose guest serves on the one that it was left on."""
    settled(hosts, ACTIVE, STOPPED)
    return hosts


def look(pair: Pair, host: Host) -> Found:
    """What a host says, what its kernel holds, and what the client hears of it."""
    rows = status(host)["forwards"]  # none until an edit is in force
    row = rows[0] if rows else {"state": "", "reason": ""}
    reply = pair.client.http(f"http://{pair.addresses[host.name]}:{PORT}/", 0.9)
    heard = "served" if reply.body.startswith("web1 80 ") else reply.outcome.value
    return row["state"], row["reason"], bool(published(host)), heard


def settled(pair: Pair, source: Found, target: Found) -> None:
    """Both hosts come to be this."""
    seen: list[tuple[Found, Found]] = []

    def is_so() -> bool:
        seen.append((look(pair, pair.source), look(pair, pair.target)))
        return seen[-1] == (source, target)

    wait_until(is_so, lambda: f"{(source, target)}; last: {seen[-1]}")


def connect(pair: Pair) -> socket.socket:
    """A connection to the guest by way of the host that it runs on."""
    return pair.client.connect(pair.addresses[pair.source.name], PORT)


def asked(pair: Pair, connection: socket.socket) -> str:
    """What the guest answers on it."""
    return pair.client.ask(connection, "still").body.rpartition(" ")[2]


MOVES = [
    pytest.param([LIVE], id="live"),
    pytest.param([LIVE, "--p2p"], id="p2p", marks=LONG),
    pytest.param([LIVE, "--p2p", "--tunnelled"], id="tunnelled", marks=LONG),
    pytest.param(
        [LIVE, "--postcopy", "--postcopy-after-precopy"], id="post-copy", marks=LONG
    ),
]


@pytest.mark.parametrize("options", MOVES)
def test_one_host_after_the_other(
    pair: Pair, measured: Measured, options: list[str]
) -> None:
    """The source serves, then the target does; never again the source, which refuses.
    A client is never kept waiting long."""
    source, target = pair.source, pair.target

    with Client(pair) as client:
        client.wait_for(source)
        said = pair.migrate(*options)
        client.wait_for(target)

    tell(measured, client, pause_of(said))
    settled(pair, ACTIVE, STOPPED)
    assert (client.order(), client.last(source), client.last(target)) == (
        [source.name, target.name],
        "refused",
        "served",
    )


def tell(measured: Measured, client: Client, pause: float) -> None:
    """Print what a client has seen of a migration."""
    measured("ms in which neither host served", client.gap() * 1000)
    measured("ms of libvirt's own pause", pause * 1000)
    measured("times libvirt's own pause", client.gap() / max(pause, 0.001))
    measured("rounds in which neither host served", client.rounds_failed())
    measured("connections neither served nor refused", client.silent())


@pytest.mark.long
def test_ten_times_there_and_back(pair: Pair, measured: Measured) -> None:
    """Each host serves in its turn."""
    assert there_and_back(pair, measured, 10) == []


PERMITTED = "metadata: {guests: [web1], ports: [8080]}\nguests: {}\n"
METADATA = ["metadata", "web1", "urn:vfwhooks:forwards:1", "--live", "--config"]
IN_METADATA = """<forwards><portForward proto='tcp'><range start='8080' to='80'/>
</portForward></forwards>"""


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=LONG)])
def test_forwards_that_go_with_the_guest(
    pair: Pair, measured: Measured, rounds: int
) -> None:
    """They are in its metadata alone: there and back, each host serves in its turn."""
    for host in pair.hosts:
        configure(host, PERMITTED)
    pair.source.virsh(*METADATA, "--key", "vfwhooks", "--set", IN_METADATA)
    wait_until(lambda: sources(pair) == [["metadata"], []], "they are the metadata's")

    wrong = there_and_back(pair, measured, rounds)
    left = sources(pair)
    pair.source.virsh(*METADATA, "--remove")
    for host in pair.hosts:
        configure(host, FORWARDS)

    settled(pair, ACTIVE, STOPPED)
    assert (wrong, left) == ([], [["metadata"], []])


def sources(pair: Pair) -> list[list[str]]:
    """Where the active forwards of each host are written."""
    rows = [status(host)["forwards"] for host in pair.hosts]
    return [[r["source"] for r in some if r["state"] == "active"] for some in rows]


def there_and_back(pair: Pair, measured: Measured, rounds: int) -> list[list[str]]:
    """Migrate the guest to the target and back, so often, and print the figures; the
    orders of hosts that served, where they were others."""
    home, away = pair.source, pair.target
    gaps, over, ratios, failed, silent, wrong = [], [], [], 0, 0, []
    for _ in range(rounds):
        for source, target in ((home, away), (away, home)):
            with Client(pair) as client:
                client.wait_for(source)
                pause = pause_of(pair.migrate(LIVE))
                client.wait_for(target)
            gaps.append(client.gap())
            over.append(client.gap() - pause)
            ratios.append(client.gap() / max(pause, 0.001))
            failed += client.rounds_failed()
            silent += client.silent()
            if client.order() != [source.name, target.name]:
                wrong.append(client.order())
    measured("migrations", len(gaps))
    for what, some in (("ms in which neither served", gaps), ("ms over pause", over)):
        measured(f"{what}, longest", max(some) * 1000)
        measured(f"{what}, median", statistics.median(some) * 1000)
    measured("times libvirt's pause, most", max(ratios))
    measured("times libvirt's pause, median", statistics.median(ratios))
    measured("rounds in which neither host served", failed)
    measured("connections neither served nor refused", silent)
    return wrong


def test_a_guest_that_is_paused_all_the_while(pair: Pair) -> None:
    """It is not live: the source refuses at once what would not be answered, and serves
    again when the migration is cancelled. Connections that were open go on."""
    with connect(pair) as connection:
        migration = pair.begin("--bandwidth", "1")
        migration.wait_until_under_way()
        settled(pair, PENDING, PENDING)
        pair.source.virsh("domjobabort", "web1")
        migration.wait()
        settled(pair, ACTIVE, STOPPED)

        assert asked(pair, connection) == "still"


def test_memory_that_comes_later(pair: Pair) -> None:
    """In post-copy the guest runs on the target, which has not all of its memory yet:
    that one serves, and the source refuses."""
    migration = pair.begin(*SLOW, "--postcopy", "--postcopy-bandwidth", "1")
    migration.wait_until_under_way()
    pair.source.virsh("migrate-postcopy", "web1")
    settled(pair, PENDING, ACTIVE)
    pair.source.virsh("migrate-setspeed", "web1", "1000", "--postcopy")
    migration.wait_for_success()

    settled(pair, ACTIVE, STOPPED)


def cancel(pair: Pair) -> None:
    """By hand."""
    pair.source.virsh("domjobabort", "web1")


def kill_qemu_of_target(pair: Pair) -> None:
    """The guest's process there dies."""
    pair.target.run(["sh", "-c", "kill -9 $(cat /run/libvirt/qemu/web1.pid)"])


def kill_libvirtd_of_target(pair: Pair) -> None:
    """libvirtd there dies, and is started again when the source has noticed."""
    pair.target.libvirtd.signal("KILL")
    pair.source.virsh("migrate-setspeed", "web1", "1000")


def kill_libvirtd_of_source(pair: Pair) -> None:
    """libvirtd of the source dies."""
    pair.source.libvirtd.signal("KILL")


@pytest.mark.parametrize(
    "fault",
    [
        cancel,
        kill_qemu_of_target,
        pytest.param(kill_libvirtd_of_target, marks=LONG),
        kill_libvirtd_of_source,
    ],
)
def test_a_migration_that_fails(pair: Pair, fault: Callable[[Pair], None]) -> None:
    """The source goes on serving, connections that were open as well; nothing of it is
    left on the target."""
    with connect(pair) as connection:
        migration = pair.begin(*SLOW)
        migration.wait_until_under_way()
        fault(pair)
        done = migration.wait()
        for host in pair.hosts:
            if not host.libvirtd.pid():
                host.start_libvirtd(listen=True)
        settled(pair, ACTIVE, STOPPED)

        assert (done.status != 0, asked(pair, connection)) == (True, "still")


def test_the_guest_learns_where_its_gateway_is(pair: Pair) -> None:
    """It knows the MAC of the former host's bridge, and nobody connects to it: the
    host tells it, and does not wait for its next packet."""
    assert pair.guest
    pair.guest.run("ip neigh")  # its agent is there
    pair.migrate(LIVE)
    guest, bridge = pair.guest, "/sys/class/net/virbr0/address"
    mac = pair.source.run(["cat", bridge]).strip()

    wait_until(lambda: mac in guest.run("cat /proc/net/arp"), f"it knows {mac}")
    known = guest.run("cat /proc/net/arp")

    assert (mac in known, pair.target.run(["cat", bridge]).strip() in known) == (
        True,
        False,
    )


@pytest.mark.long
def test_a_guest_that_does_not_run_moves(pair: Pair) -> None:
    """Offline: no hook hears of it. Nothing is forwarded on either host, until it is
    started there."""
    assert pair.guest
    pair.guest.destroy()
    seen = [look(pair, host) for host in pair.hosts]
    pair.migrate("--offline")
    seen += [look(pair, host) for host in pair.hosts]
    pair.guest.start()

    settled(pair, ACTIVE, STOPPED)
    assert seen == [STOPPED] * 4


# The state in which a guest is left by the one command, and what the other makes of it.
PAUSED = "web1 is paused (user); run: virsh resume web1"
SUSPENDED: Found = "active", PAUSED, True, "timed out"
SAVE = "save web1 /var/tmp/web1", STOPPED, "restore /var/tmp/web1"
MANAGED_SAVE = "managedsave web1", STOPPED, "start web1"
SUSPEND = "suspend web1", SUSPENDED, "resume web1"


@pytest.mark.parametrize(
    ("first", "found", "second"),
    [
        pytest.param(*SAVE, id="saved"),
        pytest.param(*MANAGED_SAVE, id="saved by libvirt", marks=LONG),
        pytest.param(*SUSPEND, id="suspended"),
    ],
)
def test_a_guest_that_stays(pair: Pair, first: str, found: Found, second: str) -> None:
    """What is forwarded while it is away in another manner, and once it is back. A
    guest that somebody has suspended keeps its ports."""
    pair.source.virsh(*first.split())
    settled(pair, found, STOPPED)
    pair.source.virsh(*second.split())

    settled(pair, ACTIVE, STOPPED)


@pytest.mark.long
def test_a_guest_that_is_reset(pair: Pair) -> None:
    """It boots again, and is forwarded to all the while."""
    pair.source.virsh("reset", "web1")
    seen = look(pair, pair.source)

    settled(pair, ACTIVE, STOPPED)
    assert seen[:3] == ACTIVE[:3]


@pytest.mark.long
def test_a_snapshot_that_is_gone_back_to(pair: Pair) -> None:
    """libvirt ends the guest's process for it and starts another: the forward is there
    again, and the guest serves. Another guest, whose disk holds the snapshot."""
    host = pair.source
    configure(host, "guests:\n  web1: [8080:80]\n  web2: [8082:80]\n")
    host.path("/var/tmp/web2.qcow2").write_bytes(empty_qcow2())
    guest = host.define_guest("web2", mac=mac_for(33))
    host.virsh("attach-device", "web2", "/dev/stdin", "--config", input=DISK)
    guest.start(wait=True)

    host.virsh("snapshot-create-as", "web2", "first")
    guest.run("echo after >/tmp/mark")
    host.virsh("snapshot-revert", "web2", "first")
    wait_until(lambda: states(host)["web2 8082/tcp"] == "active", "it is forwarded to")
    url = f"http://{pair.addresses[host.name]}:8082/"
    wait_until(lambda: pair.client.http(url, 0.9).answered, "it serves")
    after = guest.moved_to(host.box, host.net).call("cat /tmp/mark").status
    guest.destroy()
    host.virsh("undefine", "web2", "--snapshots-metadata")
    configure(host, FORWARDS)

    settled(pair, ACTIVE, STOPPED)
    assert after != 0


DISK = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='/var/tmp/web2.qcow2'/><target dev='vda' bus='virtio'/></disk>"""


def empty_qcow2() -> bytes:
    """An image of 1 MiB, as qemu-img makes it: head, references, their table, its map;
    QEMU's own program for it is not in the lab."""
    cluster = 1 << 16
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1 << 20, 0, 1,
        3 * cluster, cluster, 1, 0, 0)  # fmt: skip
    head += struct.pack(">QQQII", 0, 0, 0, 4, 104)
    parts = head, struct.pack(">Q", 2 * cluster), struct.pack(">4H", 1, 1, 1, 1), b""
    return b"".join(part.ljust(cluster, b"\0") for part in parts)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_hooks_alone(backend: str, measured: Measured) -> None:
    """Without a service the target forwards before the guest runs there, since no hook
    is called later: connections wait for it. The source refuses once it has left."""
    pair = make(backend, is_served=False)
    try:
        source, target = pair.hosts
        pair.guest = source.define_guest("web1", mac=WEB).start(wait=True)

        with Client(pair) as client:
            client.wait_for(source)
            said = pair.migrate(LIVE)
            client.wait_for(target)
        tell(measured, client, pause_of(said))
        settled(pair, ACTIVE, STOPPED)
    finally:
        end(pair)

    assert (client.last(source), client.last(target)) == ("refused", "served")
