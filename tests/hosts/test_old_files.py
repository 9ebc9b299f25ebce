"""What old libvirt leaves on disk: a network's XML alone, and dnsmasq's own leases."""

from __future__ import annotations

import time

from lab.box import wait_until
from product import start_watch, states, stop_watch

from .recorded import NETWORK, NETWORK_XML, RecordedHost, leases_file

FORWARDS = "guests:\n  web1: [8080:80]\n"


def test_reservation_in_the_networks_xml(recorded: RecordedHost) -> None:
    """It wins over a lease, and makes do without one."""
    web1 = recorded.guests["web1"]
    reserved = f"<host mac='{web1.mac.upper()}' name='web1' ip='{web1.net.address}' />"
    xml = NETWORK.replace("</dhcp>", f"{reserved}\n    </dhcp>")
    file = leases_file(recorded.host)
    leases = recorded.host.read(file)
    recorded.host.write(NETWORK_XML, xml)
    recorded.host.write(file, leases.replace(web1.net.address, "192.168.122.99"))
    recorded.configure(FORWARDS)

    recorded.start("web1")
    seen = recorded.ask()
    recorded.stop("web1")
    recorded.host.write(NETWORK_XML, NETWORK)
    recorded.host.write(file, leases)

    assert seen == web1.body


def test_lease_that_comes_later(recorded: RecordedHost) -> None:
    """dnsmasq writes into the file that it keeps open; the watch sees it."""
    web1 = recorded.guests["web1"]
    file = leases_file(recorded.host)
    leases = recorded.host.read(file)
    recorded.host.path(file).write_text("")
    recorded.host.net.ip("neigh flush dev virbr0")
    recorded.configure(FORWARDS)
    start_watch(recorded.host)
    recorded.start("web1")
    before = states(recorded.host)

    line = f"{int(time.time()) + 3600} {web1.mac} {web1.net.address} web1 *\n"
    with recorded.host.path(file).open("a") as leases_open:
        leases_open.write(line)
        leases_open.flush()
        wait_until(lambda: recorded.ask() == web1.body, "the guest")
    stop_watch(recorded.host)
    recorded.stop("web1")
    recorded.host.write(file, leases)

    assert before == {"web1 8080/tcp": "pending"}
