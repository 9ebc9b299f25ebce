"""What an event costs a hook, and the service, in counts that do not depend on the
machine: programs, system calls, modules, bytes read, transactions. The ceilings are
about half above what was counted when they were written; benchmarks/run measures time.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.bed import IPT, LIB, NFT, Bed, sh
from benchmarks.counting import Counts, trace, trace_service
from benchmarks.guests import Guest, others, plain
from benchmarks.hosts import STARTED, daemon_of, prepare
from benchmarks.lives import OURS, Event, call, peak

GUESTS = 100
MOST_MEMORY = 40 << 10
COLD, CLIENT, SERVICE = "without the service", "its client", "the service"
GATE = Counts(1, 90, 0, 6_000, 0)
RINGS = Counts(2, 500, 4, 60_000, 0)
CEILINGS = {
    (COLD, NFT, "qemu", "prepare"): GATE,
    (COLD, NFT, "network", "port-created"): GATE,
    (COLD, NFT, "qemu", "started"): Counts(2, 2_500, 63, 2_000_000, 2),
    (COLD, NFT, "qemu", "stopped"): Counts(2, 2_500, 63, 2_000_000, 2),
    (COLD, IPT, "qemu", "started"): Counts(2, 2_700, 71, 2_100_000, 1),
    (COLD, IPT, "qemu", "stopped"): Counts(2, 2_700, 71, 2_100_000, 1),
    (CLIENT, NFT, "qemu", "started"): RINGS,
    (CLIENT, NFT, "qemu", "stopped"): RINGS,
    (SERVICE, NFT, "qemu", "started"): Counts(0, 300, 0, 50_000, 2),
    (SERVICE, NFT, "qemu", "stopped"): Counts(0, 300, 0, 50_000, 2),
    (SERVICE, IPT, "qemu", "started"): Counts(0, 300, 0, 50_000, 1),
    (SERVICE, IPT, "qemu", "stopped"): Counts(0, 300, 0, 50_000, 1),
}
# A page of the compiled configuration, and a few names for each list of sources.
SLACK = Counts(0, 40, 0, 45_000, 0)
# The bridges of libvirt, which a socket may be on, the module that lists addresses, and
# a line of the record for each socket. A module and its names are some 30 calls, and a
# tool's pipe is read in two more or fewer; another tool would be hundreds.
OF_SOCKETS = Counts(0, 60, 1, 18_000, 0)
# Two modules, and a block of the file for each port and protocol.
OF_RULES = Counts(0, 90, 2, 60_000, 0)
SOCKETS: list[socket.socket] = []


class Beds(NamedTuple):
    """A host with one guest's 10 forwards, and one with 10,000 of others as well; on
    both `trace` counts what a hook does, or the service where there is one."""

    alone: Bed
    full: Bed
    trace: Callable[[str, Event], Counts]


@pytest.fixture(
    scope="module",
    params=[(backend, who) for backend in (NFT, IPT) for who in (COLD, SERVICE)],
    ids=" ".join,
)
def beds(request: pytest.FixtureRequest) -> Iterator[Beds]:
    """Both hosts."""
    backend, who = request.param
    alone, full = Bed(backend), Bed(backend)
    mine = {Guest(0).name: plain(10)}
    is_served = who == SERVICE
    alone.call(prepare, backend, mine, 0, GUESTS + 1, is_served)
    both = {**mine, **others(GUESTS)}
    full.call(prepare, backend, both, GUESTS, 0, is_served)
    yield Beds(alone, full, trace_service if is_served else trace)
    alone.close()
    full.close()


@pytest.mark.parametrize(("who", "backend", "driver", "operation"), CEILINGS)
def test_no_event_costs_much_more_than_it_did(
    who: str, backend: str, driver: str, operation: str
) -> None:
    """Only gross regressions fail: a module, a program or a dump too many. What the
    service has changed itself gives it nothing to do afterwards."""
    bed = Bed(backend)
    mine = {Guest(0).name: plain(10)}
    bed.call(prepare, backend, mine, 0, 0, who != COLD)
    if operation == "stopped":
        bed.call(call, OURS, Guest(0), daemon_of(backend), STARTED)

    found = bed.call(
        trace_service if who == SERVICE else trace, backend, (driver, operation)
    )

    bed.close()
    ceiling = CEILINGS[who, backend, driver, operation]
    assert excess(found, ceiling) == {}


@pytest.mark.parametrize("operation", ["started", "reconnect", "stopped"])
def test_others_forwards_cost_nothing(beds: Beds, operation: str) -> None:
    """The same event does the same beside 10,000 forwards of others as without."""
    counts = []
    for bed in beds[:2]:
        if operation != "started":
            bed.call(call, OURS, Guest(0), daemon_of(bed.backend), STARTED)
        counts.append(bed.call(beds.trace, bed.backend, ("qemu", operation)))

    alone, full = counts

    ceiling = Counts(*(a + b for a, b in zip(alone, SLACK)))
    assert excess(full, ceiling) == {}


@pytest.mark.parametrize("backend", [NFT, IPT])
def test_sockets_in_a_range_cost_little(backend: str) -> None:
    """What is asked of the kernel about a range's sockets is the same however many
    there are, and nobody looks for whose they are."""
    bed = Bed(backend)
    ports = [*plain(10), "50000-52000/udp"]
    bed.call(prepare, backend, {Guest(0).name: ports}, 0)
    counts = []
    for first, many in ((50000, 0), (50000, 1), (50100, 20)):
        bed.call(open_sockets, first, many)
        counts.append(bed.call(trace, backend, ("qemu", "started")))
        bed.call(call, OURS, Guest(0), daemon_of(backend), ("qemu", "stopped"))

    bed.close()
    none, *some = counts
    ceiling = Counts(*(a + b for a, b in zip(none, OF_SOCKETS)))
    assert [excess(found, ceiling) for found in some] == [{}, {}]


@pytest.mark.parametrize("backend", [NFT, IPT])
@pytest.mark.parametrize("operation", ["started", "stopped"])
def test_rules_of_others_cost_nothing(backend: str, operation: str) -> None:
    """Where 10,000 DNAT rules of others are, an event lists none of them and runs no
    tool more; it reads what was written down of its own ports."""
    bed = Bed(backend)
    bed.call(prepare, backend, {Guest(0).name: plain(10)}, 0)
    counts = []
    for many in (0, 1, 10_000):
        bed.call(put_in_rules, many)
        for once in (STARTED, ("qemu", "stopped")):  # what is news is planned anew
            bed.call(call, OURS, Guest(0), daemon_of(backend), once)
        if operation == "stopped":
            bed.call(call, OURS, Guest(0), daemon_of(backend), STARTED)
        counts.append(bed.call(trace, backend, ("qemu", operation)))
        bed.call(call, OURS, Guest(0), daemon_of(backend), ("qemu", "stopped"))

    bed.close()
    none, *some = counts
    ceiling = Counts(*(a + b for a, b in zip(none, OF_RULES)))
    assert [excess(found, ceiling) for found in some] == [{}, {}]
    assert [excess(some[1], Counts(*(a + 20 for a in some[0])))] == [{}]


def test_memory_beside_others(beds: Beds) -> None:
    """No process of a hook needs more than 40 MB, however many forwards others have."""
    full = beds.full

    found = full.call(peak, OURS, Guest(0), daemon_of(full.backend), STARTED)

    assert found <= MOST_MEMORY


def open_sockets(first: int, many: int) -> None:
    """On the host: wait for strangers on so many ports of udp, as resolvers do."""
    for port in range(first, first + many):
        SOCKETS.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        SOCKETS[-1].bind(("0.0.0.0", port))


def put_in_rules(many: int) -> None:
    """On the host: so many DNAT rules of somebody else's, that the service has read."""
    rules = [f"tcp dport {20000 + n} dnat to 10.0.0.1:80" for n in range(many)]
    hook = "type nat hook prerouting priority -90;"
    chain = "\n".join([f"chain c {{ {hook}", *rules, "}"])
    sh(
        "nft -f -",
        f"table ip site\ndelete table ip site\ntable ip site {{ {chain}\n}}\n",
    )
    state = (
        "from vfwhooks.store.state import State; "
        "from vfwhooks.reconcile.foreign_survey import note_taken"
    )
    sh(f"cd {LIB} && /usr/bin/python3 -c '{state}; note_taken(State())'")
    said = Path("/run/vfwhooks/taken")
    assert said.exists() is (many > 0)


def excess(found: Counts, ceiling: Counts) -> dict[str, tuple[int, int]]:
    """What is above its ceiling: the count, and the ceiling."""
    pairs = zip(Counts._fields, found, ceiling)
    return {name: (count, most) for name, count, most in pairs if count > most}
