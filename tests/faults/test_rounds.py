"""Many events in one hand: what a holder of the lock finds waiting, and what comes
while he is at work.
"""

from __future__ import annotations

import time
from unittest.mock import patch

import pytest
from oracle import Published, expected
from standin import BACKENDS, CONFIG, STATE, Guest, StandIn, alone, ipv4, kernel, run

from faults.scenes import published
from vfwhooks.firewall import iptables_portions
from vfwhooks.libvirt.client import Answer
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.libvirt.xml import parse_domain
from vfwhooks.reconcile.pending_changes import PendingChanges
from vfwhooks.reconcile.reconciler import Reconciler
from vfwhooks.store import asking
from vfwhooks.store.records import GuestEvent
from vfwhooks.store.state import State
from vfwhooks.values.guests import Guest as TheirGuest
from vfwhooks.values.guests import Network

WEB0, WEB1 = Guest("web0", 10), Guest("web1", 11)
FORWARDS = "guests:\n  web0: [8000:80]\n  web1: [8001:80]\n"


def made(backend: str) -> StandIn:
    """A host on which nobody runs, and somebody has: it needs no full look."""
    host = StandIn(backend, FORWARDS)
    host.network(WEB0, WEB1)
    host.event("qemu", "web0", "started", WEB0.xml())
    host.event("qemu", "web0", "stopped")
    return host


def note(operation: str, guest: Guest) -> None:
    """The event waits for whoever comes next."""
    them = TheirGuest(guest.driver, guest.name, "", [])
    if operation == "started":
        them = parse_domain(guest.xml().encode(), guest.driver)
    State(str(STATE)).note(GuestEvent(operation, them, time.monotonic_ns()))


class Overtaken(Inventory):
    """Looks at a network a moment before it is stopped."""

    is_over = False

    def network(self, name: str) -> Network | None:
        found = super().network(name)
        if not self.is_over:
            self.is_over = True
            state, network = State(str(STATE)), TheirGuest("network", name, "", [])
            state.note_network(name, b"")
            state.note(GuestEvent("network", network, time.monotonic_ns()))
        return found


def come_by(host: StandIn) -> None:
    """Somebody takes the lock whose own event changes nothing."""
    host.event("qemu", "idle", "stopped")


