"""vfwhooks.service under a real systemd, with every restriction that the unit has."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from lab.systemd import Systemd, start_systemd
from product import HERE, call_hook, configure, published

UNIT = "vfwhooks.service"
TEXT = (HERE / "templates" / UNIT).read_text()
BEFORE = "guests:\n  web1: [8080:80, '127.0.0.1:8081:80']\n"
HAIRPIN = "guests:\n  web1: {ports: [8080:80], hairpin: true}\n"
AFTER = "guests:\n  web1: [9090:80]\n"
KINDS: dict[str, Callable[[], AbstractContextManager[Host]]] = {
    "libvirt-9.0-iptables": Host.debian12,
    "libvirt-9.0-legacy": lambda: Host.debian12(legacy=True),
    "libvirt-11.3-nftables": Host.debian13,
}
# For what does not depend on the firewall.
once = pytest.mark.parametrize("host", ["libvirt-11.3-nftables"], indirect=True)
DAEMONS = "libvirtd", "virtqemud", "virtnetworkd", "virtlxcd", "virtxend"
# include/uapi/linux/capability.h
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}


@pytest.fixture(scope="module", params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host on which libvirtd does not run yet."""
    with KINDS[request.param]() as host:
        yield host


@pytest.fixture(scope="module")
def systemd(host: Host) -> Iterator[Systemd]:
    """systemd, told of our unit by install.sh; then libvirtd with its network.

    So the watch has had to guess, before there was a network, which backend it is.
    """
    with start_systemd(host) as systemd:
        systemd.run(f"{Host.CHECKOUT}/install.sh")
        host.start_libvirtd()
        host.start_network()
        yield systemd


@pytest.fixture(scope="module")
def web1(host: Host, systemd: Systemd) -> Guest:
    """A running guest."""
    return host.define_guest("web1").start(wait=True)


@pytest.fixture(scope="module")
def outside(host: Host) -> Net:
    """Somebody outside."""
    return host.outside()


def edit(host: Host, outside: Net, forwards: str, port: int) -> None:
    """Edit, and wait until the port is served."""
    configure(host, forwards)
    url = f"http://203.0.113.1:{port}/"
    wait_until(
        lambda: outside.http(url, timeout=2).answered,
        lambda: f"{port} to be served; {host.syslog('vfwhooks')}",
    )


def main_pid(systemd: Systemd) -> str:
    """The watch's process id among what systemd runs."""
    return systemd.show(UNIT, "MainPID")


def test_edit_is_followed_under_the_restrictions(
    host: Host, systemd: Systemd, web1: Guest, outside: Net
) -> None:
    """What the unit lets the watch have is enough: libvirtd is asked, an edit is
    compiled and in force, what is removed goes, and nothing is complained of."""
    systemd.run("systemctl", "restart", UNIT)

    edit(host, outside, BEFORE, 8080)
    edit(host, outside, AFTER, 9090)
    refused = outside.http("http://203.0.113.1:8080/").refused

    said = host.syslog("denied|permitted|No such|Read-only|no libvirtd|cannot")
    assert (refused, said) == (True, [])


def test_ports_of_bridges_under_the_restrictions(
    host: Host, systemd: Systemd, web1: Guest, outside: Net
) -> None:
    """What it may only read below /sys it changes by netlink: into hairpin mode, and
    again when somebody has set that back, and out of it."""
    (port, *_) = host.virsh("domiflist", "web1").split()
    mode = f"/sys/class/net/{port}/brport/hairpin_mode"
    seen = []

    def becomes(value: str) -> None:
        wait_until(lambda: host.run(["cat", mode]) == f"{value}\n", f"mode {value}")
        seen.append(value)

    edit(host, outside, HAIRPIN, 8080)
    becomes("1")
    host.run(["bridge", "link", "set", "dev", port, "hairpin", "off"])
    becomes("1")
    edit(host, outside, AFTER, 9090)
    becomes("0")

    said = host.syslog("denied|permitted|Read-only|cannot")
    assert (seen, said) == (["1", "1", "0"], [])


