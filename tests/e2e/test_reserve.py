"""reserve: the address that a guest has by lease becomes its own for good."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.guest import Guest
from lab.host import Host
from lab.network import Network, default_network
from product import put_in, states, vfwhooks

MAC = "52:54:00:aa:00:01"  # has no reservation


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """libvirt 9.0: nothing here depends on the firewall."""
    with Host.debian12() as host:
        put_in(host, "guests:\n  web1: [8080:80]\n")
        host.start_libvirtd()
        host.start_network(default_network())
        yield host


@pytest.fixture(scope="module")
def web1(host: Host) -> Iterator[Guest]:
    """A running guest with a lease."""
    guest = host.define_guest("web1", mac=MAC).start(wait=True)
    yield guest
    guest.destroy()


def reservation(host: Host, *which: str) -> list[str]:
    """The network's reservation for the guest, as it runs or as it is defined."""
    xml = host.virsh("net-dumpxml", "default", *which)
    return [line.strip() for line in xml.split("\n") if MAC in line]


def test_lease_becomes_reservation(host: Host, web1: Guest) -> None:
    """It stands in the network as it runs and as it is defined, the forward follows
    it without `watch`, and a second time nothing is done."""
    first = vfwhooks(host, "reserve", "web1")
    state = states(host)
    again = vfwhooks(host, "reserve", "web1")

    line = [f"<host mac='{MAC}' ip='{web1.address}'/>"]
    where = f"for {MAC} on network default\n"
    assert (reservation(host), reservation(host, "--inactive")) == (line, line)
    assert (first.status, first.stdout, first.stderr) == (
        0,
        f"web1: {web1.address} is reserved now {where}",
        "",
    )
    assert (again.status, again.stdout) == (
        0,
        f"web1: {web1.address} was reserved already {where}",
    )
    assert state == {"web1 8080/tcp": "active"}


def test_half_a_reservation(host: Host, web1: Guest) -> None:
    """One that is there only until the network stops is made to last."""
    vfwhooks(host, "reserve", "web1")
    (line,) = reservation(host)
    host.virsh("net-update", "default", "delete", "ip-dhcp-host", line, "--config")

    done = vfwhooks(host, "reserve", "web1")

    assert (done.status, reservation(host, "--inactive")) == (0, [line])


def test_somebody_elses_address(host: Host, web1: Guest) -> None:
    """An address that is reserved for another MAC is nobody's to take."""
    for line in reservation(host):
        host.virsh(
            "net-update",
            *("default", "delete", "ip-dhcp-host", line, "--live", "--config"),
        )
    taken = f"<host mac='52:54:00:aa:00:09' ip='{web1.address}'/>"
    host.virsh("net-update", "default", "add", "ip-dhcp-host", taken, "--config")

    done = vfwhooks(host, "reserve", "web1")
    host.virsh("net-update", "default", "delete", "ip-dhcp-host", taken, "--config")

    cure = "virsh net-update NETWORK delete ip-dhcp-host removes a reservation"
    what = f"{web1.address} is reserved for 52:54:00:aa:00:09 on network default"
    said = f"vfwhooks: web1: {what} ({cure})\n"
    assert (done.status, done.stderr, reservation(host)) == (1, said, [])


def test_guest_that_does_not_run(host: Host) -> None:
    """A guest that is off has no address to keep."""
    host.define_guest("off")

    done = vfwhooks(host, "reserve", "off")

    said = "vfwhooks: off is not running\n  virsh list shows who runs\n"
    assert (done.status, done.stdout, done.stderr) == (1, "", said)


def test_no_address_known(host: Host) -> None:
    """A guest that nobody has seen yet."""
    guest = host.define_guest("silent", mac="52:54:00:aa:00:02", options=NOBODY)
    guest.start()

    done = vfwhooks(host, "reserve", "silent")
    guest.destroy()

    why = "no reservation, lease or neighbour for 52:54:00:aa:00:02 on virbr0 (IPv4)"
    said = f"vfwhooks: silent: no address to reserve: {why}\n"
    assert (done.status, done.stdout, done.stderr) == (1, "", said)


NOBODY = ["vfw.eth0=none"]


def test_network_without_dhcp(host: Host) -> None:
    """Where libvirt gives out no addresses, it can reserve none."""
    host.start_network(
        Network(name="plain", bridge="virbr9", address="192.168.159.1/24", dhcp=None)
    )
    mac = "52:54:00:aa:00:03"
    guest = host.define_guest("fixed", mac=mac, network="plain", options=NOBODY)
    guest.start()
    host.net.ip(f"neigh add 192.168.159.5 lladdr {mac} dev virbr9 nud stale")

    done = vfwhooks(host, "reserve", "fixed")
    guest.destroy()

    cure = "set the address inside the guest"
    said = f"vfwhooks: fixed: network plain has no DHCP ({cure})\n"
    assert (done.status, done.stdout, done.stderr) == (1, "", said)
