"""Hosts where libvirt has no network at all, and guests are on a bridge of the host's
own: nothing of libvirt's is in the way, and nothing is said to be missing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from product import CONFIG, call_hook, configure, published, put_in, status, vfwhooks

from e2e.conftest import KINDS

MAC = "52:54:00:aa:00:61"
URLS = "http://203.0.113.1:8080/", "http://[2001:db8::1]:8080/"
FORWARDS = """guests:
  inner: {ports: [8080:80], bridge: br-nat, address: [10.9.0.61, "fd00:9::61"]}
"""
XML = f"""<domain type='qemu'><name>inner</name><uuid>{uuid.uuid4()}</uuid><devices>
  <interface type='bridge'><mac address='{MAC}'/><source bridge='br-nat'/></interface>
</devices></domain>"""


@pytest.fixture(scope="module", params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """libvirtd with our hooks; the bridge is the administrator's."""
    with KINDS[request.param]() as host:
        put_in(host, FORWARDS)
        host.start_libvirtd()
        host.net.ip(
            "link add br-nat type bridge",
            "addr add 10.9.0.1/24 dev br-nat",
            "addr add fd00:9::1/64 dev br-nat nodad",
            "link set br-nat up",
        )
        forwarding = "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"
        host.run(["sysctl", "-w", *forwarding])
        yield host


@pytest.fixture(scope="module")
def outside(host: Host) -> Iterator[Net]:
    """Somebody outside, and a guest's stand-in that has started and serves."""
    outside = host.outside()
    inner = host.standin(
        "inner", "10.9.0.61/24", "fd00:9::61/64", mac=MAC, bridge="br-nat"
    )
    inner.ip("route add default via 10.9.0.1", "route add default via fd00:9::1")
    host.write("/run/libvirt/qemu/inner.pid", "")
    with inner.serve_tcp(80):
        call_hook(host, "qemu", "inner", "started", "begin", "-", xml=XML)
        yield outside


def outcomes(outside: Net) -> list[str]:
    """What becomes of a connection by IPv4, and by IPv6."""
    return [outside.http(url).outcome.value for url in URLS]


def test_served(host: Host, outside: Net) -> None:
    """In both families, by nf_tables; no table of libvirt's is missed, neither in the
    log nor by status, explain or doctor. From the stop on it is refused, and purge
    leaves nothing."""
    wait_until(lambda: outcomes(outside) == ["answered"] * 2, "both families")
    rows = [(row["state"], row["reason"]) for row in status(host)["forwards"]]
    tables = host.run(["nft", "list", "tables"]).split()
    backend = status(host)["backend"]
    codes = [vfwhooks(host, *one).status for one in (["status"], ["explain", "inner"])]
    doctor = vfwhooks(host, "doctor").stdout
    missed = host.syslog("missing")

    call_hook(host, "qemu", "inner", "stopped", "end", "-", xml=XML)
    stopped = outcomes(outside), published(host)
    vfwhooks(host, "purge").check()
    after = host.run(["nft", "list", "tables"])

    assert (rows, backend, codes) == ([("active", "")] * 2, "nftables", [0, 0])
    assert ("libvirt_network" in tables, missed) == (False, [])
    assert "missing" not in doctor
    assert (stopped, after) == ((["refused"] * 2, set()), "")


LAN = """guests:
  inner:
    ports: [8080:80, 9000:80]
    bridge: br-lan
    address: 203.0.113.61
"""


def test_the_lan(host: Host, outside: Net) -> None:
    """A bridge that the LAN is a port of: check says that there is no need, a service
    on the host's address keeps its port, and who is on the LAN is answered by way of
    the host."""
    host.net.ip(
        "link add br-lan type bridge",
        "addr flush dev outside scope global",
        "link set outside master br-lan",
        "addr add 203.0.113.1/24 dev br-lan",
        "link set br-lan up",
        "route add default via 203.0.113.2 dev br-lan",
    )
    configure(host, LAN)
    inner = host.standin("lan", "203.0.113.61/24", mac=MAC, bridge="br-lan")
    xml = XML.replace("br-nat", "br-lan")
    with inner.serve_tcp(80), host.net.serve_tcp(9000, "203.0.113.1"):
        call_hook(host, "qemu", "inner", "started", "begin", "-", xml=xml)
        urls = [f"http://203.0.113.1:{port}/" for port in (8080, 9000)]
        bodies = [outside.http(url).body for url in urls]
        rows = [row["state"] for row in status(host)["forwards"]]
        said = vfwhooks(host, "check").stderr.splitlines()
    call_hook(host, "qemu", "inner", "stopped", "end", "-", xml=xml)
    host.net.ip("link del br-lan")

    what = "br-lan has the address by which the world knows the host"
    why = f"{what}: on the LAN the guest is reached at its own, without forwards"
    assert (bodies, rows) == (
        ["lan 80 203.0.113.1", f"{host.name} 9000 203.0.113.2"],
        ["active", "conflict"],
    )
    assert f"{CONFIG}:4:13: warning: {why}" in said
