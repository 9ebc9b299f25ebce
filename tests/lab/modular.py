"""Stand-ins for libvirt's modular daemons, which the distributions here do not have.

Each is a process of that name with its file of a process number. At SIGHUP it looks for
the daemon hook and calls it, as libvirt's do, unless it is told that it may not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .box import wait_until
from .host import HOOKS, Host

_DAEMON = """
import os, signal, subprocess, sys
name, may_run = sys.argv[1], sys.argv[2] == "yes"
hook = sys.argv[3] + "/daemon"
open("/proc/self/comm", "w").write(name)
signal.signal(signal.SIGHUP, lambda *_: None)
open(f"/run/{name}.pid", "w").write(f"{os.getpid()}\\n")
while True:
    signal.pause()
    if may_run and os.access(hook, os.X_OK):
        subprocess.run([hook, "-", "reload", "begin", "SIGHUP"])
"""


_LISTENER = """
import os, socket, subprocess, sys, time
name, hooks = sys.argv[1:]
os.makedirs("/run/libvirt", exist_ok=True)
open(f"/run/libvirt/{name}-sock", "w")
link = socket.socket(socket.AF_UNIX)
link.bind(f"/run/libvirt/{name}-sock-ro")
link.listen()
while True:
    client = link.accept()[0]
    open("/var/log/woken", "a").write(f"{name}\\n")
    if not os.path.exists(f"/run/{name}.pid"):
        daemon = ["/usr/bin/python3", "/run/lab/daemon.py", name, "yes", hooks]
        subprocess.Popen(daemon, start_new_session=True)
        while not os.path.exists(f"/run/{name}.pid"):
            time.sleep(0.01)
    client.close()
"""


@contextmanager
def awaited(host: Host, name: str) -> Iterator[None]:
    """A daemon that is started when somebody connects, as systemd does it, for as long
    as the block takes; who connected is in /var/log/woken."""
    host.write("/run/lab/daemon.py", _DAEMON)
    host.write("/run/lab/listener.py", _LISTENER)
    command = f"setsid /usr/bin/python3 /run/lab/listener.py {name} {HOOKS}"
    pid = host.run(["sh", "-c", f"{command} >/dev/null 2>&1 & echo $!"]).strip()
    socket = host.path(f"/run/libvirt/{name}-sock-ro")
    wait_until(socket.exists, "somebody listens")
    try:
        yield
    finally:
        host.run(["sh", "-c", f"kill {pid} $(cat /run/{name}.pid); rm /run/{name}.pid"])


@contextmanager
def running(
    host: Host, names: Sequence[str], refused: Sequence[str] = ()
) -> Iterator[None]:
    """These daemons, for as long as the block takes; the `refused` run no hook."""
    host.write("/run/lab/daemon.py", _DAEMON)
    files = [f"/run/{name}.pid" for name in names]
    for name in names:
        words = f"{name} {'no' if name in refused else 'yes'} {HOOKS}"
        command = f"setsid /usr/bin/python3 /run/lab/daemon.py {words}"
        host.run(["sh", "-c", f"{command} >/dev/null 2>&1 &"])
    wait_until(lambda: all(host.read(file) for file in files), "they run")
    try:
        yield
    finally:
        host.run(["sh", "-c", f"kill $(cat {' '.join(files)}); rm {' '.join(files)}"])
