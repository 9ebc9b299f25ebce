"""reserve: which address of which interface is to be kept."""

from __future__ import annotations

from unit.builders import MAC, OTHER_MAC, Host, guest, network, nic, refusal
from vfwhooks.cli.reserve import reserve_guest
from vfwhooks.libvirt.client import Answer
from vfwhooks.values.errors import VfwError

LEASES = {("virbr0", MAC): [(9, "192.168.122.101"), (8, "192.168.122.102")]}


def reserve(*asked: object) -> bool:
    """A libvirtd that has none of them yet, and refuses one."""
    if asked[0] == "plain":
        raise VfwError("network plain has no DHCP")
    return True


def test_every_interface_with_an_address() -> None:
    """The newest lease of each; one that has no address is passed over, and what
    libvirtd refuses is told beside what was done."""
    plain = network("plain", "virbr9", subnets=[("192.168.9.1", "192.168.9.0/24")])
    neighbours = {("virbr9", OTHER_MAC): ["192.168.9.5"]}
    host = Host(network(), plain, leases=LEASES, neighbours=neighbours)
    nics = [nic(), nic(OTHER_MAC, network="plain"), nic("52:54:00:00:00:12")]

    done = reserve_guest("web1", Answer((guest(nics=nics),), ()), host, reserve)

    line = f"web1: 192.168.122.101 is reserved now for {MAC} on network default"
    assert done == ([line], ["web1: network plain has no DHCP"])


def test_by_uuid_and_again() -> None:
    """A second time says that it was there."""
    running = guest()
    host = Host(network(reservations={MAC: ["192.168.122.10"]}))

    done = reserve_guest(running.uuid, Answer((running,), ()), host, lambda *_: False)

    line = f"web1: 192.168.122.10 was reserved already for {MAC} on network default"
    assert done == ([line], [])


def test_an_interface_that_is_on_no_network_of_ours() -> None:
    """The reason is the same as status gives."""
    answer = Answer((guest(nics=[nic(kind="direct")]),), ())

    said = refusal(reserve_guest, "web1", answer, Host(), reserve)

    lan = "is reached without forwards, at its own address on the LAN"
    why = f"interface {MAC} (direct) {lan}"
    assert said == f"web1: no address to reserve: {why}"
