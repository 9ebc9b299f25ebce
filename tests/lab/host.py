"""A host: a box with libvirt in it, its guests, and the networks around it."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from .box import Box, Done
from .cache import CHECKOUT, find_image, find_tree
from .guest import Guest
from .libvirtd import Libvirtd
from .machine import TCP_PORTS, UDP_PORTS, Machine, Nic
from .net import Net, add_outside, add_standin
from .network import NUMBERS, Network, default_network, mac_for
from .syslog import Syslog

HOOKS = "/etc/libvirt/hooks"
LEGACY = """\
for tool in iptables ip6tables; do
    for part in '' -save -restore; do
        ln -sfn /usr/sbin/$tool-legacy$part /etc/alternatives/$tool$part
    done
done
"""


class Host:
    """A hypervisor of its own, for a `with` block; made by debian12 or debian13.

    It has the checkout read-only at /srv/vfwhooks and nothing else of the
    project. libvirtd is not running yet: put the hooks in first.
    """

    CHECKOUT = "/srv/vfwhooks"

    def __init__(
        self, root: Path, name: str, firewall_backend: str = "", legacy: bool = False
    ) -> None:
        binds = {self.CHECKOUT: CHECKOUT, "/srv/image": find_image()}
        self.name = name
        self.firewall_backend = firewall_backend or "iptables"
        self.box = Box(root, name, binds)
        self.net = Net(self.box, self.box.netns, name, "127.0.0.1")
        self.libvirtd = Libvirtd(self.box)
        self.networks: dict[str, Network] = {}
        self._arguments: list[str] = []
        self._numbers = iter(NUMBERS)
        try:
            self._syslog = Syslog(self.box)
            if legacy:
                self.run(["sh", "-c", LEGACY])
            self.libvirtd.configure(firewall_backend)
        except BaseException:
            self.box.close()
            raise

    @classmethod
    def debian12(cls, *, name: str = "host12", legacy: bool = False) -> Host:
        """libvirt 9.0: this machine's own system, under an overlay."""
        return cls(Path("/"), name, legacy=legacy)

    @classmethod
    def debian13(
        cls,
        firewall_backend: str = "nftables",
        *,
        name: str = "host13",
        legacy: bool = False,
    ) -> Host:
        """libvirt 11.3, with either of its backends."""
        return cls(find_tree(), name, firewall_backend, legacy)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the host and all that is in it."""
        self._syslog.stop()
        self.box.close()

    def call(
        self,
        command: Sequence[str],
        *,
        input: str = "",
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """Runs a command on the host; its failure is in the value."""
        return self.box.call(command, input=input, timeout=timeout, env=env)

    def run(
        self,
        command: Sequence[str],
        *,
        input: str = "",
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """The output of a command on the host, which must succeed."""
        return self.call(command, input=input, timeout=timeout, env=env).check()

    def virsh(self, *arguments: str, input: str = "", timeout: float = 120) -> str:
        """The output of virsh, which must succeed."""
        return self.run(["virsh", "-q", *arguments], input=input, timeout=timeout)

    def path(self, inside: str) -> Path:
        """A path of the host as this process can open it; no absolute links."""
        return self.box.path(inside)

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Writes a file on the host, by rename, with the directories above it."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.lab")
        new.write_text(text)
        new.chmod(mode)
        new.rename(path)

    def read(self, inside: str) -> str:
        """The text of a file on the host, "" where there is none."""
        path = self.path(inside)
        return path.read_text(errors="replace") if path.exists() else ""

    def install_hooks(self, files: Mapping[str, str]) -> None:
        """Puts hooks where libvirt looks for them when it starts or gets SIGHUP."""
        for name, text in files.items():
            self.write(f"{HOOKS}/{name}", text, 0o755)

    def start_libvirtd(self, *, listen: bool = False) -> None:
        """Starts libvirtd, without any network; on TCP too for who migrates to it."""
        self._arguments = ["-l"] if listen else []
        self.libvirtd.start(self._arguments)

    def stop_libvirtd(self) -> None:
        """Ends libvirtd; guests and networks go on."""
        self.libvirtd.stop()

    def restart_libvirtd(self) -> None:
        """Ends libvirtd and starts it; returns when it has its guests in hand again."""
        self.libvirtd.stop()
        self.libvirtd.start(self._arguments)

    def sighup(self) -> None:
        """Tells libvirtd to reload; returns before it has."""
        self.libvirtd.signal("HUP")

    def syslog(self, pattern: str = "") -> list[str]:
        """What was logged on the host so far, where it matches the pattern."""
        return self._syslog.lines(pattern)

    def start_network(self, network: Network | None = None) -> Network:
        """Defines and starts a network, the default one with its reservations."""
        network = network or default_network()
        self.virsh("net-define", "/dev/stdin", input=network.xml())
        self.virsh("net-start", network.name)
        self.networks[network.name] = network
        return network

    def define_guest(
        self,
        name: str,
        *,
        mac: str = "",
        network: str = "default",
        uuid: str = "",
        nics: Sequence[Nic] = (),
        tcp: Sequence[int] = TCP_PORTS,
        udp: Sequence[int] = UDP_PORTS,
        options: Sequence[str] = (),
    ) -> Guest:
        """Defines a guest with one card on the network, or with the given ones.

        Without a MAC it takes the next one that the lab's networks have reserved.
        """
        cards = tuple(nics) or (
            Nic(mac or mac_for(next(self._numbers)), network=network),
        )
        machine = Machine(
            name, uuid or str(uuids.uuid4()), cards, tcp, udp, tuple(options)
        )
        self.virsh("define", "/dev/stdin", input=machine.xml())
        return Guest(self.box, self.net, machine, self._promised(machine))

    def _promised(self, machine: Machine) -> str:
        for option in machine.options:
            key, _, value = option.partition("=")
            if key == "vfw.eth0":
                return "" if value in ("dhcp", "none") else value.partition("/")[0]
        nic = machine.nics[0]
        network = self.networks.get(nic.network or "")
        return network.reservations.get(nic.mac, "") if network else ""

    def outside(
        self,
        *addresses: str,
        name: str = "outside",
    ) -> Net:
        """Somebody on the other end of a cable, whose default route is the host.

        The host has the first address of each network. Names of at most 15
        characters, since the host's end of the cable is called the same.
        """
        given = addresses or ("203.0.113.2/24", "2001:db8::2/64")
        return add_outside(self.net, self.box, name, given)

    def standin(
        self, name: str, *addresses: str, mac: str = "", bridge: str = "virbr0"
    ) -> Net:
        """A guest's network side without a guest, on a bridge of libvirt's."""
        own = mac or mac_for(next(self._numbers))
        return add_standin(self.net, self.box, name, own, addresses, bridge)

    def unplug(self, net: Net) -> None:
        """Takes an outside or a stand-in away; its name is free when this returns.

        The cable goes by itself, since the kernel empties a namespace only later.
        """
        self.net.ip(f"link delete {net.name}")
        self.run(["ip", "netns", "delete", net.name])