def test_restrictions_hold(systemd: Systemd) -> None:
    """The watch has the unit's capabilities and no other, can gain none, and has a
    filter of system calls."""
    named = re.search("(?m)^CapabilityBoundingSet=(.*)$", TEXT)
    assert named
    mask = sum(1 << CAPABILITIES[name] for name in named[1].split())

    text = systemd.run("cat", f"/proc/{main_pid(systemd)}/status")

    held = dict(re.findall(r"(?m)^(\w+):\t(.*)$", text))
    caps = [int(held[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapAmb")]
    assert (caps, held["NoNewPrivs"], held["Seccomp"]) == ([mask] * 3 + [0], "1", "2")


def test_files_are_out_of_reach(systemd: Systemd) -> None:
    """The watch can write nowhere but under /run, in its state directory, and to the
    settings of interfaces."""
    localnet = "/proc/sys/net/ipv4/conf/virbr0/route_localnet"
    allowed = ["/var/lib/vfwhooks", "/run", localnet]
    places = ["/etc/vfwhooks", "/usr/lib/vfwhooks", "/var/lib/libvirt", "/root"]
    places += ["/proc/sys/net/ipv4/ip_forward", *allowed]
    enter = ["nsenter", "--target", main_pid(systemd), "--mount", "sh", "-c"]

    tried = f"for place in {' '.join(places)}; do [ ! -w $place ] || echo $place; done"

    assert systemd.run(*enter, tried).split() == allowed


@once
def test_watch_outlives_a_purge(
    host: Host, systemd: Systemd, web1: Guest, outside: Net
) -> None:
    """After a purge a hook makes the state directory anew: the watch goes on in that
    one, though it is not the one it began with, and keeps an edit over a boot."""
    edit(host, outside, BEFORE, 8080)
    pid = main_pid(systemd)
    host.run(["vfwhooks", "purge"])
    xml = host.virsh("dumpxml", "web1")

    call_hook(host, "qemu", "web1", "reconnect", "begin", "-", xml=xml)
    edit(host, outside, AFTER, 9090)
    kept = host.path("/var/lib/vfwhooks/compiled")
    wait_until(lambda: kept.exists() and b" 9090 " in kept.read_bytes(), "it is kept")

    assert (main_pid(systemd), host.syslog("not kept")) == (pid, [])


@once
def test_crash_is_mended(
    host: Host, systemd: Systemd, web1: Guest, outside: Net
) -> None:
    """Killed, it is started again, and takes up what was edited meanwhile."""
    edit(host, outside, BEFORE, 8080)
    pid = main_pid(systemd)

    systemd.run("kill", "-KILL", pid)
    edit(host, outside, AFTER, 9090)

    assert main_pid(systemd) not in ("0", pid)


@contextmanager
def watched_for(systemd: Systemd, seconds: int) -> Iterator[str]:
    """systemd takes the service for dead after so many seconds; its process id."""
    drop_in = f"/etc/systemd/system/{UNIT}.d/lab.conf"
    text = rf"[Service]\nWatchdogSec={seconds}\nRestartSec=0\n"
    systemd.run("sh", "-c", f"mkdir ${{0%/*}}; printf '{text}' >$0", drop_in)
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "restart", UNIT)
    yield main_pid(systemd)
    systemd.run("rm", "-r", drop_in.rpartition("/")[0])
    systemd.run("systemctl", "daemon-reload")


@once
def test_hung_watch_is_restarted_and_a_live_one_is_not(systemd: Systemd) -> None:
    """systemd hears from a live watch twice in its watchdog's time; one that is silent
    is ended and started again."""
    beats: set[str] = set()

    def has_beaten_twice() -> bool:
        beats.add(systemd.show(UNIT, "WatchdogTimestampMonotonic"))
        return len(beats) > 2

    with watched_for(systemd, 20) as pid:
        wait_until(has_beaten_twice, "two beats")
        lived = main_pid(systemd)
        systemd.run("kill", "-STOP", pid)
        wait_until(lambda: main_pid(systemd) not in ("0", pid), "a new watch")
        wait_until(lambda: systemd.show(UNIT, "ActiveState") == "active", "it is ready")
        restarts = systemd.show(UNIT, "NRestarts")

    assert (lived, restarts) == (pid, "1")


@contextmanager
def hung(systemd: Systemd) -> Iterator[None]:
    """systemd itself does nothing meanwhile, for however long that takes: its watchdog
    does not end the service before."""
    systemd.host.run(["kill", "-STOP", systemd.pid])
    try:
        yield
    finally:
        systemd.host.run(["kill", "-CONT", systemd.pid])


# Stops the service while it has the lock: it is given work until it is met there. Still
# locked half a second later: it is not a tool of the service's that has the lock, and
# the service was not stopped in the very call that gives the lock back.
_STOP_WITH_THE_LOCK = """\
for wait in $(seq 0 400); do
    : >/run/vfwhooks/full
    sleep 0.$((100 + wait % 97))
    kill -STOP "$1"
    flock --nonblock /run/vfwhooks/lock true || {
        sleep 0.5
        flock --nonblock /run/vfwhooks/lock true || exit 0
    }
    kill -CONT "$1"
done
exit 1
"""


@once
def test_a_guest_starts_while_the_service_hangs_with_the_lock(
    host: Host, systemd: Systemd, web1: Guest, outside: Net
) -> None:
    """libvirt waits for the hook's deadline and no longer; the event stays, and is
    carried out as soon as the service has been killed and started again."""
    edit(host, outside, "guests:\n  web1: [8080:80]\n  mail: [8081:80]\n", 8080)
    mail = host.define_guest("mail")

    with watched_for(systemd, 30) as pid:  # as the unit has it
        systemd.run("sh", "-c", _STOP_WITH_THE_LOCK, "sh", pid)
        with hung(systemd):
            mail.start()
            waits = host.run(["ls", "/run/vfwhooks/spool"]).split()
        wait_until(lambda: main_pid(systemd) not in ("0", pid), "a new watch")
        began = time.monotonic()
        wait_until(lambda: not host.run(["ls", "/run/vfwhooks/spool"]), "its events")
        print(f"carried out {time.monotonic() - began:.2f} s after the new start")
        url = "http://203.0.113.1:8081/"
        wait_until(lambda: outside.http(url, timeout=2).answered, "mail's answer")

    state = host.virsh("domstate", "mail").strip()
    mail.destroy()
    mail.undefine()
    assert (len(waits), state) == (1, "running")


@once
def test_its_place_at_boot(systemd: Systemd) -> None:
    """It starts ahead of libvirt's daemons, which start guests at once, and waits for
    none of them and for no firewall; nobody requires anybody."""
    daemons = {f"{name}.service" for name in DAEMONS}
    others = {f"{name}.service" for name in ("docker", "firewalld", "ufw", "nftables")}
    names = "Before", "After", "Requires", "Wants", "RequiredBy"

    before, after, *needs = [set(systemd.show(UNIT, n).split()) for n in names]

    assert daemons <= before
    assert (daemons | others).isdisjoint(after.union(*needs))


def test_unit_is_sound(systemd: Systemd) -> None:
    """systemd has nothing to say against it, and rates what it can still do as little:
    2.5 of 10 at most."""
    analyze = ["systemd-analyze", "--no-pager"]

    verified = systemd.call(*analyze, "verify", "--man=no", UNIT)
    rated = systemd.call(*analyze, "security", "--threshold=25", UNIT)

    assert (verified.status, verified.stderr, rated.status) == (0, "", 0)


@once
def test_installing_restarts_our_unit_alone(host: Host, systemd: Systemd) -> None:
    """That is said before, and what runs after; doctor's verdict comes last."""
    script = f"{Host.CHECKOUT}/install.sh"
    before = main_pid(systemd), host.read("/run/libvirtd.pid")

    check = systemd.run(script, "--check")
    lines = systemd.run(script).splitlines()
    status = systemd.run(script, "--status").splitlines()
    after = main_pid(systemd), host.read("/run/libvirtd.pid")

    assert check == (
        "install.sh: would restart vfwhooks.service\ninstall.sh: nothing was changed\n"
    )
    assert (after[0] != before[0], after[1]) == (True, before[1])
    assert "install.sh: service: active" in status
    assert (lines[-1], status[-1]) == ("install.sh: doctor: nothing to mend",) * 2


@once
def test_removal_ends_the_service(
    host: Host, systemd: Systemd, web1: Guest, outside: Net
) -> None:
    """install.sh --uninstall, under a running guest: the service is gone, and with it
    the rules, which nobody puts back."""
    edit(host, outside, BEFORE, 8080)

    systemd.run(f"{Host.CHECKOUT}/install.sh", "--uninstall")

    known = systemd.show(UNIT, "LoadState"), main_pid(systemd)
    refused = outside.http("http://203.0.113.1:8080/").refused
    assert (known, refused, published(host)) == (("not-found", "0"), True, set())
