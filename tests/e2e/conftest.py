"""Hosts with a real libvirtd for the end-to-end tests, one of each kind a module."""

from __future__ import annotations

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
