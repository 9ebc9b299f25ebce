"""Many guests at once, with everybody else at work: nothing lost, nothing doubled.

The long form: VFWHOOKS_CROWD=200 guests.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from oracle import expected
from standin import (
    BACKENDS,
    QUIET,
    STATE,
    Called,
    Guest,
    StandIn,
    alone,
    ipv4,
    kernel,
)

from faults.scenes import published
from faults.watched import watching

CROWD = int(os.environ.get("VFWHOOKS_CROWD", "24"))
PATIENCE = 120  # seconds for a deadlock to show; a loaded machine is none


def forwards(guests: list[Guest], shift: int) -> str:
    """Two ports for each guest."""
    return "guests:\n" + "".join(
        f"  {g.name}: [{8000 + g.number + shift}:80, {20000 + g.number}:53/udp]\n"
        for g in guests
    )


@contextmanager
def again_and_again(*acts: Callable[[], object], pause: float = 0.05) -> Iterator[None]:
    """Each act over and over beside what the block does; a failure is ours."""
    is_over = threading.Event()
    failed: list[BaseException] = []

    def repeat(act: Callable[[], object]) -> None:
        try:
            while not is_over.is_set():
                act()
                time.sleep(pause)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failed.append(error)

    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert failed == []


class Crowd:
    """The guests, and whom libvirtd would name as running."""

    def __init__(self, backend: str) -> None:
        self.guests = [Guest(f"guest{n}", 10 + n) for n in range(CROWD)]
        self.host = StandIn(backend, forwards(self.guests, 0))
        self.host.network(*self.guests)
        self.alive: dict[str, Guest] = {}
        self.edits = 0
        self.longest = 0.0

    def call(self, guest: Guest, operation: str) -> Called:
        """One hook; libvirtd knows who runs before it is called."""
        begun = time.monotonic()
        if operation == "started":
            self.alive[guest.name] = guest
        else:
            self.alive.pop(guest.name)
        called = self.host.call(
            "qemu", guest.name, operation, guest.xml(), limit=PATIENCE
        )
        self.longest = max(self.longest, time.monotonic() - begun)
        return called

    def all(self, operation: str) -> list[Called]:
        """The same hook for everybody at once."""
        with ThreadPoolExecutor(CROWD) as pool:
            return list(
                pool.map(lambda guest: self.call(guest, operation), self.guests)
            )

    def apply(self) -> None:
        self.host.apply(*list(self.alive.values()))

    def edit(self) -> None:
        """Every other edit is the first again; each is left alone for long enough to
        be taken."""
        time.sleep(0.5)
        self.edits += 1
        text = forwards(self.guests, 1000 * (self.edits % 2))
        self.host.configure(text, settle=False)

    def restart_network(self) -> None:
        """Its hooks, as net-destroy and net-start call them."""
        xml = Path("/run/libvirt/network/default.xml")
        text = xml.read_text()
        told = text[text.index("<network>") : text.index("</network>")]
        told = f"<hookData>{told}</network></hookData>"
        for operation in ("stopped", "started"):
            called = self.host.call(
                "network", "default", operation, told, limit=PATIENCE
            )
            assert called == QUIET


@alone
def test_a_dry_run_while_events_are_noted() -> None:
    """`apply --dry-run` tells what apply would do, whoever writes something down."""
    host = StandIn("nftables", "guests:\n  web1: [8080:80]\n")
    web1 = Guest("web1", 11)
    host.network(web1)
    host.start(web1)

    def note() -> None:
        for number in range(50):
            (STATE / "tmp" / f"{number}").touch()
        for number in range(50):
            (STATE / "tmp" / f"{number}").unlink()

    with again_and_again(note, pause=0):
        done = {host.apply(web1, options=["--dry-run"]) for _ in range(40)}

    assert (done, host.said.getvalue()) == ({0}, "")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_crowd(backend: str, measured: Callable[[str, float], None]) -> None:
    """Started and stopped at once, while apply, watch, edits and a network's restarts
    go on: each has its ports in the end, and then nobody has any."""
    longest, late = alone(play)(backend)

    measured("guests started", CROWD)
    measured("longest hook in seconds", longest)
    measured("hooks that came to their deadline", late)


def play(backend: str) -> tuple[float, int]:
    """On a host of its own; how long the longest hook took, and how many had to leave
    their event to the next."""
    crowd = Crowd(backend)
    empty_handed = crowd.host.call("qemu", "idle", "stopped")
    before = kernel(backend)
    sys.setswitchinterval(0.001)

    with watching():
        with again_and_again(crowd.apply, crowd.edit, crowd.restart_network):
            started = crowd.all("started")
        crowd.host.configure(forwards(crowd.guests, 7))
        crowd.apply()
        running = published(backend)
        with again_and_again(crowd.apply, crowd.restart_network):
            stopped = crowd.all("stopped")
        crowd.apply()
        after = kernel(backend)

    addresses = {guest.name: [ipv4(guest)] for guest in crowd.guests}
    assert {empty_handed, *started, *stopped} == {QUIET}
    assert running == expected(forwards(crowd.guests, 7), addresses)
    assert after == before
    places = "guests/*/*", "intents/*", "spool/*"
    assert [path for one in places for path in STATE.glob(one)] == []
    late = sum("hook failed" in line for line in crowd.host.syslog())
    return crowd.longest, late