def ports(*guests: Guest) -> set[Published]:
    """What is published while these run."""
    return expected(CONFIG.read_text(), {one.name: [ipv4(one)] for one in guests})


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_two_that_are_the_first_on_their_network(backend: str) -> None:
    """What their network needs is put in once, and the last one leaves nothing."""
    host = made(backend)
    before = kernel(backend)
    note("started", WEB0)
    note("started", WEB1)
    come_by(host)
    while_up = kernel(backend), published(backend)
    host.apply(WEB0, WEB1)
    wanted = kernel(backend)

    note("stopped", WEB0)
    note("stopped", WEB1)
    come_by(host)

    assert while_up == (wanted, ports(WEB0, WEB1))
    assert kernel(backend) == before


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_one_goes_and_another_comes(backend: str) -> None:
    """The network's last guest stops and its next one starts: what the network needs
    stays."""
    host = made(backend)
    host.event("qemu", "web0", "started", WEB0.xml())
    note("stopped", WEB0)
    note("started", WEB1)

    come_by(host)

    found = kernel(backend)
    host.apply(WEB1)
    assert (found, published(backend)) == (kernel(backend), ports(WEB1))


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_network_that_stops_while_somebody_is_at_work(backend: str) -> None:
    """Who has looked at a network and then finds that it has stopped looks again: the
    event is his to carry out, and nobody comes after him."""
    host = made(backend)
    host.event("qemu", "web0", "started", WEB0.xml())
    note("started", WEB1)

    reconcile = Reconciler(
        State(str(STATE)), str(CONFIG), Overtaken(f"{STATE}/networks")
    )
    reconcile.carry_out()
    reconcile.close()

    assert (published(backend), [*STATE.glob("intents/*")]) == (set(), [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_stop_that_had_to_wait(backend: str) -> None:
    """News of a guest's address come behind a stop that could not be carried out yet:
    the guest stays stopped."""
    host = made(backend)
    host.event("qemu", "web0", "started", WEB0.xml())
    note("stopped", WEB0)
    pending = PendingChanges(State(str(STATE)))
    for name, guest_event in State(str(STATE)).guest_events():
        pending.follow(guest_event)
        State(str(STATE)).remove(name)
    pending.postpone()
    State(str(STATE)).ask_full()

    host.moved(WEB0)

    assert (published(backend), [*STATE.glob("guests/*/*")]) == (set(), [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_stop_behind_a_question_to_libvirtd(backend: str) -> None:
    """The guest ran when `apply` asked, and its stop waits for the lock: `apply`
    carries it out, and does not take the guest for one that runs."""
    host = made(backend)
    host.event("qemu", "web0", "started", WEB0.xml())
    state, asked = State(str(STATE)), time.monotonic_ns()
    asking.begin(state)
    answer = Answer((parse_domain(WEB0.xml().encode(), "qemu"),), ("qemu",))
    note("stopped", WEB0)

    reconcile = Reconciler(state, str(CONFIG))
    reconcile.apply(answer, asked)
    reconcile.close()

    assert published(backend) == set()


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_guest_that_nobody_had_heard_of_and_that_stops(backend: str) -> None:
    """It was started without a hook, and stops while `apply` asks libvirtd, which says
    that it runs: it does not."""
    host = made(backend)
    state, asked = State(str(STATE)), time.monotonic_ns()
    asking.begin(state)
    answer = Answer((parse_domain(WEB0.xml().encode(), "qemu"),), ("qemu",))
    host.event("qemu", "web0", "stopped")

    reconcile = Reconciler(state, str(CONFIG))
    reconcile.apply(answer, asked)
    reconcile.close()

    assert published(backend) == set()


class Heir(Guest):
    """A guest with the interface of another."""

    @property
    def uuid(self) -> str:
        return "6b33ec13-96d6-4581-bc2f-38dee79d5ae5"


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_an_address_that_goes_from_one_to_another(backend: str) -> None:
    """One guest stops and the next one starts with its address: that one is let in."""
    host = made(backend)
    host.event("qemu", "web0", "started", WEB0.xml())
    heir = Heir("web1", WEB0.number)
    note("stopped", WEB0)
    note("started", heir)

    come_by(host)

    found = kernel(backend)
    host.apply(heir)
    assert found == kernel(backend)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_the_log_says_why_everything_is_checked(backend: str) -> None:
    """Each reason for a full sync, but for `apply`, which its caller knows of."""
    host = StandIn(backend, FORWARDS)
    host.network(WEB0, WEB1)
    said = [host.event("qemu", "web0", "started", WEB0.xml())]
    (STATE / "working").touch()
    said.append(host.event("qemu", "idle", "stopped"))
    (STATE / "full").touch()
    said.append(host.event("qemu", "idle", "stopped"))
    State(str(STATE)).ask_full("somebody wants it")
    said.append(host.event("qemu", "idle", "stopped"))
    host.configure(FORWARDS.replace("8001", "8002"))
    said.append(host.event("qemu", "idle", "stopped"))
    if backend == "nftables":
        run("nft", "flush", "chain", "inet", "vfwhooks", "prerouting")
    else:
        run("iptables", "-F", "FORWARD")
    said.append(host.event("qemu", "web0", "reconnect", WEB0.xml()))
    said.append(host.event("qemu", "idle", "stopped"))

    why = [[one for one in lines if "everything" in one] for lines in said]
    assert why == [
        ["checking everything: it is the first since the host's start"],
        ["checking everything: whoever was at work has been ended"],
        ["checking everything: it was asked for"],
        ["checking everything: somebody wants it"],
        ["checking everything: forwards.yaml has changed"],
        ["checking everything: our base ruleset is not as it was left"],
        [],
    ]


@alone
def test_very_many_rules_come_and_go_in_portions() -> None:
    """The outcome is what one tool makes; it is the tool that is bounded."""
    host = StandIn("iptables", MANY)
    host.network(WEB0, WEB1)
    found = []
    for operation in ("started", "stopped"):
        with patch.object(iptables_portions, "_MOST", 1):
            note(operation, WEB0)
            note(operation, WEB1)
            State(str(STATE)).ask_full()
            come_by(host)
        found.append((kernel("iptables"), published("iptables")))
        host.watch_looks()
        found.append((kernel("iptables"), found[-1][1]))

    assert (found[0], found[2]) == (found[1], found[3])
    assert (len(found[0][1]), found[2][1]) == (4, set())


MANY = """
guests:
  web0: [8000:80]
  web1: [8001:80, 8002:81, {published: 8003, target: 82, allow_from: [10.0.0.0/8]}]
"""
