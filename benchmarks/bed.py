"""Hosts to measure on: each a child of ours in network and mount namespaces of its own.

What libvirt would have made is made from recorded data: the bridge, the network's
status file, libvirt's rules. Nothing of the machine's own is touched.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from .guests import BRIDGE_ADDRESS, RECORDED, SUBNET, network_xml

CHECKOUT = Path(__file__).resolve().parent.parent
LIB = Path("/run/lib")
OWN = Path("/run/bench")  # of the bed alone: the service listens to what is in /run
CONFIG = Path("/etc/libvirt/forwards.yaml")
STATUS = Path("/run/libvirt/network/default.xml")
NFT, IPT, LEGACY = "nftables", "iptables-nft", "iptables-legacy"
_NEWNS, _NEWNET = 0x00020000, 0x40000000
_DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
SERVICES: list[int] = []  # on a host: the process ids of those to end with it
T = TypeVar("T")


class Bed:
    """A host with one of the backends: nftables, iptables-nft or iptables-legacy."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._calls, theirs = Pipe()
        self._child = os.fork()
        if self._child == 0:
            self._calls.close()
            _serve(theirs, backend)
        theirs.close()
        self.call(_make, backend)

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """What a function returns that is called on the host."""
        self._calls.send((function, arguments))
        is_good, result = self._calls.recv()
        if not is_good:
            raise RuntimeError(f"on {self.backend}:\n{result}")
        found: T = result
        return found

    def close(self) -> None:
        """End the host and all that runs there."""
        self._calls.send(None)  # closing is not enough: later hosts have our end too
        os.waitpid(self._child, 0)
        self._calls.close()


def _serve(calls: Connection, backend: str) -> None:
    """In the child: carry out calls until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if ctypes.CDLL(None).unshare(_NEWNS | _NEWNET) != 0:
        raise OSError("unshare")
    reader = -1
    try:
        # Whoever else works on this machine disturbs pairs less.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
        reader = _mount()
        while (one := calls.recv()) is not None:
            function, arguments = one
            try:
                calls.send((True, function(*arguments)))
            except Exception:  # noqa: BLE001 - it is raised again where it was called
                calls.send((False, traceback.format_exc()))
    except (EOFError, OSError):
        pass
    finally:
        for pid in (*SERVICES, reader):
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        os._exit(0)


def _mount() -> int:
    """Private directories, and a log that is read; the reader's process id."""
    sh("mount --make-rprivate /")
    sh("mount -t tmpfs -o mode=755 bench /dev")
    for name, minor in _DEVICES.items():
        os.mknod(f"/dev/{name}", 0o666 | 0o020000, os.makedev(1, minor))
    for directory in ("/run", "/var/lib", "/etc/libvirt"):
        sh(f"mount -t tmpfs -o mode=755 bench {directory}")
    sh("mount -t sysfs sysfs /sys && ip link set lo up")
    Path("/var/lib/libvirt/dnsmasq").mkdir(parents=True)
    OWN.mkdir()
    for part in ("hooks", "vfwhooks", "templates"):
        shutil.copytree(
            CHECKOUT / part, LIB / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    argv = ["/usr/bin/python3", "-m", "compileall", "-q", f"{LIB}/vfwhooks"]
    subprocess.run(argv, check=True)
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind("/dev/log")
    reader = os.fork()
    if reader == 0:
        with (OWN / "log").open("wb", buffering=0) as file:
            while True:
                file.write(log.recv(1 << 16) + b"\n")
    log.close()
    return reader


def _make(backend: str) -> None:
    """What libvirt makes: the bridge, the rules, the network's status file."""
    sh("ip link add virbr0 type bridge && ip link set virbr0 up")
    sh(f"ip addr add {BRIDGE_ADDRESS}/16 dev virbr0")
    sh("sysctl -qw net.ipv4.ip_forward=1")
    daemon = "libvirt-11.3" if backend == NFT else "libvirt-9.0"
    name = "ruleset.nft" if backend == NFT else "ruleset.iptables"
    rules = (RECORDED / daemon / name).read_text().replace("192.168.122.0/24", SUBNET)
    tool = {NFT: "nft -f -", IPT: "iptables-nft-restore"}
    if backend == LEGACY:
        for one in ("iptables", "ip6tables"):
            for part in ("", "-save", "-restore"):
                Path("/run/bin").mkdir(exist_ok=True)
                Path(f"/run/bin/{one}{part}").symlink_to(
                    f"/usr/sbin/{one}-legacy{part}"
                )
    sh(tool.get(backend, "iptables-legacy-restore"), rules)
    write(STATUS, network_xml(backend, 1))


def write(path: Path, text: str) -> None:
    """Write a file, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_text(text)
    new.rename(path)


def sh(command: str, text: str = "") -> str:
    """The output of a shell command, which must succeed."""
    done = subprocess.run(
        ["sh", "-c", command], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    return done.stdout
