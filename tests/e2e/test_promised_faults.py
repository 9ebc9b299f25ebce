"""The table "Which fault does what" of docs/troubleshooting.md, line by line: each
fault is made, and the tool says what the line promises. A line that changes fails here
until its test has been looked at, and so do words of the tool that change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar
from xml.etree.ElementTree import tostring

import pytest
from lab.box import wait_until
from lab.docker import install_rules, remove_rules
from lab.firewalld import CONF, reload_firewalld, start_firewalld
from lab.guest import Guest
from lab.host import HOOKS, Host
from lab.machine import Nic
from lab.net import Net
from lab.network import default_network, mac_for, second_network
from lab.service import serving
from product import (
    CONFIG,
    HERE,
    at_rest,
    call_hook,
    configure,
    edit,
    hook_files,
    published,
    published_ports,
    put_in,
    start_watch,
    status,
    stop_watch,
    vfwhooks,
)

from e2e.standins import Standin
from e2e.test_faults import LIB, drop_half, hide_python, hide_tools
from e2e.test_foreign_dnat import TAKEN
from e2e.test_unanswered import DROP

WEB = "guests:\n  web1: [8080:80]\n"
URL = "http://203.0.113.1:8080/"
START = ["virsh", "-q", "start", "late", "--paused"]
PROMISED: dict[str, str] = {}
Test = TypeVar("Test", bound=Callable[..., None])
Fault = Callable[[Host], None]


def promises(what: str, then: str) -> Callable[[Test], Test]:
    """The line of the table that the test is of, word by word."""
    PROMISED[what] = then
    return lambda test: test


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with the product in a place of its own, where it can be broken."""
    with Host.debian13("nftables") as host:
        put_in(host, WEB)
        copy(host)
        host.install_hooks(hook_files(LIB))
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        yield host


@pytest.fixture(scope="module")
def outside(host: Host) -> Net:
    """Somebody outside."""
    return host.outside()


@pytest.fixture(scope="module")
def web1(host: Host) -> Iterator[Guest]:
    """A running guest."""
    guest = host.define_guest("web1").start(wait=True)
    yield guest
    guest.destroy()


@pytest.fixture
def late(host: Host) -> Iterator[None]:
    """A guest that is to start only later, and is gone at the end."""
    configure(host, "guests:\n  late: [8081:80]\n")
    host.define_guest("late", mac=mac_for(40))
    yield
    host.call(["virsh", "-q", "destroy", "late"])
    host.virsh("undefine", "late")


@pytest.fixture
def watch(host: Host) -> Iterator[None]:
    """The service runs."""
    start_watch(host)
    yield
    stop_watch(host)


def copy(host: Host) -> None:
    """The product as it is, whatever was broken."""
    source = f"{Host.CHECKOUT}/{{vfwhooks,templates}}"
    away = "for f in /usr/bin/*.away; do [ ! -e $f ] || mv $f ${f%.away}; done"
    host.run(
        ["bash", "-c", f"{away}; mkdir -p {LIB}; rm -rf {LIB}/*; cp -r {source} {LIB}/"]
    )


def apply(host: Host, forwards: str) -> list[tuple[str, str, str]]:
    """Put the forwards in force; what status says of each of IPv4."""
    configure(host, forwards)
    vfwhooks(host, "apply")
    return said(host)


def said(host: Host) -> list[tuple[str, str, str]]:
    """Guest, state and reason of every forward of IPv4."""
    rows = status(host)["forwards"]
    return [
        (row["guest"], row["state"], row["reason"])
        for row in rows
        if ":" not in row["address"]
    ]


def problems(host: Host) -> list[str]:
    """What status says of the file."""
    lines = vfwhooks(host, "status").stdout.splitlines()
    return [line[9:] for line in lines if line.startswith("problem ")]


def is_served(outside: Net, patience: float = 5) -> bool:
    """Whether web1 answers within so many seconds."""
    return outside.http(URL, timeout=patience).body == "web1 80 203.0.113.2"


