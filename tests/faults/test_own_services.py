"""Services of the host on a published port: who was first has the port, on the address
of libvirt's bridge and elsewhere, whether guests run or not."""

from __future__ import annotations

import re
import socket
from contextlib import suppress

import pytest
from standin import (
    BACKENDS,
    CONFIG,
    STATE,
    Guest,
    StandIn,
    alone,
    kernel,
    run,
)

from faults.scenes import published
from vfwhooks.diagnosis.overview import look
from vfwhooks.store.state import State

WEB0, WEB1 = Guest("web0", 10), Guest("web1", 11)
PLACE = "192.168.122.1", 8080
REJECTED = "guests:\n  web0: {ports: ['8080:80'], when_stopped: reject}\n"
PATTERN = "guests: {}\npatterns: {web*: ['8080:80']}\n"


def serve(address: str = PLACE[0]) -> socket.socket:
    """A service, on the bridge's address unless told otherwise."""
    service = socket.create_server((address, PLACE[1]))
    service.settimeout(1)
    return service


def is_served(service: socket.socket) -> bool:
    """Whether a client of this host's gets to the service."""
    with suppress(OSError), socket.create_connection(PLACE, timeout=0.3) as client:
        client.sendall(b"1")
        with service.accept()[0] as connection:
            return connection.recv(1) == b"1"
    return False


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_of_a_guest_whose_port_stays_rejected(backend: str) -> None:
    """The service has been there before: it is served before the guest's first start,
    while it runs, and when it has stopped; a full sync makes no difference."""
    host = StandIn(backend, REJECTED)
    host.network(WEB0)
    with serve() as service:
        host.apply()
        served = [is_served(service)]
        host.event("qemu", WEB0.name, "started", WEB0.xml())
        served.append(is_served(service))
        found = [kernel(backend)]
        host.apply(WEB0)
        full = [kernel(backend)]
        host.event("qemu", WEB0.name, "stopped")
        served.append(is_served(service))
        found.append(kernel(backend))
        host.apply()
        full.append(kernel(backend))

    assert (served, found) == ([True] * 3, full)


LISTED = """guests:
  web0:
    ports: [{published: 8080, target: 80, allow_from: [10.0.0.0/8]}]
"""


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_of_a_guest_whose_port_is_to_stay_rejected(backend: str) -> None:
    """The service has come after the guest, and the file's edit after both: a client
    that may not connect to the guest does not get to the service either."""
    host = StandIn(backend, LISTED)
    host.network(WEB0)
    host.apply(WEB0)
    with serve("0.0.0.0") as service:
        served = [is_served(service)]
        host.configure(f"{LISTED}    when_stopped: reject\n")
        host.apply(WEB0)
        served.append(is_served(service))

    assert served == [False] * 2


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_beside_two_guests_of_a_pattern(backend: str) -> None:
    """The service has come after the first guest, which has the port there, too; a
    second guest, which has none of it, does not give it to the service."""
    host = StandIn(backend, PATTERN)
    host.network(WEB0, WEB1)
    host.apply(WEB0)
    with serve() as service:
        served = [is_served(service)]
        host.event("qemu", WEB1.name, "started", WEB1.xml())
        served.append(is_served(service))
        host.apply(WEB0, WEB1)
        served.append(is_served(service))

    assert served == [False] * 3


DNS = """guests:
  web0: ['192.168.122.1:53:53/udp', '192.168.122.1:54:54/udp']
"""


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_what_is_never_forwarded(backend: str) -> None:
    """DNS on the bridge's address: status does not call active what leads nowhere."""
    host = StandIn(backend, DNS)
    host.network(WEB0)
    host.apply(WEB0)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        for port in (53, 54):
            client.sendto(b"1", (PLACE[0], port))

    led = re.findall(r"dport=(\d+) .*src=192.168.122.10 ", run("conntrack", "-L"))
    rows = look(State(str(STATE)), str(CONFIG)).forwards
    states = {row.published: row.state for row in rows}
    assert (led, states) == (["54"], {"53": "conflict", "54": "active"})


LOOPBACK = """guests:
  web0: {ports: [22, '127.0.0.1:8080:80'], when_stopped: reject}
"""
LAB = (
    "<hookData><network><name>lab</name><forward mode='nat'/><bridge name='virbr1'/>"
    "<ip address='192.168.100.1' netmask='255.255.255.0'/></network></hookData>"
)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_on_loopback_after_the_forward(backend: str) -> None:
    """The guest keeps what was in force first, whatever network comes then, and though
    its ports stay rejected while it is off."""
    host = StandIn(backend, LOOPBACK)
    host.network(WEB0)
    with socket.create_server(("0.0.0.0", 22)):
        host.apply(WEB0)
        before = published(backend)
        with serve("127.0.0.1"):
            host.event("network", "lab", "started", LAB)
            host.event("qemu", WEB0.name, "reconnect", WEB0.xml())

    assert before and published(backend) == before
