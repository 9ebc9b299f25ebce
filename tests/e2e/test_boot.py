"""A host's boot by real units: vfwhooks.service, and libvirtd.service as the package of
the distribution has it, in one transaction of systemd; a guest starts with libvirt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab.box import wait_until
from lab.host import HOOKS, Host
from lab.systemd import Systemd, start_systemd
from product import configure, patient, published_ports

from e2e.conftest import KINDS, ONE_KIND

SERVICE, LIBVIRTD = "vfwhooks.service", "libvirtd.service"
SOCKETS = "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket"
BOOT = f"[Unit]\nDefaultDependencies=no\nWants={SERVICE} {LIBVIRTD}\n"
# The unit gives a start 10 s.
SHORT = "[Service]\nTimeoutStartSec=3\nExecStart=\nExecStart="
DEAF = "/bin/sh -c \"trap '' TERM; while :; do sleep 1; done\""
OTHERS = {
    "hangs": "/bin/sleep infinity",
    "is stopped": '/bin/sh -c "kill -STOP $$$$"',
    "fails": "/bin/false",
}
HANGS = [
    pytest.param(DEAF, id="hears no SIGTERM"),
    *(pytest.param(v, id=k, marks=pytest.mark.long) for k, v in OTHERS.items()),
]


@pytest.fixture(scope="module", params=ONE_KIND)
def systemd(request: pytest.FixtureRequest) -> Iterator[Systemd]:
    """A host that is switched off: network and guest are to start with libvirt."""
    with KINDS[request.param]() as host, start_systemd(host) as systemd:
        configure(host, "guests:\n  web1: ['0.0.0.0:8080:80']\n")
        systemd.run(f"{Host.CHECKOUT}/install.sh")
        systemd.run("systemctl", "stop", SERVICE)
        # On a busy machine a service that answers late is none that is not there.
        hooks = host.run(["ls", HOOKS]).split()
        host.install_hooks({n: patient(host.read(f"{HOOKS}/{n}")) for n in hooks})
        host.start_libvirtd()
        host.start_network()
        host.define_guest("web1")
        host.virsh("net-autostart", "default")
        host.virsh("autostart", "web1")
        host.virsh("net-destroy", "default")
        host.stop_libvirtd()
        write(systemd, "boot.target", BOOT)
        yield systemd


def write(systemd: Systemd, name: str, text: str) -> None:
    """Write a unit or a drop-in, and have systemd read it."""
    path = f"/etc/systemd/system/{name}"
    script = 'mkdir -p "${0%/*}" && printf %s "$1" >"$0" && systemctl daemon-reload'
    systemd.run("sh", "-c", script, path, text)


@contextmanager
def booted(systemd: Systemd) -> Iterator[Host]:
    """The host while it is up: the guest has started."""
    host = systemd.host
    host.run(["rm", "-rf", "/run/libvirt", "/run/vfwhooks"])
    systemd.run("systemctl", "start", "--no-block", "boot.target")
    try:
        wait_until(
            lambda: "running" in host.call(["virsh", "domstate", "web1"]).stdout,
            lambda: f"the guest runs; {host.libvirtd.log()}",
            timeout=120,
        )
        yield host
    finally:
        host.call(["virsh", "destroy", "web1"])
        host.call(["virsh", "net-destroy", "default"])
        # libvirtd at times takes 30 s to end soon after its start.
        units = "boot.target", SERVICE, *SOCKETS, LIBVIRTD
        systemd.call("systemctl", "stop", "--no-block", *units)
        systemd.call("systemctl", "kill", "--signal=KILL", SERVICE, LIBVIRTD)
        systemd.call("systemctl", "stop", *units)
        systemd.call("systemctl", "reset-failed")


def stamp(systemd: Systemd, unit: str, name: str) -> int:
    """The time of a unit's change, in µs since the machine's start."""
    return int(systemd.show(unit, f"{name}TimestampMonotonic"))


def test_order(systemd: Systemd) -> None:
    """The service is ready before libvirtd is started, so the hook of the guest that
    starts with libvirt is answered; nobody has rung in vain."""
    with booted(systemd) as host:
        ready = stamp(systemd, SERVICE, "ActiveEnter")
        started = stamp(systemd, LIBVIRTD, "ExecMainStart")
        wait_until(lambda: published_ports(host), "the guest's forward")
        ports = published_ports(host)
        is_deaf = host.path("/run/vfwhooks/deaf").exists()

    assert (0 < ready <= started, ports, is_deaf) == (True, {8080}, False)


@pytest.mark.parametrize("how", HANGS)
def test_a_service_that_does_not_start(systemd: Systemd, how: str) -> None:
    """libvirtd starts when the service's time is over, and the guest with it; the hooks
    put the forwards in force themselves."""
    write(systemd, f"{SERVICE}.d/hang.conf", f"{SHORT}{how}\n")

    with booted(systemd) as host:
        wait_until(lambda: published_ports(host), "the guest's forward")
        seen = published_ports(host), systemd.show(LIBVIRTD, "ActiveState")
        is_ready = systemd.show(SERVICE, "ActiveState") == "active"
    systemd.run("rm", "-r", f"/etc/systemd/system/{SERVICE}.d")

    assert (seen, is_ready) == (({8080}, "active"), False)


def test_libvirt_waits_for_so_long(systemd: Systemd) -> None:
    """For the unit's start at most, and for the end of a service that hears nothing."""
    systemd.run("systemctl", "daemon-reload")
    names = "TimeoutStartUSec", "TimeoutStopUSec"

    assert [systemd.show(SERVICE, name) for name in names] == ["10s", "2s"]