FILES = {
    "broken": (
        "printf 'guests:\\n  web1: [8080:80\\n' >",
        "2:9: the [ here has no end; write ] behind what belongs to it",
    ),
    "gone": (
        "rm -f ",
        "1:1: is gone; the last good one stays in force; put it back, or write it "
        "again: vfwhooks edit; guests: {} says none",
    ),
    "empty": (
        "truncate -s0 ",
        "1:1: the file says nothing; guests: {} says none",
    ),
}


@promises(
    "forwards.yaml is broken, empty or missing",
    "the last good configuration stays in force; `check`, `status` and syslog name "
    "file, line and column; the mended file takes effect by itself",
)
@pytest.mark.parametrize("way", FILES)
def test_the_file(host: Host, outside: Net, web1: Guest, watch: None, way: str) -> None:
    """The forward of the last good file serves on; the place is named by all three; the
    next good file is in force without a command."""
    command, what = FILES[way]
    apply(host, WEB)
    line = f"{CONFIG}:{what}"
    seen = len(host.syslog(re.escape(line)))

    host.run(["sh", "-c", command + CONFIG])
    wait_until(lambda: len(host.syslog(re.escape(line))) > seen, "the log to say so")
    told = vfwhooks(host, "check").stderr, problems(host), is_served(outside)
    configure(host, WEB.replace("8080", "8079"))
    wait_until(lambda: published_ports(host) == {8079}, "the next")

    assert told == (f"{line}\n", [line], True)


@promises(
    "a guest has no address yet",
    "its forwards are `pending`, and `status` says why; they become `active` when "
    "the guest has an address",
)
def test_no_address(host: Host, watch: None) -> None:
    """The host hears of the guest's address long after its start."""
    edit(host, "guests:\n  silent: [8081:80]\n")
    mac = "52:54:00:aa:00:31"
    host.define_guest("silent", mac=mac)
    host.virsh("start", "silent", "--paused")
    found = said(host)

    host.net.ip(f"neigh add 192.168.122.77 lladdr {mac} dev virbr0")
    wait_until(lambda: said(host)[0][1] == "active", "the forward")
    host.virsh("destroy", "silent")
    host.virsh("undefine", "silent")

    why = "no reservation, lease or neighbour for {} on virbr0 (IPv{})"
    reason = "; ".join(why.format(mac, family) for family in "46")
    assert found == [("silent", "pending", reason)]


@promises(
    "a guest has no default route, or its firewall drops what comes",
    "its forwards stay `active`; after the first connections without an answer, "
    "`status` and `doctor` say `3 of 3 unanswered: default route or firewall in the"
    " guest?`",
)
def test_silent_guests(host: Host, outside: Net, web1: Guest) -> None:
    """A real guest without its route, a stand-in with a firewall: nobody has connected,
    three have in vain, one is served again."""
    apply(host, WEB + "  shut: {address: 192.168.122.42, ports: [8081:80]}\n")
    shut = Standin(host, "shut", 42)
    shut.start()
    host.run(["conntrack", "-F"])

    web1.run("ip route del default")
    shut.net.run(["nft", "-f", "-"], input=DROP)
    found = [sorted(said(host))]
    served = [is_served(outside, 1) for _ in range(3)]
    served += [outside.http(URL.replace("80/", "81/"), 0.3).answered for _ in range(3)]
    found.append(sorted(said(host)))
    doctor = vfwhooks(host, "doctor").stdout
    web1.run("ip route add default via 192.168.122.1")
    served.append(is_served(outside))
    found.append(sorted(said(host)))
    shut.stop()

    why = "3 of 3 unanswered: default route or firewall in the guest?"
    assert (served, found) == (
        [False] * 6 + [True],
        [
            [("shut", "active", ""), ("web1", "active", "")],
            [("shut", "active", why), ("web1", "active", why)],
            [("shut", "active", why), ("web1", "active", "")],
        ],
    )
    assert f"web1: 8080/tcp to {web1.address}: {why}; look in the guest" in doctor


