"""The libvirt daemon of a box: its configuration and its life."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .box import Box, wait_until
from .cache import LabError

PID_FILE = "/run/libvirtd.pid"

# Guests run as root and unconfined, for there is no AppArmor and no cgroup tree
# in a box. QEMU writes the console itself: no virtlogd is needed.
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""

LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
auth_tcp = "none"
listen_tls = 0
listen_tcp = 1
log_level = 3
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

# libvirt 11.3 wants a checksum action on a DHCP network's bridge; where the
# kernel has none, only that action is skipped.
TC_PROBE = """\
tc qdisc add dev lo root handle 1: htb default 2 &&
tc filter add dev lo prio 1 protocol ip parent 1: u32 match ip sport 67 ffff \
    action csum ip and udp
status=$?
tc qdisc del dev lo root
exit $status
"""
TC_SHIM = """\
#!/bin/sh
case "$*" in *'action csum'*) exit 0 ;; esac
exec /usr/sbin/tc "$@"
"""


@dataclass(frozen=True)
class Libvirtd:
    """Starts and ends one libvirtd; everything else goes through virsh."""

    box: Box

    def configure(self, firewall_backend: str = "") -> None:
        """Writes the configuration; a backend only where libvirt knows the choice."""
        etc = self.box.path("/etc/libvirt")
        (etc / "qemu.conf").write_text(QEMU_CONF)
        (etc / "libvirtd.conf").write_text(
            f'{LIBVIRTD_CONF}host_uuid = "{uuid.uuid4()}"\n'
        )
        if firewall_backend:
            (etc / "network.conf").write_text(
                f'firewall_backend = "{firewall_backend}"\n'
            )
            if self.box.call(["sh", "-c", TC_PROBE]).status != 0:
                shim = self.box.path("/usr/local/sbin/tc")
                shim.write_text(TC_SHIM)
                shim.chmod(0o755)

    def start(self, arguments: Sequence[str] = ()) -> None:
        """Starts the daemon; waits until it answers and has its guests in hand again.

        libvirtd answers before it has reconnected to its guests. Who destroys a guest
        in between ends it, and hears "domain is not running" all the same.
        """
        self.box.call(["libvirtd", "-d", *arguments]).check()
        wait_until(
            lambda: self.box.call(["virsh", "-q", "uri"]).status == 0,
            lambda: f"libvirtd answers; its log:\n{self.log()}",
        )
        wait_until(
            self._has_reconnected,
            lambda: f"libvirtd has reconnected to its guests; its log:\n{self.log()}",
        )

    def _has_reconnected(self) -> bool:
        """Whether no running guest is busy; one that has died is none of them."""
        running = self.box.call(["virsh", "-q", "list", "--uuid"]).check().split()
        states = [self.box.call(["virsh", "-q", "domcontrol", u]) for u in running]
        return all(s.status != 0 or s.stdout.strip() == "ok" for s in states)

    def pid(self) -> str:
        """The daemon's process id inside the box, "" when it is not running."""
        try:
            pid = self.box.path(PID_FILE).read_text().strip()
        except FileNotFoundError:
            return ""
        return pid if self.box.call(["kill", "-0", pid]).status == 0 else ""

    def signal(self, name: str) -> None:
        """Sends the running daemon a signal."""
        pid = self.pid()
        if not pid:
            raise LabError("libvirtd is not running")
        self.box.call(["kill", f"-{name}", pid]).check()

    def stop(self) -> None:
        """Ends the daemon and waits for its end; guests and dnsmasq go on."""
        self.signal("TERM")
        wait_until(lambda: not self.pid(), "libvirtd ends")

    def log(self) -> str:
        """What the daemon logged, warnings and errors."""
        path: Path = self.box.path("/var/log/libvirt/libvirtd.log")
        return path.read_text(errors="replace") if path.exists() else ""
