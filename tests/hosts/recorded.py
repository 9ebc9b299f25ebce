"""Hosts as they were recorded: their rules, interfaces, files and guests, no libvirtd.

The rules are those of tests/unit/rulesets, loaded as they are but for spellings that
today's iptables refuses. What libvirt of that time does to them is done by OldLibvirt;
what it calls, the tests call. A guest is a stand-in for its network side.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from product import call_hook, configure, put_in, vfwhooks

RULESETS = Path(__file__).parents[1] / "unit/rulesets"
RECORDINGS = ("kvm-fedora13", "xen-default", "xen-vm-running")
VARIANTS = ("nft", "legacy")
PUBLIC = "203.0.113.1"
CLIENT = "203.0.113.2"
JUMP = "-A FORWARD -m conntrack --ctstate DNAT -j VFW-FORWARD"
BRIDGED = "net.bridge.bridge-nf-call-iptables"
NETWORK_XML = "/var/lib/libvirt/network/default.xml"
# Where dnsmasq keeps leases: Fedora's own place before libvirt 0.8.8 or so, then this.
LEASES = "/var/lib/libvirt/dnsmasq/default.leases"
FEDORAS = "/var/lib/dnsmasq/dnsmasq.leases"

# What libvirt before 1.2.4 leaves of a running network: its XML, and nothing around it.
NETWORK = """\
<network>
  <name>default</name>
  <uuid>3c28dfb4-bfd0-4653-bb09-e7fe1c759f68</uuid>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0' />
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254' />
    </dhcp>
  </ip>
</network>
"""
_OLD_NEGATION = re.compile(r"(-[a-z]) ! (\S+)")


@dataclass(frozen=True)
class Standin:
    """A guest: what libvirt calls it, the host's end of its cable, its own stack."""

    name: str
    uuid: str
    mac: str
    device: str
    net: Net

    @property
    def body(self) -> str:
        """What its web server answers the client outside."""
        return f"{self.device} 80 {CLIENT}"


@dataclass(frozen=True)
class OldLibvirt:
    """libvirt as iptables sees it: `rules` are pairs of a table and what
    stands behind -A, in the order in which they are to stand."""

    host: Host
    rules: tuple[tuple[str, str], ...]

    def insert_rules(self) -> None:
        """A network starts: each rule is put on top of its chain, the last first."""
        self._run([f"-t {table} -I {rule}" for table, rule in reversed(self.rules)])

    def delete_rules(self) -> None:
        """A network stops; rules that are gone are no matter."""
        self._run([f"-t {table} -D {rule}" for table, rule in self.rules])

    def reload_rules(self) -> None:
        """The daemon starts or is reloaded: rules are taken out and put in anew."""
        self.delete_rules()
        self.insert_rules()

    def _run(self, lines: list[str]) -> None:
        commands = [f"iptables -w {line} 2>/dev/null || :" for line in lines]
        self.host.run(["sh", "-c", "\n".join(commands)])