@promises(
    "two guests want one port, or one address",
    "for a port, `check` reports the second entry and names the first; if two "
    "running guests have one name or one address, the forwards go to the guest that"
    " was first, and those of the second guest are a `conflict` that names the "
    "first",
)
def test_two_of_them(host: Host, web1: Guest, late: None) -> None:
    """Two entries of the file, two addresses, one of another driver with that name."""
    apply(host, WEB)
    twice = WEB + "  late: [8080:80]\n"
    configure(host, twice)
    checked = vfwhooks(host, "check").stderr
    configure(host, WEB + f"  late: {{address: {web1.address}, ports: [8081:80]}}\n")
    host.run(START)
    address = said(host)
    xml = NAMESAKE.format(mac=mac_for(41))
    configure(host, WEB)
    call_hook(host, "lxc", "web1", "started", "begin", "-", xml=xml)
    name = sorted(said(host))
    call_hook(host, "lxc", "web1", "stopped", "end", "-", xml=xml)

    taken = f"host port tcp/8080 is taken by web1 ({CONFIG}:2:10)"
    assert checked == f"{CONFIG}:3:10: {taken}\n"
    assert address == [
        ("web1", "active", ""),
        ("late", "conflict", f"{web1.address} is the address of web1"),
    ]
    assert name == [
        ("web1", "active", ""),
        ("web1", "conflict", "taken by qemu guest web1"),
    ]


NAMESAKE = """<domain type='lxc'>
  <name>web1</name><uuid>6b33ec13-96d6-4581-bc2f-38dee79d5a41</uuid>
  <devices><interface type='network'><mac address='{mac}'/>
  <source network='default' bridge='virbr0'/></interface></devices>
</domain>
"""


@promises(
    "a service of the host listens on the port, or on one port of a range",
    "the service keeps this port, and the guest gets the rest of the range, unless "
    "the entry says `over_listener: true`; `status` and `check` name the service. A"
    " process that opens a port above 1023 inside a forwarded UDP range gets this "
    "port after at most ten seconds; WireGuard and other tunnels of the kernel keep"
    " their ports from the first moment",
)
def test_services(host: Host, web1: Guest, watch: None) -> None:
    """A port of TCP; a range with a process and a tunnel in it, at once and then; both
    taken on purpose."""
    ports = "['0.0.0.0:22:22', '0.0.0.0:50000-52000:50000-52000/udp']"
    host.net.ip(
        "link add vx type vxlan id 1 dstport 51820 dev virbr0", "link set vx up"
    )
    with (
        serving(host, "sshd", 22) as ssh,
        serving(host, "vpn", 51000, protocol="udp") as udp,
    ):
        with at_rest(host):
            found = [apply(host, f"guests:\n  web1: {ports}\n")]
            left = [missing(host)]
        checked = [line.partition("warning: ")[2] for line in check(host)]
        wait_until(lambda: len(missing(host)) > 1, "the service to see to it")
        left.append(missing(host))
        found.append(said(host))
        over = f"{{ports: {ports}, over_listener: true}}"
        found.append(apply(host, f"guests:\n  web1: {over}\n"))
        left.append(missing(host))
    host.net.ip("link del vx")

    sshd = f"sshd (pid {ssh}) listens on tcp 0.0.0.0:22"
    vpn = f"vpn (pid {udp}) listens on udp 0.0.0.0:51000"
    tunnel = "the kernel (WireGuard, VXLAN or the like) listens on udp 0.0.0.0:51820"
    takes = "over_listener: true takes the port"
    first = "it was first, and gets its port by the service or vfwhooks apply"
    cure = (
        "publish another port of the host, 2222:22 say; or over_listener: true, which"
    )
    conflict = "web1", "conflict", f"{sshd}; {cure} takes it from the service"
    soon = f"all but 51820: {tunnel}; {takes} from it; {vpn}; {first}"
    then = f"all but 51000, 51820: {vpn}, {tunnel}; {takes}s from them"
    assert found == [
        [conflict, ("web1", "active", soon)],
        [conflict, ("web1", "active", then)],
        [("web1", "active", ""), ("web1", "active", "")],
    ]
    assert checked == [
        f"{sshd}; it keeps the port if it is there first, unless over_listener: true",
        f"{vpn}, {tunnel}; they keep the ports if they are there first, unless"
        " over_listener: true",
    ]
    assert left == [[51820], [51000, 51820], []]


