"""Hosts whose networks are all of mode `open`: libvirt has no rules there, and nothing
is said to be missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.host import Host
from lab.net import Net
from lab.network import default_network, second_network
from product import put_in, vfwhooks

from e2e.conftest import KINDS
from e2e.standins import Standin, check_everything, put_in_force

FORWARDS = """guests:
  web1: {ports: [8080:80], address: [192.168.122.10, "fd00:122::10"]}
"""


@pytest.fixture(scope="module", params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with one network, an open one in both families."""
    with KINDS[request.param]() as host:
        put_in(host)
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True, mode="open"))
        yield host


@pytest.fixture(scope="module")
def outside(host: Host) -> Iterator[Net]:
    """Somebody outside, and a guest that serves."""
    outside = host.outside()
    put_in_force(host, FORWARDS)
    web1 = Standin(host, "web1", 10)
    web1.start()
    with web1.net.serve_tcp(80):
        yield outside
    web1.stop()


BESIDE = [f"inet vfwhooks publish{family} → virbr0" for family in "46"]
THROUGH = [
    f"inet vfwhooks publish{family} → {table} libvirt_network forward → virbr0"
    for family, table in (("4", "ip"), ("6", "ip6"))
]


def explained(host: Host) -> tuple[int, list[str], list[str]]:
    """Exit status, and what is said of the kernel and of the way."""
    done = vfwhooks(host, "explain", "web1")
    lines = [line[2:] for line in done.stdout.splitlines()]
    accepts = [line for line in lines if "ACCEPT" in line or "accept" in line]
    ways = [line[9:] for line in lines if line[:3] == "way"]
    return done.status, [line[9:] for line in accepts], ways


def test_nothing_of_libvirts(host: Host, outside: Net) -> None:
    """Served in both families, by the tables that a host without libvirt's rules gets;
    the way leads through those alone. doctor names no rules of libvirt's either."""
    answered = [
        outside.http(f"http://{address}:8080/").answered
        for address in ("203.0.113.1", "[2001:db8::1]")
    ]
    status, accepts, ways = explained(host)
    doctor = vfwhooks(host, "doctor").stdout.splitlines()

    assert (answered, status, accepts, ways) == ([True, True], 0, [], BESIDE)
    assert [line for line in doctor if line[7:14] == "backend"] == [
        "ok     backend nftables"
    ]


def test_beside_a_network_that_libvirt_shields(host: Host, outside: Net) -> None:
    """Where it has tables for that, the accepts stand there and the way leads through
    them; where it has its rules in iptables, an open network has none to pass."""
    host.start_network(second_network("shielded", 130, "nat", "fd00:130::1/64"))
    check_everything(host)
    status, accepts, ways = explained(host)
    has_tables = "table ip libvirt_network" in host.run(["nft", "list", "tables"])
    backend = host.firewall_backend
    host.virsh("net-destroy", "shielded")

    assert (status, has_tables) == (0, backend == "nftables")
    assert [line for line in accepts if not line.endswith(": there")] == []
    if has_tables:
        assert (len(accepts), ways) == (2, THROUGH)
    else:
        assert "libvirt_network" not in "".join(ways)
