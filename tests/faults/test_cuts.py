"""Which connections an edit of forwards.yaml cuts, in the kernel's own table."""

from __future__ import annotations

import re
import time
from unittest.mock import patch

import pytest
from standin import BACKENDS, STATE, Guest, StandIn, alone, ipv4, run

from vfwhooks import flows, hook
from vfwhooks.model import Guest as Theirs
from vfwhooks.records import Intent
from vfwhooks.state import State

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
@pytest.mark.parametrize("a_look", [0, flows._A_LOOK])
def test_guests_that_stop_together(backend: str, a_look: int) -> None:
    """Their connections are found one guest after the other, or all at once; the one
    that runs on keeps its own."""

    @alone
    def play() -> None:
        host = four(backend)
        before = connected()
        for guest in OTHERS[:-1]:
            theirs = Theirs("qemu", guest.name, "", [])
            stopped = Intent("stopped", theirs, time.monotonic_ns())
            State(str(STATE)).note(stopped)

        with patch.object(flows, "_A_LOOK", a_look):
            host.event("qemu", OTHERS[-1].name, "stopped")

        assert len(before) == 4
        assert connected() == ["8080"]

    play()


@alone
def test_more_connections_than_there_is_time_for() -> None:
    """The log has it; nobody is held up by them a second time."""
    host = four("nftables")

    with patch.object(hook, "_SPARE", 2 * hook.DEADLINE):
        said = host.event("qemu", "web0", "stopped")

    later = host.event("qemu", "web1", "stopped")
    assert [line for line in said if line.startswith("conntrack: there are too many")]
    assert not [line for line in later if line.startswith("conntrack: ")]
    assert connected() == ["8080", "8082", "8083"]
