"""The service keeps news that it cannot act upon at once; and what is no news does not
set it to work."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from standin import CONFIG, STATE, Guest, StandIn, alone, kernel, run, wait_for

from faults.scenes import WEB0, WEB1, published
from faults.watched import serving
from vfwhooks.config import last_good
from vfwhooks.service import daemon, guest_news
from vfwhooks.store.state import State

FORWARDS = "guests:\n  web1: [8080:80]\n"


@alone
def test_elements_that_go_while_somebody_has_the_lock() -> None:
    """They are put back when the lock is free, though the service has given it up."""
    host = StandIn("nftables", FORWARDS)
    host.network(WEB1)
    host.start(WEB1)
    before = published("nftables")
    with patch.object(daemon, "_PATIENCE", 0.2), serving() as service:
        service.rest()
        with State(str(STATE)).lock():
            run("nft", "flush", "map", "inet", "vfwhooks", "dnat4_any")
            time.sleep(1)

        wait_for(lambda: published("nftables") == before)


BY_INTERFACE = """guests:
  web1: [{published: 8080, target: 80, host_ip: {interface: out0}}]
"""
SLOW = f"{last_good._CHILD}; import time; time.sleep(1.5)"


@alone
def test_an_address_that_moves_while_an_edit_is_compiled() -> None:
    """The child has read the former one: another child follows."""
    host = StandIn("nftables", BY_INTERFACE)
    run("ip", "link", "add", "out0", "type", "bridge")
    run("ip", "link", "set", "out0", "up")
    run("ip", "addr", "add", "203.0.113.1/24", "dev", "out0")
    host.network(WEB1)
    host.start(WEB1)
    with patch.object(last_good, "_CHILD", SLOW), serving() as service:
        service.rest()
        host.configure(f"{BY_INTERFACE}  web0: [81]\n")
        wait_for(lambda: last_good.is_in_force(State(str(STATE)), str(CONFIG)))

        run("ip", "addr", "add", "203.0.113.2/24", "dev", "out0")
        run("ip", "addr", "del", "203.0.113.1/24", "dev", "out0")
        run("ip", "addr", "replace", "203.0.113.2/24", "dev", "out0")

        wait_for(lambda: "203.0.113.2" in " ".join(kernel("nftables")))


@contextmanager
def looking() -> Iterator[None]:
    """The service, which looks for listeners all the time."""
    with patch.object(guest_news, "_LISTENER_CHECK", 0.2), serving():
        yield


def is_calm(host: StandIn) -> bool:
    """Whether the service checks nothing for a while: ten looks for listeners."""
    host.syslog()
    time.sleep(2)
    return not any("checking everything" in line for line in host.syslog())


CLAIMED = """guests:
  web1: {ports: [22, '127.0.0.1:8080:80'], when_stopped: reject}
"""


@alone
def test_a_service_that_comes_on_loopback() -> None:
    """A port of loopback is rejected for no guest: who listens there is no news."""
    host = StandIn("nftables", CLAIMED)
    host.network(WEB1)
    with socket.create_server(("0.0.0.0", 22)):
        host.start(WEB1)
        with looking(), socket.create_server(("127.0.0.1", 8080)):
            wait_for(lambda: is_calm(host))


METADATA = 'metadata: {guests: "*", ports: 1-65535}\nguests: {}\n'


def start(host: StandIn, guest: Guest, *ports: int) -> None:
    """A guest starts that publishes these ports by its metadata."""
    some = (
        f"<portForward proto='tcp'><range start='{p}'/></portForward>" for p in ports
    )
    element = f"<forwards xmlns='urn:vfwhooks:forwards:1'>{''.join(some)}</forwards>"
    end = "</uuid>\n"
    xml = guest.xml().replace(end, f"{end}<metadata>{element}</metadata>")
    host.event("qemu", guest.name, "started", xml)


@alone
def test_services_on_ports_of_two_guests_metadata() -> None:
    """What an earlier guest's metadata has does not become free when the later guest is
    looked at alone."""
    host = StandIn("nftables", METADATA)
    host.network(WEB0, WEB1)
    with socket.create_server(("0.0.0.0", 22)), socket.create_server(("0.0.0.0", 81)):
        start(host, WEB0, 22, 80)
        start(host, WEB1, 22, 81, 82)
        with looking():
            wait_for(lambda: is_calm(host))
