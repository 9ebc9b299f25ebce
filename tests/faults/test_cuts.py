"""Which connections an edit of forwards.yaml cuts, in the kernel's own table."""

from __future__ import annotations

import re

import pytest
from standin import BACKENDS, Guest, StandIn, alone, ipv4, run

WEB0 = Guest("web0", 10)
CLIENT, HOST = "203.0.113.2", "203.0.113.1"


def connect(published: int, target: int, protocol: str = "tcp") -> None:
    """Somebody outside is connected to the guest by a forward."""
    argv = ["conntrack", "-I", "-p", protocol, "-t", "600", "-s", CLIENT, "-d", HOST]
    argv += ["-r", ipv4(WEB0), "-q", CLIENT]
    argv += ["--sport", f"{30000 + published}", "--dport", f"{published}"]
    argv += ["--reply-port-src", f"{target}"]
    argv += ["--reply-port-dst", f"{30000 + published}"]
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
