"""The watch, where news come in the wrong order, get lost, or never end."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from standin import (
    CONFIG,
    LIMIT,
    STATE,
    Guest,
    StandIn,
    alone,
    ipv4,
    put,
    run,
    wait_for,
)

from faults.scenes import WEB1, published
from faults.watched import rest, watching
from vfwhooks.cli import main as cli
from vfwhooks.config.last_good import compile_apart, is_in_force
from vfwhooks.host.inotify import MOVED_TO, Inotify
from vfwhooks.host.run import Run
from vfwhooks.store import files
from vfwhooks.store.state import State

LEASES = Path("/var/lib/libvirt/dnsmasq/virbr0.status")
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
FORWARDS = "guests:\n  web1: [8080:80]\n"


@alone
def test_a_file_that_is_long_in_writing() -> None:
    """While somebody has forwards.yaml open nothing is checked because of it, and what
    is written is in force when it is closed."""
    host = StandIn("nftables", FORWARDS)
    host.network(WEB1)
    host.start(WEB1)
    with watching():
        seen = Inotify()
        with CONFIG.with_suffix(".new").open("w") as file:
            file.write("guests: {}\n")
            file.flush()
            CONFIG.with_suffix(".new").rename(CONFIG)
            seen.add(str(STATE), MOVED_TO)
            rounds = 0
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                rounds += f"{STATE}/full" in seen.read()
                time.sleep(0.02)
        wait_for(lambda: not published("nftables"))

    assert rounds == 0


@alone
def test_a_record_that_is_no_file() -> None:
    """A directory where a guest's record is to be does not end the watch, neither when
    it comes nor when it is there already: it is set aside like any damage."""
    host = StandIn("nftables", FORWARDS)
    host.network(WEB1)
    host.start(WEB1)
    record = STATE / "guests" / "qemu" / "other"
    (STATE / "directory").mkdir()
    record.mkdir()

    with watching():
        wait_for(lambda: not record.exists())
        (STATE / "directory").rename(record)
        wait_for(lambda: not record.exists())


def lease(guest: Guest, *addresses: str) -> None:
    """dnsmasq gives the guest its address, or these."""
    leases = [
        {"ip-address": address, "mac-address": guest.mac, "expiry-time": 0}
        for address in addresses or [ipv4(guest)]
    ]
    put(LEASES, json.dumps(leases))


def neighbour(address: str, mac: str) -> None:
    """The kernel learns who is there."""
    where = "lladdr", mac, "dev", "virbr0", "nud", "stale"
    run("ip", "neigh", "replace", address, *where)


@alone
def test_a_lease_of_an_address_that_somebody_had() -> None:
    """As long as the kernel has another there, it is not the guest's; when it has the
    guest, it is, though the address is no news then."""
    host = StandIn("nftables", FORWARDS)
    host.start(WEB1)
    with watching():
        neighbour(ipv4(WEB1), "52:54:00:99:99:99")
        host.syslog()
        lease(WEB1)
        wait_for(lambda: any("web1: pending" in line for line in host.syslog()))

        neighbour(ipv4(WEB1), WEB1.mac)

        wait_for(lambda: published("nftables"))


@alone
def test_a_guest_of_a_state_directory_that_was_made_anew() -> None:
    """After a purge under its eyes the watch follows the guests that start then."""
    host = StandIn("nftables", FORWARDS)
    with watching():
        assert cli.main(["purge"]) == 0
        wait_for((STATE / "base").exists)  # its own table is missed first
        time.sleep(0.5)
        host.start(WEB1)
        time.sleep(0.5)

        lease(WEB1)

        wait_for(lambda: published("nftables"))


def flood() -> None:
    """More files than the kernel tells of."""
    for number in range(int(QUEUE.read_text()) // 3 + 1):
        file = CONFIG.with_name(f"{number}.new")
        file.touch()
        file.unlink()


@alone
def test_a_guest_that_starts_while_news_are_lost() -> None:
    """When the kernel could not tell of all files, the watch looks at what it may have
    missed: a guest's record."""
    host = StandIn("nftables", FORWARDS)
    with watching() as watch:
        os.kill(watch, signal.SIGSTOP)
        flood()
        host.start(WEB1)
        os.kill(watch, signal.SIGCONT)
        time.sleep(0.5)

        lease(WEB1)

        wait_for(lambda: published("nftables"))