def by_hand(host: Host) -> None:
    """Add the rule, and wait until the service has read it: it was first."""
    host.run(["iptables", "-t", "nat", "-A", "PREROUTING", *BY_HAND])
    wait_until(lambda: "8090" in host.read(TAKEN), "the service's look")


def check(host: Host) -> list[str]:
    """What check says."""
    return vfwhooks(host, "check").stderr.splitlines()


def missing(host: Host) -> list[int]:
    """The ports of the range that the kernel does not publish."""
    there = published_ports(host)
    return [port for port in range(50000, 52001) if port not in there]


@promises(
    "a DNAT rule that is not ours takes the port (a container's published port, an "
    "older script, a rule by hand)",
    "if that rule was first, it keeps the port, and the guest gets the rest of a "
    "range, unless the entry says `over_listener: true`; `status`, `check` and "
    "`doctor` name the rule's owner; when the rule goes, the forward becomes "
    "`active` by itself",
)
def test_taken(host: Host, web1: Guest, watch: None) -> None:
    """A rule by hand, on a port and on one of a range; it goes; taken on purpose."""
    ports = "['0.0.0.0:8090:80', '0.0.0.0:8091-8095:8091-8095']"
    apply(host, "guests: {}\n")
    by_hand(host)
    found = [apply(host, f"guests:\n  web1: {ports}\n")]
    shown = check(host), vfwhooks(host, "doctor").stdout.splitlines()
    host.run(["iptables", "-t", "nat", "-D", "PREROUTING", *BY_HAND])
    every = {*range(8090, 8096)}
    wait_until(lambda: published_ports(host) == every, "all of them")
    found.append(said(host))
    apply(host, "guests: {}\n")
    by_hand(host)
    over = f"{{ports: {ports}, over_listener: true}}"
    found.append(apply(host, f"guests:\n  web1: {over}\n"))
    host.run(["iptables", "-t", "nat", "-D", "PREROUTING", *BY_HAND])

    whose = [f"iptables nat PREROUTING takes tcp {n} by DNAT" for n in (8090, 8093)]
    takes = "; over_listener: true takes the port from it"
    served = [("web1", "active", "")] * 2
    named = [any(one in line for line in some) for some in shown for one in whose]
    assert found == [
        [
            ("web1", "conflict", f"{whose[0]}{takes}"),
            ("web1", "active", f"all but 8093: {whose[1]}{takes}"),
        ],
        served,
        served,
    ]
    assert named == [True] * 4


BY_HAND = [
    *("-p", "tcp", "-m", "multiport", "--dports", "8090,8093"),
    *("-j", "DNAT", "--to", "203.0.113.1:22"),
]


def docker(host: Host) -> None:
    """Docker's rules."""
    install_rules(host, "iptables")


def ufw(host: Host) -> None:
    """ufw as it comes."""
    host.run(["ufw", "--force", "enable"])


def firewalld(host: Host) -> None:
    """firewalld that forwards nothing but its own."""
    start_firewalld(host)
    strict = "s/^StrictForwardPorts=.*/StrictForwardPorts=yes/"
    host.run(["sed", "-i", strict, CONF])
    reload_firewalld(host)


