"""`status --watch --json` on a host of the lab: a line a change, and not one wake-up
while nothing changes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

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


def states(told: dict[str, list[dict[str, str]]]) -> list[str]:
    """Each published port, with the state of its forward."""
    return [f"{row['published']} {row['state']}" for row in told["forwards"]]


def test_a_line_a_change(
    host: Host, web1: Guest, seen: Callable[[], list[str]]
) -> None:
    """An edit, a guest's start, a flush of our table, what `apply` makes of it, and the
    guest's stop."""
    configure(host, "guests: {web1: [8081:80]}\n")
    wait_until(lambda: len(seen()) == 2, "the edit")
    host.virsh("start", "web1", "--paused")
    wait_until(lambda: len(seen()) == 3, "the start")
    stop_watch(host)
    host.run(["nft", "flush", "table", "inet", "vfwhooks"])
    wait_until(lambda: len(seen()) == 4, "the flush")
    vfwhooks(host, "apply")
    wait_until(lambda: len(seen()) == 5, "apply")
    host.virsh("destroy", "web1")
    wait_until(lambda: len(seen()) == 6, "the stop")

    assert seen() == [
        "8080 stopped",
        "8081 stopped",
        "8081 active",
        "8081 blocked",
        "8081 active",
        "8081 stopped",
    ]


def test_nothing_happens_while_nothing_happens(
    host: Host, seen: Callable[[], list[str]]
) -> None:
    """Not one wake-up in five seconds."""
    time.sleep(2)  # what has set off the last look
    before = switches(host)

    time.sleep(5)

    assert (switches(host) - before, len(seen())) == (0, 1)


def test_a_reader_who_ends(host: Host) -> None:
    """Nobody reads any more: it ends, though nothing has changed, without a word."""
    done = host.call(["sh", "-c", _TO_ONE_READER], timeout=30)

    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
    assert host.read("/tmp/how") == "0\n"


def switches(host: Host) -> int:
    """How often the watching process has been woken up so far."""
    words = host.read(f"/proc/{host.read(_PID).strip()}/status").split()
    return int(words[words.index("voluntary_ctxt_switches:") + 1])
