"""`status --watch --json` on a host of the lab: a line a change, and not one wake-up
while nothing changes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from product import configure, put_in, start_watch, status, stop_watch, vfwhooks

from .conftest import KINDS

_SEEN, _PID = "/tmp/seen", "/run/status.pid"
_PYTHON = f"env PYTHONPATH={Host.CHECKOUT} /usr/bin/python3"
_VFWHOOKS = f"{_PYTHON} -m vfwhooks"
_START = f"{_VFWHOOKS} status --watch --json >{_SEEN} 2>&1 & echo $! >{_PID}"
_END = f"kill $(cat {_PID})"
_TO_ONE_READER = f"({_VFWHOOKS} status --watch --json; echo $? >/tmp/how) | head -n 1"
_DROPS = "{ type filter hook forward priority 0; policy drop; }"
EIGHTY = "guests: {web1: [8080:80]}\n"


@pytest.fixture(scope="module", params=["libvirt-11.3-nftables"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """One kind: who tells of a change is the kernel, or a file."""
    with KINDS[request.param]() as host:
        put_in(host, EIGHTY)
        host.start_libvirtd()
        host.start_network()
        yield host


@pytest.fixture
def web1(host: Host) -> Iterator[Guest]:
    """A guest that does not run yet, and the service."""
    configure(host, EIGHTY)
    start_watch(host)
    guest = host.define_guest("web1")
    yield guest
    stop_watch(host)
    host.call(["virsh", "destroy", "web1"])
    host.call(["virsh", "undefine", "web1"])


@pytest.fixture
def seen(host: Host, web1: Guest) -> Iterator[Callable[[], list[str]]]:
    """Somebody who watches, and what was printed so far: ports with their states."""
    wait_until(lambda: states(status(host)) == ["8080 stopped"], "the first event")
    host.run(["sh", "-c", _START])

    def read() -> list[str]:
        return [
            ", ".join(states(json.loads(line)))
            for line in host.read(_SEEN).splitlines()
        ]

    wait_until(lambda: len(read()) == 1, "the first line")
    yield read
    host.call(["sh", "-c", _END])


def has_come(seen: Callable[[], list[str]], wanted: str) -> bool:
    """Whether the last line says so."""
    return seen()[-1] == wanted


def states(told: dict[str, list[dict[str, str]]]) -> list[str]:
    """Each published port, with the state of its forward."""
    return [f"{row['published']} {row['state']}" for row in told["forwards"]]


def test_a_line_a_change(
    host: Host, web1: Guest, seen: Callable[[], list[str]]
) -> None:
    """An edit, a guest's start, the service's end, a flush of our table, what `apply`
    makes of it, and the guest's stop."""
    configure(host, "guests: {web1: [8081:80]}\n")
    wait_until(lambda: len(seen()) == 2, "the edit")
    host.virsh("start", "web1")
    wait_until(lambda: len(seen()) == 3, "the start")
    stop_watch(host)
    wait_until(lambda: len(seen()) == 4, "the service's end")
    host.run(["nft", "flush", "table", "inet", "vfwhooks"])
    wait_until(lambda: len(seen()) == 5, "the flush")
    vfwhooks(host, "apply")
    wait_until(lambda: len(seen()) == 6, "apply")
    host.virsh("destroy", "web1")
    wait_until(lambda: len(seen()) == 7, "the stop")

    assert seen() == [
        "8080 stopped",
        "8081 stopped",
        "8081 active",
        "8081 active",
        "8081 blocked",
        "8081 active",
        "8081 stopped",
    ]


def test_changes_that_only_the_kernel_tells(
    host: Host, seen: Callable[[], list[str]]
) -> None:
    """Of addresses, of what drops packets, of forwarding, of a guest's interface."""
    configure(host, "guests: {web1: [203.0.113.9:8080:80]}\n")
    host.virsh("start", "web1", "--paused")
    wait_until(lambda: seen()[-1] == "8080 pending", "the start")
    stop_watch(host)
    changes = {
        "ip address add 203.0.113.9/32 dev lo": "active",
        "nft add table ip x": "active",
        f"nft add chain ip x y '{_DROPS}'": "blocked",
        "nft delete table ip x": "active",
        "sysctl -q net.ipv4.ip_forward=0": "blocked",
        "sysctl -q net.ipv4.ip_forward=1": "active",
        "ip link set dev vnet0 nomaster": "blocked",
        "ip link set dev vnet0 master virbr0": "active",
    }
    vnet = re.findall(r"vnet\d+", host.virsh("domiflist", "web1"))[0]

    for change, state in changes.items():
        host.run(["sh", "-c", change.replace("vnet0", vnet)])
        wanted = f"8080 {state}"
        wait_until(partial(has_come, seen, wanted), change)

    # The end of the service is a change of its own, of no forward.
    told = [line for line, _ in groupby(seen()) if line != "8080 stopped"]
    assert told[told.index("8080 pending") :] == [
        "8080 pending",
        *(
            f"8080 {s}"
            for s in changes.values()
            if s == "blocked"
            for s in ("active", s)
        ),
        "8080 active",
    ]


def test_nothing_happens_while_nothing_happens(
    host: Host, seen: Callable[[], list[str]]
) -> None:
    """Not one wake-up in five seconds."""
    wait_until(lambda: rests(host), "the end of what has set off the last look")
    before = switches(host)

    time.sleep(5)

    assert (switches(host) - before, len(seen())) == (0, 1)


def test_a_reader_who_ends(host: Host) -> None:
    """Nobody reads any more: it ends, though nothing has changed, without a word."""
    done = host.call(["sh", "-c", _TO_ONE_READER], timeout=30)

    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
    assert host.read("/tmp/how") == "0\n"


def rests(host: Host) -> bool:
    """Whether the watching process is not woken up for two seconds."""
    before = switches(host)
    time.sleep(2)
    return switches(host) == before


def switches(host: Host) -> int:
    """How often the watching process has been woken up so far."""
    words = host.read(f"/proc/{host.read(_PID).strip()}/status").split()
    return int(words[words.index("voluntary_ctxt_switches:") + 1])
