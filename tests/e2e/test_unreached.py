"""Interfaces of real guests that are on no network of libvirt's: status says of each
what is true of it."""

from __future__ import annotations

from lab.host import Host
from lab.machine import Machine
from product import configure, status, vfwhooks

CARDS = """
<interface type='bridge'>
  <mac address='52:54:00:aa:00:31'/><source bridge='br-nat'/>
</interface>
<interface type='user'><mac address='52:54:00:aa:00:32'/></interface>
<interface type='udp'>
  <mac address='52:54:00:aa:00:33'/>
  <source address='127.0.0.1' port='11115'><local address='127.0.0.1' port='11116'/>
  </source>
</interface>
<interface type='ethernet'>
  <mac address='52:54:00:aa:00:34'/><target dev='odd0'/>
</interface>
"""
SAID = (
    "interface 52:54:00:aa:00:31: bridge br-nat is the host's own, not a network of "
    "libvirt's: on the LAN the guest is reached at its own address, without forwards; "
    "behind NAT, write bridge: br-nat",
    "interface 52:54:00:aa:00:32 (user network) cannot be forwarded to: user network; "
    "passt's portForward does that",
    "interface 52:54:00:aa:00:33 (udp) cannot be forwarded to: a tunnel to another "
    "process; an interface of type network can be",
    "interface 52:54:00:aa:00:34 (ethernet) cannot be forwarded to: its device is "
    "whoever's who made it; forward there, or plug it into a network of libvirt's",
)


def test_every_kind(host: Host) -> None:
    """From the hook's XML and from libvirt's status file alike, which `apply` and the
    service read."""
    configure(host, "guests:\n  odd: [8080:80]\n")
    host.net.ip("link add br-nat type bridge", "addr add 10.9.0.1/24 dev br-nat")
    host.net.ip("link set br-nat up")
    xml = Machine("odd").xml().replace("</devices>", f"{CARDS}</devices>")
    host.virsh("create", "/dev/stdin", input=xml)

    said = [row["reason"] for row in status(host)["forwards"]]
    vfwhooks(host, "apply")
    again = [row["reason"] for row in status(host)["forwards"]]
    host.virsh("destroy", "odd")
    host.net.ip("link del br-nat")

    assert (said, again) == (["; ".join(SAID)], ["; ".join(SAID)])
