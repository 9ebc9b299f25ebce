"""guests: what libvirt's XML says, as values."""

from __future__ import annotations

import pytest

from unit.builders import fields, network
from vfwhooks.values.guests import Guest, Network, Nic


@pytest.mark.parametrize("mode", ["none", "nat", "route", "open"])
def test_networks_that_libvirt_shields(mode: str) -> None:
    """Isolated, nat, routed and open networks have their guests behind libvirt."""
    assert network(mode=mode).is_ours


@pytest.mark.parametrize("mode", ["bridge", "vepa", "private", "hostdev", "", "nats"])
def test_networks_that_it_does_not_shield(mode: str) -> None:
    """Guests on any other network are reached without us."""
    assert not network(mode=mode).is_ours


def test_what_is_not_known_is_empty() -> None:
    """The least that can be said of an interface and of a network."""
    found = [fields(Nic("m", "user")), fields(Network("n", "b", "nat", [], {}))]

    assert found == [
        {"bridge": "", "device": "", "kind": "user", "mac": "m", "network": ""},
        {
            "backend": "",
            "bridge": "b",
            "mode": "nat",
            "name": "n",
            "reservations": {},
            "subnets": [],
        },
    ]


def test_values_are_kept_as_given() -> None:
    """No argument ends up in another's place."""
    found = fields(Guest("d", "n", "u", [Nic("m", "k", "w", "b", "v")]))

    nic = {"bridge": "b", "device": "v", "kind": "k", "mac": "m", "network": "w"}
    named = {"driver": "d", "name": "n", "uuid": "u", "metadata": ""}
    assert found == {**named, "nics": [nic]}
