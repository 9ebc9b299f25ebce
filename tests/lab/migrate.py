"""Two hosts side by side, and a guest that moves from one to the other."""

from __future__ import annotations

import subprocess

from .guest import Guest
from .host import Host

ADDRESSES = ("10.99.0.1", "10.99.0.2")


def join(first: Host, second: Host) -> None:
    """A cable between two hosts of different names, who know each other by name."""
    # Run in the first's network but in no box: only here are both process ids known.
    command = ["nsenter", f"--net={first.box.netns}", "ip", "link", "add", "peer0"]
    command += ["type", "veth", "peer", "name", "peer0", "netns", str(second.box.pid)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    names = "".join(
        f"{address} {host.name}\n" for address, host in zip(ADDRESSES, (first, second))
    )
    for address, host in zip(ADDRESSES, (first, second)):
        host.net.ip(f"addr add {address}/24 dev peer0", "link set peer0 up")
        host.write("/etc/hosts", host.read("/etc/hosts") + names)


def migrate(guest: Guest, source: Host, target: Host, timeout: float = 120) -> Guest:
    """Moves a running guest, live; the target's libvirtd must listen on TCP."""
    uri = f"qemu+tcp://{target.name}/system"
    source.virsh("migrate", "--live", guest.uuid, uri, timeout=timeout)
    return guest.moved_to(target.box, target.net)
