"""absent_host_ips: addresses that the host does not have; with real packets:
tests/e2e."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from unit.builders import Host, addresses, forward, guest_forwards, network, place
from vfwhooks.diagnosis.absent_host_ips import find_absent
from vfwhooks.diagnosis.doctor import _absent
from vfwhooks.diagnosis.host_warnings import find_host_warnings
from vfwhooks.store.entry_text import parse_host

BEHIND = "behind a provider's NAT? leave host_ip out"
ELASTIC = f"this host has no address 54.210.1.2; {BEHIND}"


def absent(hosts: list[str], public: list[str], host: Host) -> dict[str, str]:
    """Those where nothing arrives, and why."""
    found = find_absent(map(parse_host, hosts), addresses(*public), host)
    return {str(address): why for address, why in found.items()}


def test_an_address_that_the_host_does_not_have() -> None:
    """Whichever family; each is asked for once."""
    found = absent(["54.210.1.2", "2001:db8::5", "54.210.1.2"], [], Host())

    six = f"this host has no address 2001:db8::5; {BEHIND}"
    assert found == {"54.210.1.2": ELASTIC, "2001:db8::5": six}


def test_an_address_that_is_to_be_a_guests() -> None:
    """It has to be the host's: leaving it out is no cure."""
    found = absent(["54.210.1.2"], ["54.210.1.2"], Host())

    cure = "write the address that it leads to"
    why = f"this host has no address 54.210.1.2; behind a provider's NAT? {cure}"
    assert found == {"54.210.1.2": why}


def test_an_address_of_a_guest() -> None:
    """Whoever writes the guest's own address as host_ip is told whose it is."""
    found = absent(["192.168.122.11"], [], Host(network()))

    what = "192.168.122.11 is an address of guests, on network default"
    cure = "host_ip is the host's; leave host_ip out"
    assert found == {"192.168.122.11": f"{what}, and {cure}"}


@pytest.mark.parametrize(
    ("host", "device", "why"),
    [
        ("203.0.113.5", "eth1", "is eth1 in a VRF?"),
        ("2001:db8::5", "eth1", "is it a duplicate (dadfailed)?"),
    ],
)
def test_an_address_that_is_not_in_use(host: str, device: str, why: str) -> None:
    """`ip addr` shows it, so that it is not said to be missing."""
    found = absent([host], [], Host(devices={host: device}))

    assert found == {host: f"{host} is on {device} and not in use: {why}"}


@pytest.mark.parametrize(
    "host", ["*", "0.0.0.0", "::", "127.0.0.1", "127.9.9.9", "203.0.113.5"]
)
def test_an_address_that_is_there(host: str) -> None:
    """Every address, loopback, and the host's own."""
    assert absent([host], [], Host(local=["203.0.113.5"])) == {}


def test_what_doctor_says() -> None:
    """An address a line, with everybody who is published there."""
    elastic = ip_address("54.210.1.2")
    web1 = guest_forwards("web1", forward("80", host_ip=elastic), forward("81"))
    web2 = guest_forwards("web2", forward("82", host_ip=elastic))

    found = [str(one) for one in _absent([web1, web2], Host())]

    assert found == [f"note   web1, web2: {ELASTIC}"]


def test_what_check_says() -> None:
    """A warning at the forward, with the cure."""
    web1 = guest_forwards("web1", forward(host_ip=ip_address("54.210.1.2")))

    found = [str(problem) for problem in find_host_warnings([web1], Host())]

    assert found == [f"{place()}: warning: {ELASTIC}"]
