"""A default route that comes late, as after a boot: until then the host's own address,
and the port of a service there, are not given away."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

import pytest
from standin import STATE, StandIn, alone, run, wait_for

from faults.scenes import WEB0, WEB1, published
from faults.watched import watching
from vfwhooks.libvirt.inventory import Inventory

OWN, SECOND, ELSEWHERE = "203.0.113.1", "203.0.113.7", "198.51.100.1"
OWN6, SECOND6 = "2001:db8::1", "2001:db8::7"
ON_LO = "192.0.2.1"
ADDRESSES = (OWN, SECOND, ELSEWHERE, ON_LO, "127.0.0.1", OWN6, SECOND6)


def uplink(*addresses: str) -> None:
    """An interface to the outside with these addresses, and no route."""
    run("ip", "link", "add", "outside", "type", "veth", "peer", "name", "far")
    for one in ("far", "outside"):
        run("ip", "link", "set", one, "up")
    for address in addresses:
        get(address)


def get(address: str, interface: str = "outside") -> None:
    """The host gets an address."""
    more = ["nodad"] * (":" in address)
    bits = "64" if more else "24"
    run("ip", "addr", "add", f"{address}/{bits}", "dev", interface, *more)


def hosts() -> set[str]:
    """The addresses of the host that the rules in the kernel name."""
    return set(re.findall(r"[\d.]+", run("nft", "list", "ruleset"))) & {*ADDRESSES}


def own(known: bool | None) -> list[str]:
    """The addresses that count as the host's own, if so much was known of each."""
    inventory = Inventory(str(STATE / "networks"))
    return [one for one in ADDRESSES if inventory.is_own(ip_address(one), known)]


@alone
def test_a_default_route_in_a_table_of_its_own() -> None:
    """Where a rule leads an address out by its own table, it may be a guest's."""
    uplink(OWN)
    before = own(None)
    run("ip", "route", "add", "default", "via", "203.0.113.2", "table", "100")
    run("ip", "rule", "add", "from", "203.0.113.0/24", "lookup", "100")

    assert (before, own(None)) == ([OWN], [])


@alone
def test_which_addresses_are_the_hosts_own() -> None:
    """Without a default route those that were so before, else the first of each
    interface; of a family with a default route its source alone."""
    uplink(OWN, SECOND, OWN6, SECOND6)
    run("ip", "link", "add", "more", "type", "bridge")
    get(ELSEWHERE, "more")
    get(ON_LO, "lo")
    cases = None, False, True
    found = [own(known) for known in cases]
    run("ip", "route", "add", "default", "via", "203.0.113.2", "src", SECOND)
    four = [own(known) for known in cases]
    run("ip", "route", "add", "default", "via", "2001:db8::2", "src", OWN6)
    both = [own(known) for known in cases]

    every = [one for one in ADDRESSES if one != "127.0.0.1"]
    six = [one for one in every if ":" in one]
    assert found == [[OWN, ELSEWHERE, OWN6], [], every]
    assert four == [[SECOND, OWN6], [SECOND], [SECOND, *six]]
    assert both == [[SECOND, OWN6]] * 3


@pytest.mark.parametrize("addresses", [(OWN, SECOND), ()])
@alone
def test_the_hosts_own_address(addresses: tuple[str, ...]) -> None:
    """It is not the guest's before the route has come, nor after that; an address that
    the host did not have either was the guest's until it came."""
    host = StandIn("nftables", f"guests:\n  web1: {{public_ip: {OWN}}}\n")
    host.network(WEB1)
    uplink(*addresses)
    with watching():
        host.start(WEB1)
        before = hosts()
        if not addresses:
            get(OWN)
        run("ip", "route", "add", "default", "via", "203.0.113.2")
        wait_for(lambda: f"own {OWN}\n" in (STATE / "guests/qemu/web1").read_text())
        wait_for(lambda: not hosts())

    assert before == (set() if addresses else {OWN})


@alone
def test_a_route_that_changes() -> None:
    """Whichever address is its source is the host's; the other one is the guest's, and
    stays so while there is no route at all."""
    forwards = f"web0: {{public_ip: {OWN}}}\n  web1: {{public_ip: {SECOND}}}"
    host = StandIn("nftables", f"guests:\n  {forwards}\n")
    host.network(WEB0, WEB1)
    uplink(OWN, SECOND)
    with watching():
        host.start(WEB0)
        host.start(WEB1)
        found = [hosts()]
        route = "ip", "route", "replace", "default", "via", "203.0.113.2", "src"
        run(*route, SECOND)
        wait_for(lambda: hosts() == {OWN})
        run("ip", "route", "del", "default")
        host.apply(WEB0, WEB1)
        found.append(hosts())
        run(*route, OWN)
        wait_for(lambda: hosts() == {SECOND})

    assert found == [{SECOND}, {OWN}]


@alone
def test_an_absent_guest() -> None:
    """What is rejected for it is not the host's own address, from the moment that the
    route says which that is."""
    line = f"web1: {{public_ip: {SECOND}, when_stopped: reject}}"
    host = StandIn("nftables", f"guests:\n  {line}\n")
    uplink(OWN, SECOND)
    host.apply()
    with watching():
        before = hosts()
        run("ip", "route", "add", "default", "via", "203.0.113.2", "src", SECOND)
        wait_for(lambda: not hosts())

    assert before == {SECOND}


@alone
def test_a_route_that_goes() -> None:
    """What was the host's or the guest's by it stays so."""
    forwards = f'web0: ["{SECOND}:22:22"]\n  web1: {{public_ip: {OWN}}}'
    host = StandIn("nftables", f"guests:\n  {forwards}\n")
    host.network(WEB0, WEB1)
    uplink(OWN, SECOND)
    run("ip", "route", "add", "default", "via", "203.0.113.2", "src", SECOND)
    with socket.create_server(("0.0.0.0", 22)):
        host.start(WEB0)
        host.start(WEB1)
        before = hosts()
        run("ip", "route", "del", "default")
        host.apply(WEB0, WEB1)

    assert (before, hosts()) == ({OWN}, {OWN})


@pytest.mark.parametrize("addresses", [(OWN, SECOND), ()])
@alone
def test_a_port_of_the_hosts_own(addresses: tuple[str, ...]) -> None:
    """A service on every address keeps its port on the address by which the world knows
    the host, though the guest was planned before the route came, or the address."""
    ports = f'["{OWN}:22:22", "{OWN}:8080:80"]'
    host = StandIn("nftables", f"guests:\n  web1: {ports}\n")
    host.network(WEB1)
    uplink(*addresses)
    with socket.create_server(("0.0.0.0", 22)), watching():
        host.start(WEB1)
        found = [{one.port for one in published("nftables")}]
        if not addresses:
            get(OWN)
        run("ip", "route", "add", "default", "via", "203.0.113.2")
        host.apply(WEB1)
        found.append({one.port for one in published("nftables")})

    assert found == [{8080}, {8080}]


@alone
def test_a_host_that_never_has_a_route() -> None:
    """Its further addresses are guests' at once, and their ports as well; the first one
    is if the file says so."""
    word = "public_ip_of_host: true"
    forwards = f"web0: {{public_ip: {OWN}, {word}}}\n  web1: [{SECOND}:22:22]"
    host = StandIn("nftables", f"guests:\n  {forwards}\n")
    host.network(WEB0, WEB1)
    uplink(OWN, SECOND)
    with socket.create_server(("0.0.0.0", 22)):
        host.start(WEB1)
        host.start(WEB0)

    assert hosts() == {OWN, SECOND}