DNATED = "-m conntrack --ctstate DNAT -j ACCEPT"
STRICT = "StrictForwardPorts="
DROPPING: dict[Fault, tuple[str, str]] = {
    docker: (
        "Docker drops forwarded packets (chain FORWARD of iptables)",
        f"iptables -I DOCKER-USER {DNATED}",
    ),
    ufw: (
        "ufw drops forwarded packets (chain FORWARD of iptables)",
        "ufw route allow out on virbr0",
    ),
    firewalld: (
        f"firewalld rejects forwarded packets ({STRICT}yes)",
        f"sed -i s/^{STRICT}.*/{STRICT}no/ {CONF} && firewall-cmd --reload",
    ),
}


def theirs(host: Host) -> str:
    """Everything in netfilter that is neither ours nor libvirt's, without counters."""
    rules = host.run(["nft", "-s", "list", "ruleset"])
    tables = re.findall(r"^table (.*?) {\n(.*?)^}", rules, re.M | re.S)
    return repr([t for t in tables if not re.search("vfwhooks|libvirt", t[0])])


@promises(
    "Docker, ufw or firewalld drops forwarded packets",
    "the forward is `blocked`, and `status` gives the command that cures it; "
    "vfwhooks does not change rules of others",
)
@pytest.mark.parametrize("who", DROPPING)
def test_dropped(host: Host, outside: Net, web1: Guest, who: Fault) -> None:
    """Nothing of theirs is changed by `apply` and by an event; the command cures it."""
    what, cure = DROPPING[who]
    apply(host, WEB)
    before = is_served(outside)
    who(host)

    rules, lost, found = theirs(host), is_served(outside, 1), apply(host, WEB)
    call_hook(host, "qemu", "somebody", "stopped", "end", "-")
    same = theirs(host) == rules
    host.run(["sh", "-c", found[0][2].partition("; run: ")[2]])
    after = is_served(outside), said(host)
    if who is docker:
        remove_rules(host, "iptables")
    elif who is ufw:
        host.run(["ufw", "--force", "reset"])

    assert found == [("web1", "blocked", f"{what}; run: {cure}")]
    assert (before, lost, same) == (True, False, True)
    assert after == (True, [("web1", "active", "")])


def fill_disk(host: Host) -> None:
    """No block is left where the state is."""
    host.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "none", "/run/vfwhooks"]
    )
    host.call(["sh", "-c", "head -c 4096 /dev/zero >/run/vfwhooks/full"])


BROKEN: dict[Fault, str] = {
    hide_tools: "installed|No such file",
    hide_python: "hook failed, status 127",
    fill_disk: "No space left on device",
    drop_half: "hook failed, status 1",
}


@promises(
    "nft, iptables or Python is missing, a disk is full, the package is damaged",
    "the hook still exits 0, libvirt starts the guest, and syslog says why nothing "
    "is forwarded",
)
@pytest.mark.parametrize("fault", BROKEN)
def test_broken(host: Host, late: None, fault: Fault) -> None:
    """libvirt starts the guest, and syslog says what is wrong."""
    seen = len(host.syslog(BROKEN[fault]))
    host.run(["sh", "-c", "rm -rf /run/vfwhooks/*"])
    fault(host)

    done = host.call(START)
    state = host.virsh("domstate", "late").strip()
    log = host.syslog(BROKEN[fault])[seen:]
    host.virsh("destroy", "late")
    host.call(["umount", "/run/vfwhooks"])
    copy(host)
    host.install_hooks(hook_files(LIB))

    assert (done.status, state, log != []) == (0, "paused", True)


WIPES = {
    "flush": ["nft", "flush", "ruleset"],
    "libvirtd": [],
    "firewalld": ["firewall-cmd", "--reload"],
}