@alone
def test_a_lease_that_comes_while_news_are_lost() -> None:
    """The same of a guest that it knows."""
    host = StandIn("nftables", FORWARDS)
    host.start(WEB1)
    with watching() as watch:
        os.kill(watch, signal.SIGSTOP)
        flood()
        lease(WEB1)
        os.kill(watch, signal.SIGCONT)

        wait_for(lambda: published("nftables"))


@alone
def test_a_neighbour_while_news_are_lost() -> None:
    """When the kernel could not tell of all neighbours, the watch looks at them."""
    host = StandIn("nftables", FORWARDS)
    host.start(WEB1)
    others = [f"fd00:122::9:{number:x} dev virbr0" for number in range(200)]
    verbs = "replace", "del"
    mac = "lladdr 52:54:00:99:99:99 nud stale"
    noise = [f"neigh {verb} {other} {mac}\n" for other in others for verb in verbs]
    with watching() as watch:
        os.kill(watch, signal.SIGSTOP)
        run("ip", "-batch", "-", input="".join(10 * noise))
        neighbour(ipv4(WEB1), WEB1.mac)
        os.kill(watch, signal.SIGCONT)

        wait_for(lambda: published("nftables"))


@alone
def test_a_neighbour_before_the_record() -> None:
    """A neighbour that comes when the hook has looked, and before it has written down
    that the guest waits, is not missed."""
    host = StandIn("nftables", FORWARDS)
    host.start(WEB1)
    record = STATE / "guests" / "qemu" / "web1"
    waits = record.read_text()
    host.stop(WEB1)
    with watching():
        neighbour(ipv4(WEB1), WEB1.mac)
        time.sleep(0.5)

        put(record, waits)

        wait_for(lambda: published("nftables"))


IPV6 = "<ip family='ipv6' address='fd00:122::1' prefix='64'/>"
BOTH = [f"entry accept 4 {ipv4(WEB1)}", "entry accept 6 fd00:122::57"]


@pytest.mark.parametrize("way", ["leases", "neighbours"])
@pytest.mark.parametrize("addresses", [BOTH, BOTH[::-1]], ids=["4 first", "6 first"])
@alone
def test_the_other_family_comes_later(addresses: list[str], way: str) -> None:
    """A guest that is forwarded to with one family is still looked for with the other:
    its network has both."""
    host = StandIn("nftables", FORWARDS)
    status = Path("/run/libvirt/network/default.xml")
    put(status, status.read_text().replace("</network>", f"{IPV6}</network>"))
    record = STATE / "guests" / "qemu" / "web1"
    with watching() as watch:
        host.start(WEB1)
        for number, entry in enumerate(addresses, 1):
            known = [one.rpartition(" ")[2] for one in addresses[:number]]
            if way == "leases":
                lease(WEB1, *known)
            else:
                neighbour(known[-1], WEB1.mac)

            wait_for(partial(holds, record, f"{entry}\n"))
            rest(watch)  # it has read the record, too


def holds(file: Path, text: str) -> bool:
    """Whether the text is in the file."""
    return text in file.read_text()


@alone
def test_a_moment_without_descriptors() -> None:
    """A guest that started meanwhile is followed afterwards."""
    host = StandIn("nftables", FORWARDS)
    with watching() as watch:
        used = {int(one.name) for one in Path(f"/proc/{watch}/fd").iterdir()}
        free = min(set(range(1000)) - used)
        run("prlimit", "--pid", str(watch), f"--nofile={free}:")
        host.start(WEB1)
        time.sleep(2)
        run("prlimit", "--pid", str(watch), "--nofile=1024:")
        time.sleep(3)

        lease(WEB1)

        wait_for(lambda: published("nftables"))


def is_soon(probe: Callable[[], object]) -> bool:
    """Whether it is so before the watch would look for itself, every minute."""
    begun = time.monotonic()
    wait_for(probe)
    return time.monotonic() - begun < 20