@dataclass(frozen=True)
class RecordedHost:
    """A recorded host, its client outside, and its guests by name: `web1` and `mail`
    are behind virbr0, `lan1` is bridged to the LAN."""

    host: Host
    outside: Net
    libvirt: OldLibvirt
    guests: dict[str, Standin]

    def configure(self, forwards: str) -> None:
        """Write forwards.yaml and put it in force, so that no hook has to read it."""
        configure(self.host, forwards)
        vfwhooks(self.host, "apply")

    def start(self, name: str, interface: str = "network") -> None:
        """A guest starts, as its driver's hook hears of it."""
        driver, kind = ("libxl", "xen") if "xen" in self.host.name else ("qemu", "kvm")
        xml = domain_xml(self.guests[name], kind, interface)
        self._call(driver, name, "started", "begin", "-", xml=xml)

    def stop(self, name: str) -> None:
        """A guest stops."""
        driver = "libxl" if "xen" in self.host.name else "qemu"
        self._call(driver, name, "stopped", "end", "-")

    def _call(self, *arguments: str, xml: str = "") -> None:
        """Call a hook, and wait for what it does behind libvirt's back."""
        call_hook(self.host, *arguments, xml=xml)
        self.shell("[ ! -d /run/vfwhooks ] || flock /run/vfwhooks/lock true")

    def shell(self, script: str) -> None:
        """Somebody on the host types this."""
        self.host.run(["sh", "-c", script])

    def rules(self, *tables: str) -> list[str]:
        """The rules of these tables, of both if none is named, as they stand."""
        saved = [self.host.run(["iptables-save", "-t", t]) for t in tables or TABLES]
        lines = "".join(saved).splitlines()
        return [line for line in lines if line.startswith("-A ")]

    def standing(self) -> tuple[list[str], list[str]]:
        """Every rule in no order, and those in their order whose order matters: in
        INPUT libvirt's and ours have nothing to say of each other's packets."""
        rules = self.rules()
        chains = ("-A FORWARD ", "-A POSTROUTING ")
        return sorted(rules), [line for line in rules if line.startswith(chains)]

    def foreign_rules(self) -> list[str]:
        """Every rule that is not ours."""
        return [line for line in self.rules() if "VFW-" not in line]

    def ask(self, port: int = 8080, address: str = PUBLIC) -> str:
        """What the client outside gets from a port of the host: an answer, or why
        there is none."""
        reply = self.outside.http(f"http://{address}:{port}/")
        return reply.body if reply.answered else reply.outcome.value

    def ask_out(self, name: str) -> str:
        """What a guest gets from a server outside: whom that took it for."""
        with self.outside.serve_tcp(7):
            url = f"http://{CLIENT}:7/"
            reply = self.guests[name].net.http(url)
        return reply.body if reply.answered else reply.outcome.value


TABLES = ("filter", "nat")


def recorded_text(recording: str) -> str:
    """The rules as they were recorded, on one of the three hosts or from a daemon."""
    if recording.startswith("libvirt"):
        return (RULESETS / f"../recorded/{recording}/ruleset.iptables").read_text()
    return (RULESETS / f"{recording}.rules").read_text()


def translate(line: str) -> str:
    """A recorded line in today's spelling: a negation goes before its option."""
    return _OLD_NEGATION.sub(r"! \1 \2", line)


def saved_rules(text: str) -> list[tuple[str, str]]:
    """The rules of an iptables-save file: table, and what stands behind -A."""
    found, table = [], ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            found.append((table, line[3:]))
    return found


@contextmanager
def recorded_host(recording: str, variant: str) -> Iterator[RecordedHost]:
    """The host of that recording, its rules in that variant of iptables, with the hooks
    in place; nothing has happened yet."""
    text = "\n".join(map(translate, recorded_text(recording).split("\n")))
    with ExitStack() as stack:
        host = stack.enter_context(
            Host.debian12(name=recording, legacy=variant == "legacy")
        )
        put_in(host, is_patient=True)
        is_xen = recording.startswith("xen")
        outside = add_interfaces(host, is_xen)
        host.write(NETWORK_XML, NETWORK)
        host.run(["iptables-restore"], input=text)
        names = (
            ("vif2.0", "vif3.0", "vif1.0") if is_xen else ("vnet0", "vnet1", "vnet2")
        )
        lan = "xenbr0" if is_xen else "br0"
        guests = {
            "web1": add_guest(host, "web1", names[0], "192.168.122.50/24", "virbr0"),
            "mail": add_guest(host, "mail", names[1], "192.168.122.51/24", "virbr0"),
            "lan1": add_guest(host, "lan1", names[2], "203.0.113.30/24", lan),
        }
        give_leases(host, guests)
        for guest in guests.values():
            stack.enter_context(guest.net.serve_tcp(80))
        for net in (outside, *(guest.net for guest in guests.values())):
            # A bridge's port passes nothing until the kernel has seen its carrier.
            wait_until(partial(_is_up, net), f"the network of {net.name}")
        yield RecordedHost(
            host, outside, OldLibvirt(host, libvirts_rules(text)), guests
        )


def libvirts_rules(text: str) -> tuple[tuple[str, str], ...]:
    """What libvirt puts in anew when it reloads: since 5.1 only what is in chains of
    its own. The rule for one interface is that of Xen's script."""
    rules = [rule for rule in saved_rules(text) if "physdev" not in rule[1]]
    inside = [rule for rule in rules if rule[1].startswith("LIBVIRT_")]
    return tuple(inside or rules)