@promises(
    "somebody flushes the ruleset, firewalld reloads, libvirtd restarts",
    "the service puts our rules back; if libvirt's own rules are gone, `status` "
    "says so",
)
@pytest.mark.parametrize("wipe", WIPES)
def test_wiped(host: Host, outside: Net, web1: Guest, watch: None, wipe: str) -> None:
    """What is ours is there again; libvirt's own comes back with its daemon."""
    apply(host, WEB)
    if WIPES[wipe]:
        host.run(WIPES[wipe])
    wait_until(lambda: published(host), "what is ours")
    found = said(host)
    host.restart_libvirtd()
    wait_until(lambda: is_served(outside), "the guest")

    is_gone = wipe == "flush"
    gone = "blocked", "table ip libvirt_network is missing: restart libvirtd"
    assert found == [("web1", *(gone if is_gone else ("active", "")))]


@promises(
    "libvirt may not run our hooks, or does not call them",
    "no hook is laid where it would keep guests from starting; the service finds "
    "guests without hooks, and `doctor` says why there are none",
)
def test_no_hooks() -> None:
    """First they may not run, and none is laid; then they are laid and libvirt, which
    has not heard of it, calls none."""
    with Host.debian13("nftables") as host:
        host.start_libvirtd()
        host.start_network(default_network())
        host.define_guest("web1")
        configure(host, WEB)
        host.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "lab", HOOKS])
        told = host.run([f"{Host.CHECKOUT}/install.sh"]).splitlines()[0]
        laid = host.run(["find", HOOKS, "-type", "f"])
        start_watch(host)
        found = [started(host)]
        refused = doctor(host)
        host.run(["mount", "-o", "remount,exec", HOOKS])
        host.install_hooks(hook_files())
        found.append(started(host))
        uncalled = doctor(host)
        stop_watch(host)

    no_exec = f"{HOOKS} is on a file system without exec"
    remount = f"mount -o remount,exec {HOOKS}, and take noexec out of /etc/fstab"
    cure = f"to have hooks: {remount}, then run install.sh again"
    assert (told, laid, found) == (
        f"install.sh: libvirtd may not run hooks here: {no_exec}",
        "",
        [f"none: the service follows libvirt's files; {no_exec}", HOOKED],
    )
    assert refused == [
        f"note   no hook is laid, since {no_exec}; libvirt is followed; {cure}"
    ]
    unseen = f"libvirtd has not looked for hooks since they were laid; {HUP}"
    assert uncalled == [f"ok     hooks in {HOOKS}", f"wrong  {unseen}"]


HOOKED = "qemu, lxc, libxl, network"
HUP = "run: kill -HUP PID"


def started(host: Host) -> str:
    """What status says of hooks when the guest has started, and is forwarded to."""
    host.virsh("start", "web1", "--paused")
    wait_until(lambda: published(host), "the service to find it")
    lines = vfwhooks(host, "status").stdout.splitlines()
    return next(line for line in lines if line.startswith("hooks"))[9:]


def doctor(host: Host) -> list[str]:
    """What doctor says of hooks; the guest stops then."""
    lines = vfwhooks(host, "doctor").stdout.splitlines()
    host.virsh("destroy", "web1")
    wait_until(lambda: not published(host), "the service to see it go")
    about = [line for line in lines if "hook" in line.replace(CONFIG, "")]
    return [re.sub(r"(kill -HUP) \d+", r"\1 PID", line) for line in about]


