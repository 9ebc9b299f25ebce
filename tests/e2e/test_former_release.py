"""This release put over a former one, and that one back over this, by the install.sh of
each, on a host with systemd and libvirtd, under traffic, while guests start and stop.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import pytest
from lab.box import Done
from lab.host import HOOKS, Host
from lab.systemd import Systemd, start_systemd
from product import CONFIG, HERE, configure, hook_files, published, published_ports

from e2e.conftest import KINDS
from e2e.streams import Streams

FORMER = "a3404d2"
PLACE = "/opt/former"
UNIT = "vfwhooks.service"
# Guests that come and go beside the one that is talked to, and their ports.
PORTS = {"mail": 8081, "db": 8082}
WEB1 = "  web1: ['0.0.0.0:8080:80', '0.0.0.0:5353:5353/udp']\n"
FORWARDS = (
    "guests:\n"
    + WEB1
    + "".join(f"  {n}: ['0.0.0.0:{p}:80']\n" for n, p in PORTS.items())
)
# Rounds of guests before the other release is put in, and after.
ROUNDS = 3
PLACES = ["/etc", "/usr/lib", "/usr/share", "/usr/bin", "/var/lib"]
# What libvirt and systemd write there.
OF_OTHERS = ["/etc/libvirt/qemu", "/etc/libvirt/nwfilter", "/etc/libvirt/secrets"]
OF_OTHERS += ["/etc/systemd/system", "/var/lib/libvirt", "/var/lib/systemd"]
OF_OTHERS += ["/etc/.updated", "/etc/machine-id"]
LEGACY: dict[str, Callable[[], AbstractContextManager[Host]]] = {
    "libvirt-9.0-legacy": lambda: Host.debian12(legacy=True)
}
HOSTS = KINDS | LEGACY
pytestmark = pytest.mark.long


def unpack_former(host: Host) -> None:
    """Lay the checkout of the former release on the host, from this one's history."""
    command = ["git", "-C", str(HERE), "archive", FORMER]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", b"").decode() or error
        pytest.fail(
            f"the release at {FORMER} is taken from the history of this checkout, which"
            f" lacks it: run this in a whole clone, or git fetch --unshallow: {why}"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(host.path(PLACE))


@dataclass
class Site:
    """A host on which the former release has been installed."""

    host: Host
    systemd: Systemd
    before: set[str]

    def install(self, checkout: str) -> Done:
        """Put a release over the one that is there."""
        return self.systemd.call(f"{checkout}/install.sh")

    def release(self) -> str:
        """The directory of the release that the command line runs."""
        found = re.search(
            '"(/usr/lib/vfwhooks/.*)"', self.host.read("/usr/bin/vfwhooks")
        )
        return found[1] if found else ""


@pytest.fixture(scope="module", params=HOSTS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Its service runs, and libvirtd with one guest that answers."""
    with HOSTS[request.param]() as host, start_systemd(host) as systemd:
        unpack_former(host)
        site = Site(host, systemd, files(host))
        configure(host, FORWARDS)
        site.install(PLACE).check()
        host.start_libvirtd()
        host.start_network()
        web1 = host.define_guest("web1").start(wait=True)
        web1.wait_until_up()  # it serves UDP after TCP
        yield site


@dataclass
class Guests:
    """Guests that start and stop, one after the other; what became of each event."""

    host: Host
    rounds: int = 0
    wrong: list[str] = field(default_factory=list)
    _is_over: bool = False

    @contextmanager
    def coming_and_going(self) -> Iterator[Guests]:
        """They do until the end of the block."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._is_over = True
            thread.join()

    def wait(self, rounds: int) -> None:
        """Until there have been so many more rounds."""
        last = self.rounds + rounds
        while self.rounds < last and not self.wrong:
            time.sleep(0.05)

    def _run(self) -> None:
        guests = {name: self.host.define_guest(name) for name in PORTS}
        while not self._is_over:
            for name, guest in guests.items():
                guest.start()
                self._expect(name, is_there=True)
                guest.destroy()
                self._expect(name, is_there=False)
            self.rounds += 1
        for guest in guests.values():
            guest.undefine()

    def _expect(self, name: str, *, is_there: bool) -> None:
        until = time.monotonic() + 60
        while (PORTS[name] in published_ports(self.host)) != is_there:
            if time.monotonic() > until:
                event = "start" if is_there else "stop"
                self.wrong.append(f"{name}'s {event} at {time.strftime('%T')}")
                return


def files(host: Host) -> set[str]:
    """The files and directories that an installation may have added to."""
    skipped = [word for place in OF_OTHERS for word in ("-path", place, "-prune", "-o")]
    return set(host.run(["find", *PLACES, *skipped, "-print"]).splitlines())


@dataclass
class Lost:
    """What went wrong while a release was put over another."""

    install: list[str] = field(default_factory=list)
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


def put_over(site: Site, checkout: str, measured: Callable[[str, float], None]) -> Lost:
    """Install a release under traffic, between rounds of guests; what was lost."""
    outside = site.host.outside()
    streams, guests = Streams(outside, "203.0.113.1", 8080, 5353), Guests(site.host)
    with streams.running() as seen, guests.coming_and_going():
        guests.wait(ROUNDS)
        done = site.install(checkout)
        guests.wait(ROUNDS)
    site.host.unplug(outside)
    measured("datagrams", seen.datagrams)
    measured("lines on open connections", seen.lines)
    measured("new connections and flows", seen.new)
    measured("of these refused", len(seen.not_begun))
    measured("guests started and stopped", guests.rounds * len(PORTS))
    said = [] if done.status == 0 else [done.stdout + done.stderr]
    return Lost(said, seen.lost, seen.not_begun, guests.wrong)


def running(site: Site) -> set[str]:
    """The releases that a process of the service's is from."""
    lines = site.systemd.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    return set(re.findall("(?m)^/usr/lib/vfwhooks/[^/\n]*", lines))


def test_upgrade(site: Site, measured: Callable[[str, float], None]) -> None:
    """Nothing is lost, nobody is turned away, every event is carried out; and what
    libvirt calls and systemd runs is this release."""
    former = site.release()

    lost = put_over(site, Host.CHECKOUT, measured)

    release = site.release()
    hooks = {name: site.host.read(f"{HOOKS}/{name}") for name in hook_files()}
    unit = site.systemd.run("systemctl", "cat", UNIT).split("\n", 1)[1]
    assert lost == Lost()
    assert release != former
    assert hooks == hook_files(release)
    assert unit == (HERE / "templates" / UNIT).read_text()
    assert running(site) == {release}


def test_downgrade(site: Site, measured: Callable[[str, float], None]) -> None:
    """What is open stays so, and every event is carried out. With nftables the former
    release makes its table anew, empty at first: whoever begins then may be refused."""
    lost = put_over(site, PLACE, measured)

    assert (lost.install, lost.old, lost.events) == ([], [], [])
    assert site.host.read(f"{HOOKS}/qemu").count(site.release()) == 1


def test_upgrade_again_and_remove(
    site: Site, measured: Callable[[str, float], None]
) -> None:
    """Nothing is lost; this release's install.sh takes away what either has laid."""
    lost = put_over(site, Host.CHECKOUT, measured)

    site.systemd.run(f"{Host.CHECKOUT}/install.sh", "--uninstall")

    left = files(site.host) ^ site.before
    unit = site.systemd.show(UNIT, "LoadState")
    assert lost == Lost()
    assert (left, unit, published(site.host)) == (
        {CONFIG, CONFIG.rpartition("/")[0]},
        "not-found",
        set(),
    )
