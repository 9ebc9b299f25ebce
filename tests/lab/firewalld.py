"""firewalld on a host, with the message bus it needs."""

from __future__ import annotations

import re

from .box import wait_until
from .host import Host

CONF = "/etc/firewalld/firewalld.conf"


def start_firewalld(host: Host, backend: str = "nftables") -> None:
    """Starts a system bus and firewalld; libvirtd uses them if it starts after.

    Ports of the host are closed from then on, as they are in its default zone.
    """
    conf = host.read(CONF)
    host.write(
        CONF, re.sub(r"(?m)^FirewallBackend=.*$", f"FirewallBackend={backend}", conf)
    )
    host.run(["mkdir", "-p", "/run/dbus"])
    host.run(["dbus-uuidgen", "--ensure"])
    host.run(["dbus-daemon", "--system", "--fork"])
    host.run(["firewalld"])
    wait_until(
        lambda: host.call(["firewall-cmd", "--state"]).status == 0, "firewalld runs"
    )


def end_firewalld(host: Host) -> None:
    """Ends it, and waits until it has taken its rules out."""
    pid = host.read("/run/firewalld.pid").strip()
    host.run(["kill", pid])
    wait_until(lambda: not host.path(f"/proc/{pid}/fd/0").exists(), "firewalld ends")


def reload_firewalld(host: Host) -> None:
    """What an administrator does after a change; libvirt is told by the bus."""
    host.run(["firewall-cmd", "--reload"])
