"""arrivals: who is told by the host where its gateway is."""

from __future__ import annotations

import pytest

from unit.builders import MAC, OTHER_MAC, Host, at, guest, network, nic, record
from vfwhooks.config.port_mappings import Settings
from vfwhooks.reconcile.arrivals import probe_arrival
from vfwhooks.reconcile.desired_state import DesiredState
from vfwhooks.reconcile.guest_addresses import Endpoint
from vfwhooks.values.guests import Guest
from vfwhooks.values.published import Address


class Probed(Host):
    """A host that keeps whom it has probed."""

    def probe(self, bridge: str, address: Address, mac: str = "") -> None:
        self.asked.append(f"probe {bridge} {address} {mac}")


def probed(of: Guest, *addresses: str, seen: str = "") -> list[str]:
    """Whom the host probes for a guest at these addresses; it has seen this MAC at one
    of them."""
    host = Probed(network(), holders={("virbr0", "192.168.122.10"): seen})
    endpoint = Endpoint(at(*addresses), [network()], "")
    probe_arrival(DesiredState(record(of), Settings(), endpoint), host)
    return [one for one in host.asked if one.startswith("probe")]


@pytest.mark.parametrize("seen", ["", MAC])
def test_a_guest_that_has_arrived(seen: str) -> None:
    """It is probed at its address, known to the host or not."""
    found = probed(guest(), "192.168.122.10", seen=seen)

    assert found == [f"probe virbr0 192.168.122.10 {MAC}"]


def test_an_address_of_another_guest() -> None:
    """What the host has seen there stays: the answer would be another's."""
    assert probed(guest(), "192.168.122.10", seen=OTHER_MAC) == []


def test_a_guest_with_two_interfaces() -> None:
    """Each address by the interface whose network it is on."""
    nics = [nic(OTHER_MAC, network="other", bridge="virbr1"), nic()]

    found = probed(guest(nics=nics), "192.168.122.10", "fd00:9::9")

    assert found == [f"probe virbr0 192.168.122.10 {MAC}"]


def test_a_guest_whose_address_is_not_known() -> None:
    """Nothing is asked."""
    assert probed(guest()) == []
