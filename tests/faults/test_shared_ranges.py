"""Guests of a pattern with a range, and a service of the host that comes between their
starts, or goes: the range stays with the guest that was first."""

from __future__ import annotations

import socket

import pytest
from standin import BACKENDS, Guest, StandIn, alone, ipv4

from faults.scenes import published

WEB0, WEB1 = Guest("web0", 10), Guest("web1", 11)
FORWARDS = "guests: {}\npatterns:\n  web*: ['5000-5010:5000-5010', 8080]\n"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_before", [True, False])
@alone
def test_a_service_in_a_range(backend: str, is_before: bool) -> None:
    """Without the service's port the range has other parts for one of the two guests:
    who comes later has none of them."""
    host = StandIn(backend, FORWARDS)
    host.network(WEB0, WEB1)
    with socket.socket() as service:
        service.bind(("0.0.0.0", 5005))
        if is_before:
            service.listen()
        host.apply(WEB0)
        before = published(backend)
        if is_before:
            service.close()
        else:
            service.listen()

        host.event("qemu", "web1", "started", WEB1.xml())

        found = published(backend)
    ports = {one.port for one in before} - {8080}
    wanted = {*range(5000, 5011)} - ({5005} if is_before else set())
    assert (ports, {one.address for one in found}) == (wanted, {ipv4(WEB0)})
