"""Who is who: one MAC twice, another name for the same guest, guests that vanish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from oracle import Published, expected
from standin import (
    BACKENDS,
    CONFIG,
    QUIET,
    STATE,
    Guest,
    StandIn,
    alone,
    ipv4,
    kernel,
    run,
)

from faults.scenes import published

FIRST = Guest("first", 10)


class Twin(Guest):
    """A guest with the MAC of another: a copied definition."""

    @property
    def mac(self) -> str:
        return FIRST.mac


TWIN = Twin("second", 11)


def made(backend: str) -> StandIn:
    """A host where `first` runs."""
    host = StandIn(backend, "guests:\n  first: [8001:80]\n  second: [8002:80]\n")
    host.network(FIRST)
    assert host.start(FIRST) == QUIET
    return host


def ports(*names: str) -> set[Published]:
    """What is published for these guests, at the first one's address."""
    text = CONFIG.read_text()
    return expected(text, {name: [ipv4(FIRST)] for name in names})


def is_whole(host: StandIn, *running: Guest) -> bool:
    """Whether the kernel holds what `apply` would put there."""
    before = kernel(host.backend)
    host.apply(*running)
    return before == kernel(host.backend)


def said() -> tuple[dict[str, str], list[str]]:
    """The state of each guest's forward, and the problems, in `status`."""
    from vfwhooks.diagnosis.overview import look
    from vfwhooks.store.state import State

    overview = look(State(str(STATE)), str(CONFIG))
    states = {row.guest: f"{row.state}: {row.reason}" for row in overview.forwards}
    return states, list(overview.problems)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_two_guests_with_one_mac(backend: str) -> None:
    """Who runs longer has the address; status says why the other has nothing, and it
    has all when the first has stopped."""
    host = made(backend)
    called = [host.start(TWIN)]
    first, (states, problems) = published(backend), said()

    called.append(host.stop(FIRST))

    assert is_whole(host, TWIN)
    assert (called, first, problems) == ([QUIET] * 2, ports("first"), [])
    reason = f"conflict: {ipv4(FIRST)} is the address of first"
    assert states == {"first": "active: ", "second": reason}
    assert published(backend) == ports("second")


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_two_guests_with_one_name(backend: str) -> None:
    """forwards.yaml means the guests of all drivers: who runs longer has the ports, and
    the other has them when the first has stopped."""
    host = made(backend)
    container = Guest("first", 20, "lxc")
    host.network(FIRST, container)

    called = [host.start(container)]
    both = published(backend)
    called.append(host.stop(FIRST))

    assert is_whole(host, container)
    assert (called, both) == ([QUIET] * 2, ports("first"))
    assert published(backend) == expected(
        CONFIG.read_text(), {"first": [ipv4(container)]}
    )


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_guest_under_another_name(backend: str) -> None:
    """The same UUID comes under another name, without a word of the old one: it is the
    same guest, and what the old name had is taken out."""
    host = made(backend)
    host.configure("guests:\n  first: [8001:80]\n  renamed: [8003:80]\n")
    renamed = Guest("renamed", 10)

    called = host.start(renamed)

    assert (called, published(backend)) == (QUIET, ports("renamed"))


class TwoCards(Guest):
    """A guest with two interfaces on one network."""

    def xml(self) -> str:
        """The second one has the MAC of `second`."""
        xml = super().xml()
        start, end = "    <interface", "</interface>\n"
        first = xml[xml.index(start) : xml.index(end) + len(end)]
        other = first.replace(self.mac, SECOND.mac).replace("vnet10", "vnet11")
        return xml.replace(first, first + other)


SECOND, TWO = Guest("second", 11), TwoCards("first", 10)
STATUS = Path("/var/lib/libvirt/dnsmasq/virbr0.status")


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_guest_that_answers_by_its_other_card(backend: str) -> None:
    """Linux does so for each address of its own: the forwards stay where they are, and
    nobody is said to have the same machine-id."""
    host = StandIn(backend, "guests:\n  first: [8001:80]\n")
    leases = [
        {"ip-address": ipv4(one), "mac-address": one.mac, "expiry-time": 4_000_000_000}
        for one in (TWO, SECOND)
    ]
    STATUS.write_text(json.dumps(leases))
    host.apply(TWO)
    before = published(backend)
    at = ipv4(TWO), "lladdr", SECOND.mac, "dev", "virbr0", "nud", "reachable"
    run("ip", "neigh", "replace", *at)

    host.apply(TWO)

    assert (before, published(backend)) == (ports("first"), ports("first"))
    assert said()[0] == {"first": "active: "}


class Replaced(Guest):
    """A guest that was defined anew: another UUID."""

    @property
    def uuid(self) -> str:
        return "6b33ec13-96d6-4581-bc2f-38dee79d5ae5"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_full", [False, True])
@alone
def test_another_guest_of_the_same_name(backend: str, is_full: bool) -> None:
    """It comes without a word of the old one, and has the same address: it is let in
    as the old one was."""
    host = made(backend)
    if is_full:
        (STATE / "full").touch()
    replaced = Replaced("first", 10)

    called = host.start(replaced)

    assert (called, published(backend)) == (QUIET, ports("first"))
    assert is_whole(host, replaced)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("uuid", ["x -s 6.6.6.6", "x\ncommit\n", "\u00fc" * 200])
@alone
def test_a_uuid_that_is_none(backend: str, uuid: str) -> None:
    """It does not get among the words of a rule: the guest is served by its name, and
    so is everybody else."""
    host = made(backend)
    xml = Guest("second", 11).xml().replace(Guest("second", 11).uuid, uuid)
    host.network(FIRST, Guest("second", 11))

    called = host.call("qemu", "second", "started", xml)

    both = {"first": [ipv4(FIRST)], "second": [ipv4(Guest("second", 11))]}
    assert (called, published(backend)) == (QUIET, expected(CONFIG.read_text(), both))


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_guest_that_vanishes(backend: str) -> None:
    """No hook said so, and libvirt does not run it: status says so, apply cleans up."""
    host = made(backend)
    Path("/run/libvirt/qemu").mkdir()
    Path("/run/libvirt/qemu/second.pid").touch()
    host.start(Guest("second", 11))
    before = said()

    status = host.apply()

    problem = "first does not run any more, and no hook was called; run vfwhooks apply"
    assert before[1] == [problem]
    assert (status, published(backend), said()[1]) == (0, set(), [])
    assert [*STATE.glob("guests/*/*")] == []
