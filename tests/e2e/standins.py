"""Guests that are only their network side: no machine runs, so they are fast."""

from __future__ import annotations

import uuid

from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import mac_for
from product import call_hook, configure, vfwhooks

XML = """<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>{metadata}</metadata>
  <devices>
    <interface type='network'>
      <mac address='{mac}'/>
      <source network='{network}' bridge='{bridge}'/>
      <target dev='{device}'/>
    </interface>
  </devices>
</domain>
"""


def end_libvirtd(host: Host) -> None:
    """No libvirtd says that no stand-in runs. It is killed: where it is busy, it takes
    30 s to end by itself."""
    host.libvirtd.signal("KILL")
    wait_until(lambda: not host.libvirtd.pid(), "libvirtd's end")


def check_everything(host: Host, event: str = "updated") -> None:
    """Have the next event check everything, a network's. `apply` would ask libvirtd,
    which knows nothing of stand-ins.
    """
    host.run(["sh", "-c", "[ ! -d /run/vfwhooks ] || : >/run/vfwhooks/full"])
    xml = host.virsh("net-dumpxml", "default")
    hook = f"<hookData>{xml}</hookData>"
    done = call_hook(host, "network", "default", event, "begin", "-", xml=hook)
    assert (done.status, done.stdout) == (0, "")


def put_in_force(host: Host, forwards: str) -> None:
    """An edit, and events until one has found it."""

    def is_in_force() -> bool:
        check_everything(host)
        return vfwhooks(host, "status").status == 0

    configure(host, forwards)
    wait_until(is_in_force, "the edit to be in force")


class Standin:
    """A guest by name, for libvirt's hook; `net` is where its servers run."""

    def __init__(
        self,
        host: Host,
        name: str,
        number: int,
        network: str = "default",
        bridge: str = "virbr0",
        subnet: str = "192.168.122",
        ipv6: str = "fd00:122::",
        metadata: str = "",
    ) -> None:
        self._host = host
        self.name = name
        self.address = f"{subnet}.{number}"
        self.ipv6 = f"{ipv6}{number}"
        self.mac = mac_for(number)
        device = f"vm{number}-{bridge}"[:15]
        own = [f"{self.address}/24", *([f"{self.ipv6}/64"] if ipv6 else [])]
        self.net: Net = host.standin(device, *own, mac=self.mac, bridge=bridge)
        # Who connects to himself needs it, where br_netfilter is on.
        host.run(["bridge", "link", "set", "dev", device, "hairpin", "on"])
        self.net.ip(f"route add default via {subnet}.1")
        if ipv6:
            self.net.ip(f"route add default via {ipv6}1")
        self._xml = XML.format(
            name=name,
            uuid=uuid.uuid4(),
            mac=self.mac,
            network=network,
            bridge=bridge,
            device=device,
            metadata=metadata,
        )

    def start(self) -> None:
        """What libvirt's hook is told when the guest has started, and what libvirt
        leaves on disk while it runs."""
        self._host.write(f"/run/libvirt/qemu/{self.name}.pid", "")
        self._tell("started", "begin")

    def stop(self) -> None:
        """What it is told when the guest has stopped."""
        self._tell("stopped", "end")

    def _tell(self, operation: str, step: str) -> None:
        done = call_hook(
            self._host, "qemu", self.name, operation, step, "-", xml=self._xml
        )
        assert (done.status, done.stdout) == (0, "")
