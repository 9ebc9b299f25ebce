"""Which connections an edit of forwards.yaml cuts, in the kernel's own table."""

from __future__ import annotations

import fcntl
import re
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from standin import BACKENDS, STATE, Guest, StandIn, alone, ipv4, run

from vfwhooks.reconcile import conntrack_cleanup, reconciler
from vfwhooks.store.records import GuestEvent
from vfwhooks.store.state import State
from vfwhooks.values.guests import Guest as Theirs

WEB0 = Guest("web0", 10)
CLIENT, HOST = "203.0.113.2", "203.0.113.1"


def connect(
    published: int, target: int, protocol: str = "tcp", guest: Guest = WEB0
) -> None:
    """Somebody outside is connected to the guest by a forward."""
    argv = ["conntrack", "-I", "-p", protocol, "-t", "600", "-s", CLIENT, "-d", HOST]
    argv += ["--sport", f"{30000 + published}", "--dport", f"{published}"]
    argv += ["--dst-nat", f"{ipv4(guest)}:{target}"]
    state = ["--state", "ESTABLISHED"] if protocol == "tcp" else []
    run(*argv, *state, "-u", "SEEN_REPLY,ASSURED")


def connected() -> list[str]:
    """The published ports to which somebody is connected still."""
    listed = run("conntrack", "-L")
    return sorted(re.findall(rf"dst={HOST} sport=\d+ dport=(\d+)", listed))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("'8080:80'", f"'{HOST}:8080:80'"),
        (f"'{HOST}:8080:80'", "'8080:80'"),
        (f"'8080:80', '{HOST}:8080:80'", f"'{HOST}:8080:80'"),
        (f"'8080:80', '{HOST}:8080:80'", "'8080:80'"),
        ("'8080-8090:8080-8090'", "'8080-8099:8080-8099'"),
        ("'8080-8090:8080-8090'", "8080"),
    ],
)
@alone
def test_a_connection_that_another_entry_forwards_as_well(
    backend: str, before: str, after: str
) -> None:
    """A range that grows, a port that is bound to the address it is used by: where the
    edit leads a connection to the same port of the same guest, it lives on."""
    host = StandIn(backend, f"guests:\n  web0: [{before}, '9090:90']\n")
    host.network(WEB0)
    host.start(WEB0)
    connect(8080, 8080 if "-" in before else 80)
    connect(9090, 90)
    both = connected()
    host.configure(f"guests:\n  web0: [{after}]\n")

    host.apply(WEB0)

    assert (both, connected()) == (["8080", "9090"], ["8080"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"'{HOST}:8080:80', '8080:80'", f"'{HOST}:8080:81', '8080:80'"),
        ("'8080:80'", "'203.0.113.9:8080:80'"),
        ("'8080-8090:8080-8090'", "'8079-8090:8078-8089'"),
    ],
)
@alone
def test_a_connection_that_leads_elsewhere_now(
    backend: str, before: str, after: str
) -> None:
    """The entries that are left have the port, and another way for it."""
    host = StandIn(backend, f"guests:\n  web0: [{before}]\n")
    host.network(WEB0)
    host.start(WEB0)
    connect(8080, 8080 if "-" in before else 80)
    host.configure(f"guests:\n  web0: [{after}]\n")

    host.apply(WEB0)

    assert connected() == []


