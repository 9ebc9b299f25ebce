"""Services of the host on a published port: who was first has the port, on the address
of libvirt's bridge and elsewhere, whether guests run or not."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
    wait_for,
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


OF_THE_LINK = """guests:
  web0:
    ports: [53/udp, {published: 8080, protocol: udp, allow_from: [10.0.0.0/8]}]
    address: [192.168.122.10, "fd00:122::10"]
"""
LINK = "fe80::53"
_ASK = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
    asking.settimeout(5)
    asking.connect((sys.argv[1], int(sys.argv[2]), 0, socket.if_nametoindex("eth0")))
    try:
        asking.send(b"1")
        print(asking.recv(9).decode())
    except OSError as error:
        print(error)
"""


@contextmanager
def neighbour() -> Iterator[list[str]]:
    """Another guest on the bridge, with nothing but the address that every interface
    has; how a command is run there."""
    with subprocess.Popen(["unshare", "-n", "sleep", "1000"]) as inside:
        try:
            of = "/proc/self/ns/net", f"/proc/{inside.pid}/ns/net"
            wait_for(lambda: len({Path(one).readlink() for one in of}) == 2)
            peer = "name", "eth0", "netns", str(inside.pid)
            run("ip", "link", "add", "tap", "type", "veth", "peer", *peer)
            run("ip", "link", "set", "tap", "master", "virbr0", "up")
            its = ["nsenter", "-t", str(inside.pid), "-n"]
            run(*its, "ip", "addr", "add", "fe80::7/64", "dev", "eth0", "nodad")
            run(*its, "ip", "link", "set", "eth0", "up")
            yield its
        finally:
            inside.kill()


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_of_a_link(backend: str) -> None:
    """libvirt's DNS on the address of the bridge's link, which guests hear of by IPv6's
    advertisements: a port on every address does not take it from them, and does not
    refuse them. The kernel would forward nothing from there."""
    host = StandIn(backend, OF_THE_LINK)
    run("ip", "addr", "add", f"{LINK}/64", "dev", "virbr0", "nodad")
    host.apply(WEB0)
    answers = []
    with neighbour() as inside, _answering(53), _answering(8080):
        for port in ("53", "8080"):
            asked = run(*inside, sys.executable, "-c", _ASK, LINK, port)
            answers.append(asked.strip())

    assert answers == ["answer", "answer"]


@contextmanager
def _answering(port: int) -> Iterator[None]:
    """A service on the address of the link that answers, in a process of its own."""
    scope = socket.if_nametoindex("virbr0")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as service:
        service.bind((LINK, port, 0, scope))
        code = (
            "import socket, sys; s = socket.socket(fileno=int(sys.argv[1]))\n"
            "while True: s.sendto(b'answer', s.recvfrom(9)[1])"
        )
        argv = [sys.executable, "-c", code, str(service.fileno())]
        with subprocess.Popen(argv, pass_fds=[service.fileno()]) as answering:
            try:
                yield
            finally:
                answering.kill()


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
