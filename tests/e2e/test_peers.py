"""Mistakes that others have made, as tests on real hosts; docs/peers.md lists all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from product import configure, published, ruleset, states

# What the kernel counts by itself.
SYSCTLS = r"""
find /proc/sys/net -type f ! -name '*_count' ! -name flush ! -name '*_secret' \
    -exec grep -H . {} + 2>/dev/null
"""


@pytest.fixture
def web1(host: Host) -> Iterator[Guest]:
    """A guest that does not run yet."""
    host.call(["virsh", "undefine", "web1"])
    web1 = host.define_guest("web1", mac="52:54:00:00:00:23")
    yield web1
    host.call(["virsh", "destroy", "web1"])


def test_edit_while_the_guest_runs_leaves_nothing(host: Host, web1: Guest) -> None:
    """What a guest was given is taken out when it stops, though forwards.yaml does not
    say so any more."""
    configure(host, "guests:\n  web1: [8080:80, 6000-6010]\n")
    web1.start()
    given = len(published(host))

    configure(host, "guests:\n  other: [9090:80]\n")
    web1.destroy()

    assert (given > 0, published(host)) == (True, set())


def test_guest_without_an_entry(host: Host, web1: Guest) -> None:
    """A guest that forwards.yaml does not name starts, lives through a restart of
    libvirtd, and no rule is made for it."""
    configure(host, "guests:\n  other: [9090:80]\n")
    web1.start()
    before = ruleset(host)

    host.restart_libvirtd()
    wait_until(lambda: "web1" in host.virsh("list"), "reconnect")

    state = host.virsh("domstate", "web1").strip()
    assert (state, ruleset(host), published(host)) == ("running", before, set())


def test_host_without_a_default_route(host: Host, web1: Guest) -> None:
    """Which address the host is reached at is nobody's guess: none has to be found."""
    configure(host, "guests:\n  web1: [8080:80]\n")
    routes = host.run(["ip", "route", "show", "default"])

    web1.start()

    assert (routes, states(host)) == ("", {"web1 8080/tcp": "active"})


def test_settings_of_the_kernel_stay(host: Host, web1: Guest) -> None:
    """The host's network settings (bridge-nf-call-iptables, route_localnet and all) are
    what they were before a guest came."""
    configure(host, "guests:\n  web1: [8080:80]\n")
    before = set(host.call(["sh", "-c", SYSCTLS]).stdout.splitlines())

    web1.start()

    after = set(host.call(["sh", "-c", SYSCTLS]).stdout.splitlines())
    assert (len(before) > 100, before - after) == (True, set())