TAKEN_OVER = {
    "a port": f"  web1: ['{HOST}:8080:80/udp']\n",
    "a range": f"  web1: ['{HOST}:8070-8080:8070-8080/udp']\n",
    "a whole address": f"  web1: {{public_ip: {HOST}}}\n",
    "an address without its ports": f"  web1: {{public_ip: {HOST}, ports: [22]}}\n",
    "a port of a guest that is off": f"  off: {{ports: ['{HOST}:8080:80/udp'], "
    "when_stopped: reject}\n",
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", TAKEN_OVER)
@alone
def test_a_flow_whose_address_is_another_guests_now(backend: str, what: str) -> None:
    """It went by a port on every address; a port on one address goes before it, and the
    client that keeps sending gets there. TCP lives on, and so does what is forwarded
    as before."""
    forwards = "guests:\n  web0: ['8080:80/udp', '8081:80/udp', '8080:80']\n"
    host = StandIn(backend, forwards)
    other = Guest("web1", 11)
    host.network(WEB0, other)
    host.start(WEB0)
    host.start(other)
    connect(8080, 80, "udp")
    connect(8081, 80, "udp")
    connect(8080, 80)
    before = connected()
    host.configure(forwards + TAKEN_OVER[what])

    host.apply(WEB0, other)

    is_whole = "public_ip" in TAKEN_OVER[what]
    assert before == ["8080", "8080", "8081"]
    assert connected() == (["8080"] if is_whole else ["8080", "8081"])


OTHERS = [Guest(f"web{number}", 10 + number) for number in (1, 2, 3)]
FOUR = "guests:\n" + "".join(f"  web{n}: ['{8080 + n}:80']\n" for n in range(4))


def four(backend: str) -> StandIn:
    """Four guests run, and somebody is connected to each."""
    host = StandIn(backend, FOUR)
    host.network(WEB0, *OTHERS)
    for number, guest in enumerate((WEB0, *OTHERS)):
        host.start(guest)
        connect(8080 + number, 80, guest=guest)
    return host


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_guests_that_stop_together(backend: str) -> None:
    """Their connections are found in one look; the one that runs on keeps its own."""
    host = four(backend)
    before = connected()
    for guest in OTHERS[:-1]:
        theirs = Theirs("qemu", guest.name, "", [])
        stopped = GuestEvent("stopped", theirs, time.monotonic_ns())
        State(str(STATE)).note(stopped)

    host.event("qemu", OTHERS[-1].name, "stopped")

    assert len(before) == 4
    assert connected() == ["8080"]


@alone
def test_more_connections_than_there_is_time_for() -> None:
    """The log has it; nobody is held up by them a second time."""
    host = four("nftables")

    with patch.object(reconciler, "_CUTTING", -1.0):
        said = host.event("qemu", "web0", "stopped")

    later = host.event("qemu", "web1", "stopped")
    assert [line for line in said if line.startswith("conntrack: there are too many")]
    assert not [line for line in later if line.startswith("conntrack: ")]
    assert connected() == ["8080", "8082", "8083"]


def killed_over(host: StandIn, guest: Guest) -> None:
    """A stop that ends in the middle of cutting connections."""
    with (
        patch.object(conntrack_cleanup, "cut", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        host.event("qemu", guest.name, "stopped")


@alone
def test_what_one_was_killed_over() -> None:
    """The next one does it, ahead of its own event."""
    host = four("nftables")
    killed_over(host, WEB0)
    before = connected()

    host.event("qemu", "idle", "stopped")

    assert len(before) == 4
    assert connected() == ["8081", "8082", "8083"]


@alone
def test_what_several_were_killed_over() -> None:
    """Nobody tries it again, whose event would wait for it."""
    host = four("nftables")
    killed_over(host, WEB0)
    (note,) = (STATE / "cuts").iterdir()
    State(str(STATE)).try_again(f"cuts/{note.name}")

    said = host.event("qemu", "web1", "stopped")

    assert [line for line in said if line.endswith("tried it: it is left undone")]
    assert connected() == ["8080", "8082", "8083"]
    assert list((STATE / "cuts").iterdir()) == []


@alone
def test_an_event_that_comes_late_to_what_is_left() -> None:
    """Whoever has waited for the lock until there is no time takes a little for it."""
    host = four("nftables")
    killed_over(host, WEB0)

    with patch.object(reconciler, "_LEFT_BEHIND", -1.0):
        said = host.event("qemu", "web1", "stopped")

    assert not [line for line in said if "conntrack" in line]
    assert connected() == ["8082", "8083"]


@alone
def test_a_defect_while_connections_are_cut() -> None:
    """The lock is given back."""
    host = four("nftables")

    killed_over(host, WEB0)

    with Path(f"{STATE}/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@alone
def test_an_address_that_is_written_in_another_way() -> None:
    """Connections are compared by what an address is."""
    text = (
        "guests:\n  web0: {ports: [8080:80], address: '::192.168.9.9', public_ip: %s}\n"
    )
    host = StandIn("nftables", text % "'2001:db8::7'")
    run("ip", "addr", "add", "2001:db8::1/64", "dev", "virbr0", "nodad")
    run("ip", "addr", "add", "2001:db8::7/64", "dev", "virbr0", "nodad")
    host.start(WEB0)
    argv = ["conntrack", "-I", "-p", "tcp", "-t", "600", "--state", "ESTABLISHED"]
    argv += ["-s", "::192.168.9.9", "-d", "2001:db8:1::1", "--sport", "40000"]
    argv += ["--dport", "443", "--src-nat", "2001:db8::7", "-u", "SEEN_REPLY,ASSURED"]
    run(*argv)
    before = run("conntrack", "-L", "-f", "ipv6")

    said = host.event("qemu", "web0", "stopped")

    assert "dport=443" in before
    assert run("conntrack", "-L", "-f", "ipv6") == ""
    assert said == ["web0: stopped, nothing is forwarded"]
