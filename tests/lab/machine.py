"""What a guest is made of, and its XML for libvirt.

What it does once it runs is asked on the kernel's command line: see guest/init.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

TCP_PORTS = (22, 25, 53, 80, 143, 443, 993, 5000, 8000, 8080, 8443)
UDP_PORTS = (53, 443, 5000, 5060, 5353, 7000, 51820)

# Each of these saves software emulation a part of its boot.
QUICK = "quiet panic=1 mitigations=off nokaslr no_timer_check cryptomgr.notests"


@dataclass(frozen=True)
class Nic:
    """One network card: on a libvirt network, or else straight on a bridge."""

    mac: str
    network: str | None = "default"
    bridge: str | None = None

    def element(self) -> ET.Element:
        """The <interface> for it."""
        kind = "network" if self.bridge is None else "bridge"
        interface = ET.Element("interface", type=kind)
        ET.SubElement(interface, "mac", address=self.mac)
        ET.SubElement(
            interface, "source", {kind: self.bridge or self.network or "default"}
        )
        ET.SubElement(interface, "model", type="virtio")
        # No boot ROM: the kernel is given, the network need not be tried.
        ET.SubElement(interface, "rom", enabled="no")
        return interface


@dataclass(frozen=True)
class Machine:
    """What a guest is made of. `options` go to the kernel's command line."""

    name: str
    uuid: str = field(default_factory=lambda: str(uuids.uuid4()))
    nics: tuple[Nic, ...] = ()
    tcp: Sequence[int] = TCP_PORTS
    udp: Sequence[int] = UDP_PORTS
    options: Sequence[str] = ()

    @property
    def console_path(self) -> str:
        """Where the console is written, in the box; names hold anything, uuids not."""
        return f"/run/lab/{self.uuid}.console"

    @property
    def agent_path(self) -> str:
        """The socket of the second serial port, in the box."""
        return f"/run/lab/{self.uuid}.agent"

    def command_line(self) -> str:
        """What guest/init reads."""
        ports = {"tcp": self.tcp, "udp": self.udp}
        words = [f"vfw.{key}={','.join(map(str, p))}" for key, p in ports.items() if p]
        name = f"vfw.name={self.name.encode().hex()}"
        return " ".join(["console=ttyS0", QUICK, name, *words, *self.options])

    def xml(self) -> str:
        """What define takes."""
        domain = ET.Element("domain", type="qemu")
        for tag, text in (("name", self.name), ("uuid", self.uuid), ("vcpu", "1")):
            ET.SubElement(domain, tag).text = text
        ET.SubElement(domain, "memory", unit="MiB").text = "160"
        os = ET.SubElement(domain, "os")
        ET.SubElement(os, "type", arch="x86_64", machine="q35").text = "hvm"
        ET.SubElement(os, "kernel").text = "/srv/image/kernel"
        ET.SubElement(os, "initrd").text = "/srv/image/initrd"
        ET.SubElement(os, "cmdline").text = self.command_line()
        ET.SubElement(ET.SubElement(domain, "features"), "acpi")
        # Without a source of randomness the guest's kernel collects it for seconds.
        cpu = ET.SubElement(domain, "cpu", mode="custom", match="exact")
        ET.SubElement(cpu, "model").text = "qemu64"
        ET.SubElement(cpu, "feature", policy="require", name="rdrand")
        ET.SubElement(domain, "on_poweroff").text = "destroy"
        devices = ET.SubElement(domain, "devices")
        ET.SubElement(devices, "emulator").text = "/usr/bin/qemu-system-x86_64"
        ET.SubElement(devices, "controller", type="usb", model="none")
        ET.SubElement(devices, "memballoon", model="none")
        devices.extend(nic.element() for nic in self.nics)
        console = ET.SubElement(devices, "serial", type="file")
        ET.SubElement(console, "source", path=self.console_path)
        ET.SubElement(console, "target", port="0")
        agent = ET.SubElement(devices, "serial", type="unix")
        ET.SubElement(agent, "source", mode="bind", path=self.agent_path)
        ET.SubElement(agent, "target", port="1")
        return ET.tostring(domain, encoding="unicode")


def static(address: str, gateway: str = "", card: int = 0) -> list[str]:
    """Command line options for a guest that asks no DHCP server.

    The address has a prefix length; several, of both families, go with commas.
    """
    options = [f"vfw.eth{card}={address}"]
    if gateway:
        options.append(f"vfw.gw{'6' if ':' in gateway else ''}={gateway}")
    return options


def delayed(seconds: float) -> list[str]:
    """Command line options for a guest that asks for its lease only later."""
    return [f"vfw.dhcp_delay={seconds:g}"]
