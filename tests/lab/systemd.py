"""systemd on a host of the lab: the first process of a pid namespace inside the box.

It has a cgroup of its own and starts no unit by itself. What it runs sees the host's
files and network; the host's other processes are not under it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .box import Done, wait_until
from .host import Host

_PID_FILE = "/run/lab/systemd.pid"
_ENTER = """\
set -eu
groups=/run/lab/cgroup/vfwhooks-lab
mkdir -p /run/lab/cgroup
mount -t cgroup2 cgroup /run/lab/cgroup
mkdir -p $groups
# What a test that was killed has left.
find $groups -mindepth 1 -depth -type d -exec rmdir {} ';' 2>/dev/null || :
mkdir "$groups/$1"
(
    echo 0 >"$groups/$1/cgroup.procs"
    exec setsid unshare --cgroup --mount --pid --fork --kill-child sh /run/lab/boot.sh
) </dev/null >/var/log/systemd.log 2>&1 &
"""
_BOOT = """\
set -eu
# Its number on the host: /proc is still the host's.
read -r pid _ </proc/self/stat
echo "$pid" >/run/lab/systemd.pid
mount -t proc proc /proc
# The state directory knows processes by number: none here is to have one of the host's.
echo 100000 >/proc/sys/kernel/ns_last_pid
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs lab /etc/systemd/system
mkdir -p /run/systemd/journal
: >/run/systemd/journal/dev-log
mount --bind /dev/log /run/systemd/journal/dev-log
printf '[Unit]\\nDefaultDependencies=no\\n' >/etc/systemd/system/lab.target
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
export container=lab
exec /usr/lib/systemd/systemd --unit=lab.target --log-target=console --show-status=no
"""
_LEAVE = """\
kill -KILL "$(cat /run/lab/systemd.pid)"
until find "$1" -depth -type d -exec rmdir {} ';' 2>/dev/null && [ ! -e "$1" ]; do
    sleep 0.05
done
rmdir "${1%/*}" 2>/dev/null || : another host has one
"""


@dataclass(frozen=True)
class Systemd:
    """A running systemd, by its process id on the host."""

    host: Host
    pid: str

    def call(self, *command: str) -> Done:
        """Runs a command among what systemd runs."""
        spaces = ["--mount", "--pid", "--cgroup"]
        return self.host.call(["nsenter", "--target", self.pid, *spaces, *command])

    def run(self, *command: str) -> str:
        """The output of a command among what systemd runs, which must succeed."""
        return self.call(*command).check()

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit)[:-1]

    def log(self) -> str:
        """What systemd has said."""
        return self.host.read("/var/log/systemd.log")


@contextmanager
def start_systemd(host: Host) -> Iterator[Systemd]:
    """systemd on the host, for a `with` block."""
    host.write("/run/lab/boot.sh", _BOOT)
    name = str(host.box.pid)
    host.run(["sh", "-c", _ENTER, "sh", name])
    wait_until(lambda: host.read(_PID_FILE), "systemd is started")
    systemd = Systemd(host, host.read(_PID_FILE).strip())
    try:
        wait_until(
            lambda: systemd.call("systemctl", "list-units").status == 0,
            lambda: f"systemd answers:\n{systemd.log()}",
        )
        yield systemd
    finally:
        host.run(["sh", "-c", _LEAVE, "sh", f"/run/lab/cgroup/vfwhooks-lab/{name}"])