@alone
def test_an_owner_that_changes() -> None:
    """A file that was not taken for its owner counts when it is root's, though nothing
    is written."""
    host = StandIn("nftables", FORWARDS)
    host.network(WEB1)
    host.start(WEB1)
    with watching():
        new = CONFIG.with_suffix(".new")
        new.write_text("guests: {}\n")
        os.chown(new, 1000, 0)
        new.rename(CONFIG)
        wait_for(lambda: any("chown it" in line for line in host.syslog()))

        os.chown(CONFIG, 0, 0)

        assert is_soon(lambda: not published("nftables"))


@pytest.mark.parametrize("name", ["forwards.yaml", "forwards.d/web1.yaml"])
@pytest.mark.parametrize("way", ["in place", "by rename"])
@alone
def test_an_edit_of_what_a_link_leads_to(way: str, name: str) -> None:
    """A file that is kept elsewhere, like a checkout, is edited there."""
    kept = Path("/run/checkout/web1.yaml")
    kept.parent.mkdir()
    kept.write_text(FORWARDS)
    host = StandIn("nftables")
    host.network(WEB1)
    with watching():
        link = CONFIG.parent / name
        link.parent.mkdir(exist_ok=True)
        link.with_suffix(".new").symlink_to(kept)
        link.with_suffix(".new").rename(link)
        wait_for(lambda: is_in_force(State(str(STATE)), str(CONFIG)))
        host.start(WEB1)
        wait_for(lambda: published("nftables"))

        if way == "in place":
            kept.write_text("guests: {}\n")
        else:
            put(kept, "guests: {}\n")

        assert is_soon(lambda: not published("nftables"))


@alone
def test_what_it_does_itself_is_no_news() -> None:
    """A lease sets the watch to work once, and its own change not again."""
    host = StandIn("nftables", FORWARDS)
    host.start(WEB1)
    with watching():
        seen, rounds = Inotify(), 0
        seen.add(str(STATE), MOVED_TO)

        lease(WEB1)

        deadline, is_done = time.monotonic() + LIMIT, False
        while time.monotonic() < deadline:
            rounds += f"{STATE}/working" in seen.read()
            if not is_done and published("nftables"):
                deadline, is_done = time.monotonic() + 2, True
            time.sleep(0.005)
        assert (len(published("nftables")), rounds) == (1, 1)


@alone
def test_a_file_where_the_service_may_not_look() -> None:
    """A link into a directory that is closed to the watch, and to no administrator: it
    says so in so many words."""
    kept = Path("/run/private/forwards.yaml")
    kept.parent.mkdir()
    kept.write_text(FORWARDS)
    host = StandIn("nftables")
    CONFIG.unlink()
    CONFIG.symlink_to(kept)
    assert host.apply() == 0
    os.chown(kept.parent, 1000, 0)
    kept.parent.chmod(0o700)

    compile_apart(State(str(STATE)), str(CONFIG), Confined())

    said = (STATE / "broken").read_text().split("\n")
    assert said == ["", "", f"{CONFIG}:1:1: permission denied"]


class Confined(Run):
    """Runs tools as the service does: root, but not past the rights of files."""

    def __call__(self, argv: list[str], text: str = "") -> str:
        less = "--bounding-set=-dac_override,-dac_read_search"
        return super().__call__(["setpriv", less, *argv], text)


@alone
def test_a_damaged_compilation_while_a_listener_has_a_port() -> None:
    """What the watch looks up for a guest that waits for a port may be damaged: it goes
    on, and has that compiled anew."""
    host = StandIn("nftables", FORWARDS)
    host.network(WEB1)
    with socket.create_server(("0.0.0.0", 8080)) as server:
        host.start(WEB1)
        with watching():
            path = STATE / "compiled"
            data = path.read_bytes()
            path.write_bytes(data[:300] + b"\xff" * (len(data) - 300))

            wait_for(lambda: files.read(str(path)) == data)

            server.close()
            wait_for(lambda: published("nftables"))
