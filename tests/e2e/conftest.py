"""Hosts with a real libvirtd for the end-to-end tests, one of each kind a module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from lab.host import Host
from lab.net import Net
from lab.network import default_network
from product import put_in

KINDS: dict[str, Callable[[], AbstractContextManager[Host]]] = {
    "libvirt-9.0-iptables": Host.debian12,
    "libvirt-11.3-nftables": lambda: Host.debian13("nftables"),
    "libvirt-11.3-iptables": lambda: Host.debian13("iptables"),
}


# What is done there depends on libvirt's age or on the backend, and 11.3 with iptables
# is like one of the others; VFWHOOKS_ALL_KINDS=1 asks all three.
TWO_KINDS = ["libvirt-9.0-iptables", "libvirt-11.3-nftables"]
ONE_KIND = TWO_KINDS[1:]
if "VFWHOOKS_ALL_KINDS" in os.environ:
    ONE_KIND = TWO_KINDS = [*KINDS]
_ON_TWO = {
    *("test_absent", "test_addresses", "test_bans", "test_clones", "test_edits"),
    *("test_faults", "test_hairpin", "test_heals", "test_masquerade", "test_networks"),
    *("test_other_bridges", "test_public_ip", "test_refused", "test_return_path"),
    *("test_status", "test_survives", "test_thousand_edits", "test_unanswered"),
    "test_unreached",
    "test_when_stopped",
}


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Leave out a host of the third kind where it tells nothing new."""
    name = metafunc.module.__name__.rpartition(".")[2]
    if "host" in metafunc.fixturenames and name in _ON_TWO:
        mark = pytest.mark.parametrize("host", TWO_KINDS, indirect=True)
        metafunc.definition.add_marker(mark)


@pytest.fixture(scope="module", params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """libvirtd with our hooks and the default network, IPv6 behind NAT as well."""
    with KINDS[request.param]() as host:
        put_in(host)
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        yield host


@pytest.fixture(scope="module")
def outside(host: Host) -> Net:
    """Somebody at 203.0.113.2 and 2001:db8::2, whose gateway is the host (.1, ::1)."""
    return host.outside()
