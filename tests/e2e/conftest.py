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
# is like one of the others. Where one kind of host tells nearly all, the kinds take
# turns, module by module. VFWHOOKS_ALL_KINDS=1 (and tests/run --long) asks all three.
OLD, NEW, _ = KINDS
TWO_KINDS = [OLD, NEW]
ONE_KIND = [NEW]
_ON_OLD = {"test_bans", "test_edits", "test_faults", "test_hairpin", "test_public_ip"}
_ON_OLD |= {"test_return_path", "test_thousand_edits", "test_when_stopped"}
_ON_OLD |= {"test_addresses", "test_networks", "test_no_networks", "test_peers"}
_ON_NEW = {"test_absent", "test_clones", "test_masquerade", "test_other_bridges"}
_ON_NEW |= {"test_editing", "test_idle", "test_import", "test_import_served"}
_ON_NEW |= {"test_forward_path", "test_loopback", "test_status"}
_ON_NEW |= {"test_unanswered", "test_unreached"}
_ON_TWO = {"test_heals", "test_main_job", "test_open_networks", "test_refused"}
_ON_TWO |= {"test_survives"}
_KINDS_OF = (_ON_OLD, [OLD]), (_ON_NEW, [NEW]), (_ON_TWO, TWO_KINDS)
ASKED = {name: kinds for names, kinds in _KINDS_OF for name in names}
if "VFWHOOKS_ALL_KINDS" in os.environ:
    ONE_KIND = TWO_KINDS = [*KINDS]
    ASKED = {}


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Leave out the kinds of hosts that tell nothing new."""
    name = metafunc.module.__name__.rpartition(".")[2]
    if "host" in metafunc.fixturenames and name in ASKED:
        mark = pytest.mark.parametrize("host", ASKED[name], indirect=True)
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
