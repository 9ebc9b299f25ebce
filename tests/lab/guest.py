"""A guest: a real machine under QEMU, whose system is a kernel and one process.

What it is told while it runs goes through its second serial port (guest/serve.pl),
which needs no network and leaves no trace in one.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from xml.etree import ElementTree as ET

from .box import Box, Done, wait_until
from .cache import LabError
from .machine import Machine, Nic
from .net import Net


class Guest:
    """A defined guest on a host. `address` is its reserved or given one."""

    def __init__(self, box: Box, net: Net, machine: Machine, address: str) -> None:
        self.machine = machine
        self.name = machine.name
        self.uuid = machine.uuid
        self._box = box
        self._net = net
        self._address = address
        self._agent: socket.socket | None = None
        self._turn = threading.Lock()
        self._up = False

    def _virsh(self, *arguments: str, timeout: float = 120) -> str:
        return self._box.call(["virsh", "-q", *arguments], timeout=timeout).check()

    def start(self, *, wait: bool = False) -> Guest:
        """Starts it, by its uuid as names may look like one; see also wait_for."""
        self._hang_up()
        self._up = False
        self._virsh("start", self.uuid)
        if wait:
            self.wait_for()
        return self

    def destroy(self) -> None:
        """Ends it as pulling the plug does."""
        self._virsh("destroy", self.uuid)
        self._hang_up()

    def moved_to(self, box: Box, net: Net) -> Guest:
        """The same guest, as seen from another host."""
        self._hang_up()
        guest = Guest(box, net, self.machine, self._address)
        guest._up = True
        return guest

    def undefine(self) -> None:
        """Makes libvirt forget it."""
        self._virsh("undefine", self.uuid)

    def attach(self, nic: Nic) -> None:
        """Plugs a card into the running guest, which brings it up by DHCP."""
        name = f"eth{len(self.nic_names())}"
        xml = ET.tostring(nic.element(), encoding="unicode")
        self._box.call(
            ["virsh", "-q", "attach-device", self.uuid, "/dev/stdin", "--live"],
            input=xml,
        ).check()
        wait_until(lambda: name in self.nic_names(), f"{self.name} sees its new card")
        self.run(f"nic {name} >/dev/console 2>&1 </dev/null")

    def nic_names(self) -> list[str]:
        """The network cards the guest has found."""
        return self.run("cd /sys/class/net && ls -d eth*").split()

    @property
    def address(self) -> str:
        """Its first IPv4 address: as promised, else as the guest says."""
        if not self._address:
            self._address = wait_until(self._ask_address, f"{self.name} has an address")
        return self._address

    def _ask_address(self) -> str:
        return next(iter(self.addresses(4)), "")

    def addresses(self, version: int = 4) -> list[str]:
        """All its global addresses of an IP version, as the guest says."""
        text = self.run(f"ip -{version} addr show scope global")
        return re.findall(r"inet6? ([0-9a-f.:]+)/", text)

    def wait_for(self, port: int = 80, timeout: float = 60) -> float:
        """Waits until the host reaches a TCP port of it; returns the seconds taken."""
        begun = time.monotonic()
        wait_until(
            lambda: self._answers(port),
            lambda: f"{self.name} answers on port {port}; console:\n{self.console()}",
            timeout,
        )
        return time.monotonic() - begun

    def _answers(self, port: int) -> bool:
        try:
            # Short, for a SYN that found nobody is repeated only after a second.
            self._net.connect(self.address, port, 0.2).close()
        except OSError:
            return False
        return True

    def console(self) -> str:
        """What it printed on its console so far."""
        path = self._box.path(self.machine.console_path)
        return path.read_text(errors="replace") if path.exists() else ""

    def call(self, command: str, timeout: float = 60) -> Done:
        """Runs a sh command inside the guest, once it is up.

        Its stderr comes with its stdout. Long texts do not go through: the line
        has no flow control, and the guest's kernel holds 4 KB of it.
        """
        if len(command.encode()) > 1500:
            raise LabError(f"too long a command for a guest: {command[:60]}…")
        with self._turn:
            if self._agent is None:
                self.wait_until_up()
                self._agent = socket.socket(socket.AF_UNIX)
                self._box.sockets.add(self._agent)
                self._agent.connect(str(self._box.path(self.machine.agent_path)))
            self._agent.settimeout(timeout)
            try:
                self._agent.sendall(command.encode().hex().encode() + b"\n")
                reply = b""
                while not reply.endswith(b"\n"):
                    piece = self._agent.recv(65536)
                    if not piece:
                        raise LabError(f"{self.name}: ended during: {command}")
                    reply += piece
            except (OSError, LabError):
                self._hang_up()
                raise
        status, _, output = reply.decode().strip().partition(" ")
        text = bytes.fromhex(output).decode(errors="replace")
        return Done((command,), int(status), text, "")

    def run(self, command: str, timeout: float = 60) -> str:
        """The output of a sh command inside the guest, which must succeed."""
        return self.call(command, timeout).check()

    def wait_until_up(self, timeout: float = 60) -> None:
        """Waits until its servers run, whether or not it has an address."""
        if not self._up:
            wait_until(
                lambda: "lab: serving" in self.console(),
                lambda: f"{self.name} is up; its console:\n{self.console()}",
                timeout,
            )
            self._up = True

    def http(self, url: str, timeout: int = 5) -> str:
        """What wget inside the guest gets from a URL, "" for nothing."""
        quoted = "'" + url.replace("'", "'\\''") + "'"
        return self.call(f"wget -q -T {timeout} -O - {quoted}", timeout + 30).stdout

    def _hang_up(self) -> None:
        if self._agent is not None:
            self._agent.close()
            self._agent = None