@promises(
    "the service does not run",
    "where hooks are laid, starts and stops of guests work as before; an edit of "
    "forwards.yaml takes effect at `vfwhooks apply` or the next event; an interface"
    " that is plugged in or out counts from `vfwhooks apply` or the next event of "
    "its guest",
)
def test_without_the_service(host: Host, late: None) -> None:
    """A start, an edit and `apply`, an edit and an event, an interface and `apply`, a
    stop. An interface and an event of its guest: see test_networks."""
    seen = []

    host.run(START)
    seen.append(published_ports(host))
    configure(host, "guests:\n  late: [8082:80]\n")
    seen.append(published_ports(host))
    vfwhooks(host, "apply")
    seen.append(published_ports(host))
    configure(host, "guests:\n  late: [8083:80]\n")
    seen.append(published_ports(host))
    call_hook(host, "qemu", "somebody", "stopped", "end", "-")
    seen.append(published_ports(host))
    host.start_network(second_network("lab", 150, mode="nat"))
    configure(host, "guests:\n  late: {ports: [8084:80], network: lab}\n")
    vfwhooks(host, "apply")
    card = tostring(Nic(mac_for(60), network="lab").element(), encoding="unicode")
    host.virsh("attach-device", "late", "/dev/stdin", "--live", input=card)
    seen.append(published_ports(host))
    vfwhooks(host, "apply")
    seen.append(published_ports(host))
    host.virsh("destroy", "late")
    seen.append(published_ports(host))
    host.virsh("net-destroy", "lab")

    edited = [{8081}, {8081}, {8082}, {8082}, {8083}]
    assert seen == [*edited, set(), {8084}, set()]


@promises(
    "a guest's answers leave by another uplink than the host's own answers",
    "the forward is `blocked`, and `status` says the cure: `return_path: true`, or "
    "a command",
)
def test_another_uplink(host: Host, outside: Net, web1: Guest) -> None:
    """The host has a rule for its own address there; the guest is served with the key.
    The last of all, since the host has another default route from here on."""
    del outside  # the first uplink
    second = host.outside("198.51.100.2/24", name="second")
    second.ip("addr add 198.18.9.2/32 dev lo")
    second.ip("route add 198.51.100.1/32 dev eth0 src 198.18.9.2")
    host.net.ip("route replace default via 203.0.113.2")
    host.net.ip("route replace default via 198.51.100.2 table 100")
    host.net.ip("rule add from 198.51.100.1 lookup 100")
    url, port = "http://198.51.100.1:8096/", "'198.51.100.1:8096:80'"

    found = [apply(host, f"guests:\n  web1: [{port}]\n")]
    seen = [second.http(url, timeout=1).answered]
    keyed = f"guests:\n  web1: {{ports: [{port}], return_path: true}}\n"
    found.append(apply(host, keyed))
    seen.append(second.http(url).answered)

    what = f"answers of {web1.address} leave by outside, and those of 198.51.100.1"
    command = f"ip rule add iif virbr0 from {web1.address} lookup 100"
    why = f"{what} by second; write return_path: true, or run: {command}"
    assert (found, seen) == (
        [[("web1", "blocked", why)], [("web1", "active", "")]],
        [False, True],
    )


@promises(
    "a guest is on a bridge that libvirt has not made (by hand, systemd-networkd, "
    "LXD, Incus)",
    "its forwards are `pending`, and `status` says what to write: `bridge: br-nat`",
)
def test_another_bridge(host: Host) -> None:
    """Pending until it is written, and active then."""
    host.net.ip(
        "link add br-nat type bridge",
        "addr add 10.9.0.1/24 dev br-nat",
        "link set br-nat up",
    )
    guest = host.define_guest("inner", nics=[Nic(mac_for(41), bridge="br-nat")])
    host.virsh("start", "inner", "--paused")
    where = "address: 10.9.0.51"
    found = [apply(host, f"guests:\n  inner: {{ports: [8083:80], {where}}}\n")]
    where += ", bridge: br-nat"
    found.append(apply(host, f"guests:\n  inner: {{ports: [8083:80], {where}}}\n"))
    guest.destroy()
    host.virsh("undefine", "inner")
    host.net.ip("link del br-nat")

    ((_, state, reason),), cured = found
    assert (state, "write bridge: br-nat" in reason) == ("pending", True)
    assert [state for _, state, _ in cured] == ["active"]


def test_every_line_is_tried() -> None:
    """The page's table and the tests above are of the same words."""
    page = (HERE / "docs/troubleshooting.md").read_text()
    table = page.partition("## Which fault does what")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (.*?) \| (.*) \|$", table, re.M)

    assert dict(lines[1:]) == PROMISED