def _is_up(net: Net) -> bool:
    """Whether the host answers from there, be it with a refusal."""
    return net.http(f"http://{PUBLIC}:1/", timeout=0.1).refused


def add_interfaces(host: Host, is_xen: bool) -> Net:
    """The host's interfaces, and a client at the other end of its cable."""
    outside = host.outside(f"{CLIENT}/24")
    lan = "xenbr0" if is_xen else "br0"
    cable = "peth0" if is_xen else "eth0"
    host.net.ip(
        "addr flush dev outside",
        "link set outside down",
        f"link set outside name {cable}",
        f"link add {lan} type bridge",
        f"link set {cable} master {lan} up",
        f"link set {lan} up",
        "link add virbr0 type bridge",
        "addr add 192.168.122.1/24 dev virbr0",
        "link set virbr0 up",
    )
    if is_xen:
        host.net.ip(
            "link add eth0 type veth peer name vif0.0",
            "link set vif0.0 master xenbr0 up",
            "link set eth0 up",
        )
        bridged_traffic(host, is_filtered=False)
    add_address(host, PUBLIC)
    host.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    return outside


def add_address(host: Host, address: str) -> None:
    """One more address of the host's own: the Dom-0 has it on its end of a cable into
    its bridge, the KVM host on the bridge itself."""
    device = "eth0" if "xen" in host.name else "br0"
    host.net.ip(f"addr add {address}/24 dev {device}")


def bridged_traffic(host: Host, is_filtered: bool) -> None:
    """Whether iptables sees what a bridge passes on. Dom-0's own traffic then passes
    netfilter twice, at xenbr0 and at eth0, and no DNAT of anybody's works."""
    value = int(is_filtered)
    host.run(["sysctl", "-qw", f"{BRIDGED}={value}"])


def add_guest(host: Host, name: str, device: str, address: str, bridge: str) -> Standin:
    """A stand-in for a guest on a bridge of the host."""
    number = int(address.rpartition(".")[2].partition("/")[0])
    mac = f"52:54:00:00:00:{number:02x}"
    net = host.standin(device, address, mac=mac, bridge=bridge)
    net.route("default", "192.168.122.1" if bridge == "virbr0" else PUBLIC)
    uuid = f"00000000-0000-4000-8000-0000000000{number:02x}"
    return Standin(name, uuid, mac, device, net)


def give_leases(host: Host, guests: dict[str, Standin]) -> None:
    """dnsmasq's own file: before libvirt 1.2.6 it is all there is."""
    expiry = int(time.time()) + 3600
    lines = [
        f"{expiry} {guest.mac} {guest.net.address} {guest.name} *\n"
        for guest in guests.values()
        if guest.net.address.startswith("192.168.122.")
    ]
    host.write(leases_file(host), "".join(lines))


def leases_file(host: Host) -> str:
    """Where dnsmasq keeps the leases on this host."""
    return FEDORAS if host.name == "kvm-fedora13" else LEASES


def domain_xml(guest: Standin, kind: str, interface: str = "network") -> str:
    """What libvirt gives a hook on standard input: `kind` is the domain's type,
    `interface` the way in which it is behind virbr0, or bridged elsewhere."""
    sources = {
        "network": ("network", "<source network='default'/>"),
        "bridge": (
            "bridge",
            "<source bridge='virbr0'/>\n      <script path='vif-bridge'/>",
        ),
        "xenbr0": (
            "bridge",
            "<source bridge='xenbr0'/>\n      <script path='vif-bridge'/>",
        ),
        "br0": ("bridge", "<source bridge='br0'/>"),
        "macvtap": ("direct", "<source dev='eth0' mode='bridge'/>"),
    }
    way, source = sources[interface]
    return f"""\
<domain type='{kind}' id='1'>
  <name>{guest.name}</name>
  <uuid>{guest.uuid}</uuid>
  <memory>524288</memory>
  <vcpu>1</vcpu>
  <devices>
    <interface type='{way}'>
      <mac address='{guest.mac}'/>
      {source}
      <target dev='{guest.device}'/>
    </interface>
  </devices>
</domain>
"""
