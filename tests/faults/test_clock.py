"""Clocks that jump: events are ordered by one that does not, leases expire by one
that does."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from standin import BACKENDS, CONFIG, QUIET, STATE, Guest, alone, ipv4, put

from faults.scenes import WEB0, WEB1, Stage, edit
from vfwhooks.store.records import parse_record

LEASES = Path("/var/lib/libvirt/dnsmasq/virbr0.status")


def lease(guest: Guest, expiry: int) -> None:
    """dnsmasq's file, with one lease."""
    one = {
        "ip-address": ipv4(guest),
        "mac-address": guest.mac,
        "expiry-time": expiry,
    }
    put(LEASES, json.dumps([one]))


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_the_wall_clock_jumps_over_a_lease(backend: str) -> None:
    """A guest that is forwarded to stays so when its lease has suddenly expired."""
    stage = Stage(backend)
    stage.learn()
    stage.host.network(WEB0)
    lease(WEB1, int(time.time()) + 3600)
    called = [stage.host.start(WEB1)]
    lease(WEB1, int(time.time()) - 86_400 * 365)

    called.append(stage.host.call("qemu", "web1", "reconnect", WEB1.xml()))

    assert (called, stage.differs((WEB0, WEB1), "the jump")) == ([QUIET] * 2, [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_stamps_of_another_boot(backend: str) -> None:
    """A state directory that a boot has not taken away has stamps in our future: what
    libvirtd says counts all the same."""
    stage = Stage(backend)
    stage.learn()
    stage.host.event("qemu", "web1", "started", WEB1.xml())
    for path in STATE.glob("guests/qemu/*"):
        known = parse_record(path.read_text())
        known.since, known.stamp = known.since + 10**18, known.stamp + 10**18
        put(path, known.text())

    status = stage.host.apply(WEB0)

    assert (status, stage.differs((WEB0,), "apply")) == (0, [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_configuration_from_the_future(backend: str) -> None:
    """forwards.yaml with a time of tomorrow is compiled like any other."""
    stage = Stage(backend)
    stage.learn(1, 0)
    edit(stage)
    os.utime(CONFIG, (time.time() + 86_400,) * 2)
    time.sleep(0.25)

    called = stage.host.call("qemu", "web0", "reconnect", WEB0.xml())

    assert (called, stage.differs((WEB0,), "the edit")) == (QUIET, [])
