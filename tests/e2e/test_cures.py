"""doctor on a real host: a fault is made and found, its cure is carried out, and it is
gone. A command is run as it stands; what a person has to do is done by hand.

All runs under a real systemd: our package, its service, and libvirtd by its own unit.
The service is stopped, since it would mend half of the faults by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from lab.box import Done, wait_until
from lab.cache import LabError
from lab.guest import Guest
from lab.host import HOOKS, Host
from lab.net import Net
from lab.network import default_network, mac_for
from lab.service import serving
from lab.systemd import Systemd, start_systemd
from product import CONFIG, configure, domain_xml

from e2e.cures import Doctor, cures

FORWARDS = """guests:
  web1: [8080:80]
"""
INSTALL = f"{Host.CHECKOUT}/install.sh"
DENY = f"{Host.CHECKOUT}/tests/lab/deny.py"
ROUTED = "'{ type filter hook forward priority 0; policy %s; }'"
NAT = "'{ type nat hook prerouting priority -150; }'"
SECOND = "198.51.100.1"
WAY = ("tcp/8080",)
BACK = ("tcp/8083",)
LISTEN = (
    "perl -MSocket -e 'socket S,2,1,6; bind S,sockaddr_in(82,INADDR_ANY); listen S,9; "
    "sleep 999' >/dev/null 2>&1 </dev/null &"
)


@dataclass(frozen=True)
class Site:
    """A host with vfwhooks and libvirtd under systemd, and web1, which runs."""

    host: Host
    systemd: Systemd
    outside: Net
    web1: Guest
    doctor: Doctor

    def sh(self, *lines: str) -> None:
        """Run lines of shell among what systemd runs."""
        self.systemd.run("sh", "-c", "set -e\n" + "\n".join(lines))

    def apply(self, forwards: str = FORWARDS) -> None:
        """Write forwards.yaml, and put it in force."""
        configure(self.host, forwards)
        self.systemd.run("vfwhooks", "apply")

    def is_served(self, patience: float = 5) -> bool:
        """Whether somebody outside is answered within so many seconds."""
        url = "http://203.0.113.1:8080/"
        return self.outside.http(url, timeout=patience).answered

    def reasons(self) -> list[str]:
        """The reasons of all forwards, and the problems, that status has."""
        told = json.loads(self.doctor.call(["vfwhooks", "status", "--json"]).stdout)
        lines = self.doctor.call(["vfwhooks", "status"]).stdout.splitlines()
        problems = [line[9:] for line in lines if line.startswith("problem")]
        return [row["reason"] for row in told["forwards"]] + problems

    def install(self) -> None:
        """Run install.sh, which starts the service as well."""
        self.sh(INSTALL, "systemctl stop vfwhooks")

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """A time in which no hook is called for a guest."""
        self.sh(f"mv {HOOKS}/qemu /root/qemu")
        self.reload()
        yield
        self.sh(f"mv /root/qemu {HOOKS}/qemu")
        self.reload()

    def reload(self) -> None:
        """Have libvirtd look for hooks: it has when it calls the daemon hook. A signal
        that comes during another reload is lost."""
        marks = "/run/vfwhooks/daemons"
        self.sh(f"rm -f {marks}/*")

        def has_looked() -> bool:
            self.sh("systemctl reload libvirtd")
            try:
                wait_until(lambda: self.host.run(["ls", marks]), "its hook", 2)
            except LabError:
                return False
            return True

        wait_until(has_looked, "libvirtd looks for hooks")

    @contextmanager
    def guest(self, name: str, number: int) -> Iterator[Guest]:
        """A guest that is defined; it ends with the block."""
        guest = self.host.define_guest(name, mac=mac_for(number))
        yield guest
        self.host.call(["virsh", "-q", "destroy", guest.uuid])
        guest.undefine()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A host with nftables."""
    with Host.debian13() as host, start_systemd(host) as systemd:
        configure(host, FORWARDS)
        systemd.run(INSTALL)
        systemd.run("systemctl", "start", "libvirtd")
        host.start_network(default_network(ipv6=True))
        systemd.run("systemctl", "stop", "vfwhooks")
        outside = host.outside()
        web1 = host.define_guest("web1", mac=mac_for(10)).start(wait=True)

        def call(argv: list[str]) -> Done:
            return systemd.call(*argv)

        yield Site(host, systemd, outside, web1, Doctor(call))


@cures(
    *("config-writable", "config-not-in-force", "hook-not-executable", "hook-writable"),
    *("daemon-not-reloaded", "forwarding-off", "chain-drops", "forward-policy-drops"),
    "cable-to-ourselves",
)
def test_what_commands_mend(site: Site) -> None:
    """All at once, each by its own: with the last somebody outside is served again."""
    site.sh(
        "sleep 2.1",  # the kernel tells its own start in whole seconds
        f"chmod 777 /etc/vfwhooks; echo >>{CONFIG}",
        f"chmod 644 {HOOKS}/network; chmod g+w {HOOKS}/qemu",
        f"nft add table inet own; nft add chain inet own routed {ROUTED % 'drop'}",
        "iptables -P FORWARD DROP; sysctl -qw net.ipv4.ip_forward=0",
        "ip link add vif0 type veth peer name vif0-back",
        "ip link set vif0-back master virbr0",
    )
    lost = site.is_served()

    site.doctor.cure(
        *("config-writable", "config-not-in-force", "hook-not-executable"),
        *("hook-writable", "daemon-not-reloaded", "forwarding-off", "chain-drops"),
        *("forward-policy-drops", "cable-to-ourselves"),
    )
    served = site.is_served()
    site.sh("nft delete table inet own; iptables -P FORWARD ACCEPT; iptables -F")
    site.sh("ip link delete vif0; sysctl -qw net.bridge.bridge-nf-call-iptables=1")

    assert (lost, served) == (False, True)


@cures(
    *("foreign-dnat", "foreign-dnat-unclear", "guest-unknown", "guest-named-twice"),
    *("hairpin-off", "host-address-absent", "forward-pending"),
)
def test_what_a_person_mends(site: Site) -> None:
    """Rules of somebody else's, names in the file, an address that comes later, and a
    guest that does not reach itself."""
    entry = "guests:\n  web1: {ports: ['198.51.100.7:8080:80']%s}\n"
    others = f"  {site.web1.uuid}: [81]\n  wbe2: [82]\n"
    site.apply(entry % "" + others)
    site.sh(
        f"nft add table ip own; nft add chain ip own pre {NAT}",
        "nft add rule ip own pre tcp dport 8080 dnat to 192.0.2.1",
        "nft add map ip own some '{ type inet_service : ipv4_addr; }'",
        "nft add rule ip own pre dnat to tcp dport map @some",
    )

    everywhere = site.doctor.until_gone(
        *("foreign-dnat", "foreign-dnat-unclear", "guest-unknown"),
        *("guest-named-twice", "hairpin-off", "host-address-absent"),
    )
    with everywhere as found, site.doctor.until_gone("forward-pending", about=WAY):
        argvs = [one["cure"]["argv"] for one in found if one["cure"]]
        told = [site.doctor.call(argv).stdout for argv in argvs if argv]
        site.sh("nft delete table ip own", "ip addr add 198.51.100.7/32 dev lo")
        site.apply(entry % ", hairpin: true")
    site.sh("ip addr del 198.51.100.7/32 dev lo")
    site.apply()

    assert all(told)


@cures("config-mistakes")
def test_a_mistake(site: Site) -> None:
    """`check` names it, and whoever wrote it mends it."""
    configure(site.host, "guests: [\n")

    with site.doctor.until_gone("config-mistakes") as [found]:
        status = site.doctor.call(found["cure"]["argv"]).status
        configure(site.host, FORWARDS)
    site.apply()

    assert status == 2


@cures("hook-is-link", "hook-without-package", "hook-missing")
def test_hooks_that_are_laid_anew(site: Site) -> None:
    """By install.sh."""
    site.sh(
        f"cd {HOOKS}; rm libxl; mv lxc /root/lxc; ln -s /root/lxc lxc",
        "sed -i s,^lib=.*,lib=/nowhere, network",
    )

    doctor = site.doctor
    with doctor.until_gone("hook-is-link", "hook-without-package", "hook-missing"):
        site.install()


@cures("hooks-noexec", "no-hooks-noexec")
def test_a_mount_without_exec(site: Site) -> None:
    """With hooks and without, it is mounted anew."""
    site.sh(f"cp {HOOKS}/qemu /root", f"mount -t tmpfs -o noexec,mode=755 lab {HOOKS}")
    site.doctor.cure("no-hooks-noexec")

    site.sh(f"mount -o remount,noexec {HOOKS}", f"cp /root/qemu {HOOKS}")
    site.doctor.cure("hooks-noexec")
    site.sh(f"umount {HOOKS}")


@cures("rules-changed", "table-missing", "libvirt-rules-missing", "forward-blocked")
def test_rules_that_are_gone(site: Site) -> None:
    """Some of ours, all of ours, and libvirt's."""
    doctor = site.doctor
    site.sh("nft flush chain inet vfwhooks postrouting")
    doctor.cure("rules-changed")

    site.sh("nft delete table inet vfwhooks")
    doctor.cure("table-missing")

    site.sh("nft delete table ip libvirt_network; nft delete table ip6 libvirt_network")
    with doctor.until_gone("libvirt-rules-missing"):
        assert "libvirt_network" in doctor.call(["vfwhooks", "apply"]).stderr
        doctor.cure("forward-blocked", about=WAY)

    site.sh("ip link set vnet0 nomaster")
    doctor.cure("forward-blocked", about=WAY)


@cures("no-guest-yet", "tool-missing")
def test_nothing_yet(site: Site) -> None:
    """As after a boot; and nft, which a package has."""
    site.sh("vfwhooks purge")
    with site.doctor.until_gone("no-guest-yet"):
        site.apply()

    site.sh("mv /usr/sbin/nft /usr/sbin/nft.away")
    here, there = (site.doctor.until_gone("tool-missing", about=x) for x in ((), WAY))
    with here, there:
        site.sh("mv /usr/sbin/nft.away /usr/sbin/nft")


@cures("listeners-unknown", "foreign-rules-unread", "not-examined")
def test_a_kernel_that_does_not_answer(site: Site) -> None:
    """What cannot be looked at is told, and the rest is looked at."""
    denied = ["/usr/bin/python3", DENY, "4", "12", "--"]
    doctor = Doctor(lambda argv: site.doctor.call([*denied, *argv]))

    with doctor.until_gone("listeners-unknown", "foreign-rules-unread", "not-examined"):
        assert "service-stopped" in doctor.findings()
        denied.clear()


@cures("service-stopped", "nothing-listens")
def test_the_service(site: Site) -> None:
    """With hooks and without."""
    site.doctor.cure("service-stopped")
    site.sh("systemctl stop vfwhooks", f"mkdir /root/hooks; mv {HOOKS}/* /root/hooks")
    site.doctor.cure("nothing-listens")
    site.sh("systemctl stop vfwhooks", f"mv /root/hooks/* {HOOKS}")


@cures("libvirtd-not-running", "libvirtd-silent")
def test_without_libvirtd(site: Site) -> None:
    """It is no fault of the host's."""
    sockets = "libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket"
    site.sh(f"systemctl stop libvirtd.service {sockets}")

    with site.doctor.until_gone("libvirtd-not-running", "libvirtd-silent"):
        site.sh("systemctl start libvirtd")


@cures(
    *("guest-not-forwarded", "guest-gone", "guest-replaced", "guest-renamed"),
    "mac-shared",
)
def test_guests_whose_hook_was_not_called(site: Site) -> None:
    """Nobody has told of what they did meanwhile."""
    host, doctor = site.host, site.doctor
    names = [f"web{number}" for number in range(2, 6)]
    ports = "".join(f"  {name}: ['8{name[3:]}']\n" for name in names)
    site.apply(FORWARDS + ports)
    xml = domain_xml("web4", mac_for(14))
    site.sh(f'echo "{xml}" | {HOOKS}/qemu web4 started begin -')

    renamed, replaced = (
        host.define_guest(f"web{n}", mac=mac_for(10 + n)) for n in (2, 3)
    )
    fresh = host.define_guest("web5", mac=mac_for(13))
    for guest in (renamed, replaced):
        host.virsh("start", guest.uuid, "--paused")
    with site.unheard():
        for guest in (renamed, replaced):
            guest.destroy()
        host.virsh("domrename", "web2", "web7")
        replaced.undefine()
        other = host.define_guest("web3", mac=mac_for(13))
        for guest in (renamed, other, fresh):
            host.virsh("start", guest.uuid, "--paused")

    with doctor.until_gone("guest-renamed") as [found]:
        doctor.cure("guest-not-forwarded", "guest-gone", "guest-replaced")
        configure(host, FORWARDS + ports.replace("web2", "web7"))
        doctor.carry_out(found)
    with doctor.until_gone("mac-shared"):
        fresh.destroy()
    for guest in (renamed, other):
        guest.destroy()
    for guest in (renamed, other, fresh):
        guest.undefine()
    site.apply()


@cures("forward-unanswered", "guest-silent", "guest-refuses", "guest-not-asked")
def test_a_guest_that_does_not_answer(site: Site) -> None:
    """No way back, no card, no service: it is looked for in the guest. By UDP nobody is
    asked."""
    route = "ip route add default via 192.168.122.1"
    doctor, web1 = site.doctor, site.web1
    web1.run("ip route del default")
    # Those that were answered before are known for two minutes.
    site.sh("conntrack -D -p tcp --orig-port-dst 8080 || :")
    site.is_served(1)
    here, there = (doctor.until_gone("forward-unanswered", about=x) for x in ((), WAY))
    with here, there:
        web1.run(route)
        site.is_served()

    web1.run("ip link set eth0 down")
    with doctor.until_gone("guest-silent", about=WAY):
        web1.run(f"ip link set eth0 up; {route}")

    site.apply(f"{FORWARDS[:-2]}, 82, 5353/udp]\n")
    with doctor.until_gone("guest-refuses", about=("82",)):
        web1.run(LISTEN)
    with doctor.until_gone("guest-not-asked", about=("5353",)):
        site.apply(f"{FORWARDS[:-2]}, 5353:80]\n")
    site.apply()


def test_what_status_says(site: Site) -> None:
    """Its cures of a bridge, of ports of a guest that is off, and of one that is gone
    without a word, are one command."""
    local, off = "{ports: ['127.0.0.1:8080:80']}", "{ports: [82], when_stopped: reject}"
    site.apply(f"guests:\n  web1: {local}\n  web2: {off}\n")
    site.sh(
        "sysctl -qw net.ipv4.conf.virbr0.route_localnet=0",
        "nft flush set inet vfwhooks reject4_any",
        f'echo "{domain_xml("web4", mac_for(14))}" | {HOOKS}/qemu web4 started begin -',
    )

    before = site.reasons()
    site.systemd.run("vfwhooks", "apply")
    after = site.reasons()
    site.apply()

    cure = "run vfwhooks apply"
    assert before == [
        f"net.ipv4.conf.virbr0.route_localnet is 0; {cure}",
        f"the guest is not running; its ports are not rejected yet: {cure}",
        f"web4 does not run any more, and no hook was called; {cure}",
    ]
    assert after == ["", "the guest is not running; its ports are rejected"]


@cures("entry-missing", "entry-not-in-force", "entry-withdrawn", "clients-limited")
def test_the_hop_of_the_entry(site: Site) -> None:
    """Written or not, and in force or not; for everybody or not."""
    about = ("tcp/8090",)
    limited = "{published: 8090, target: 80, allow_from: 203.0.113.0/24}"
    longer = f"{FORWARDS[:-2]}, 8090:80]\n"
    with site.doctor.until_gone("entry-missing", about=about):
        configure(site.host, longer)

    site.doctor.cure("entry-not-in-force", about=about)
    site.apply(f"{FORWARDS[:-2]}, {limited}]\n")
    with site.doctor.until_gone("clients-limited", about=about):
        site.apply(longer)
    configure(site.host, FORWARDS)
    site.doctor.cure("entry-withdrawn", about=about)


@cures("guest-stopped")
def test_the_hop_of_the_guest(site: Site) -> None:
    """Libvirt has none of that name, nobody has told of its start, or it is off."""
    about = ("tcp/82",)
    site.apply(f"{FORWARDS}  web2: [82]\n")
    with site.doctor.until_gone("guest-stopped", about=about):
        site.apply(f"{FORWARDS}  web3: [83]\n")

    site.apply(f"{FORWARDS}  web2: [82]\n")
    with site.guest("web2", 12) as web2:
        with site.unheard():
            site.host.virsh("start", "web2", "--paused")
        site.doctor.cure("guest-stopped", about=about)
        web2.destroy()
        site.doctor.cure("guest-stopped", about=about)
    site.apply()


@cures("guest-paused")
def test_a_guest_that_stands_still(site: Site) -> None:
    """Somebody has paused it: status says so beside its rules, which are there."""
    site.host.virsh("suspend", "web1")
    paused = site.reasons()
    site.doctor.cure("guest-paused", about=WAY)

    assert paused == ["web1 is paused (user); run: virsh resume web1"]
    assert (site.reasons(), site.is_served()) == ([""], True)


@cures("forward-conflict")
def test_the_hop_of_the_port(site: Site) -> None:
    """A service of the host was there first."""
    site.apply("guests: {}\n")
    with ExitStack() as stack:
        stack.enter_context(serving(site.host, "nginx", 8080))
        site.apply()
        with site.doctor.until_gone("forward-conflict", about=WAY):
            stack.close()
            site.apply()


@cures("no-host-address", "way-unsure", "way-refused")
def test_the_hop_of_the_way_in(site: Site) -> None:
    """No address, a rule that is not understood, one that drops what comes."""
    doctor = site.doctor
    site.sh("ip addr del 203.0.113.1/24 dev outside")
    with doctor.until_gone("no-host-address", about=WAY):
        site.sh("ip addr add 203.0.113.1/24 dev outside")

    site.sh(
        f"nft add table inet own; nft add chain inet own routed {ROUTED % 'accept'}",
        "nft add rule inet own routed meta cpu 7 drop",
    )
    with doctor.until_gone("way-unsure", about=WAY):
        site.sh("nft delete table inet own")

    site.sh(
        f"nft add table inet own; nft add chain inet own routed {ROUTED % 'accept'}",
        "nft add rule inet own routed ip daddr 192.168.122.10 tcp dport 80 drop",
    )
    with doctor.until_gone("way-refused", about=WAY):
        site.sh("nft delete table inet own")


@cures(
    *("answers-leave-elsewhere", "return-path-not-taken", "src-valid-mark-off"),
    *("rp-filter-strict", "return-path-tables-full"),
)
def test_the_hop_of_the_way_back(site: Site) -> None:
    """A second uplink with a table of its own; then more tables than can be marked."""
    doctor, conf = site.doctor, "/proc/sys/net/ipv4/conf"
    entry = f"{{published: 8083, target: 80, host_ip: {SECOND}, return_path: %s}}"
    second = site.host.outside("198.51.100.2/24", name="second")
    site.sh(
        "ip route replace default via 203.0.113.2",
        "ip route replace default via 198.51.100.2 table 100",
        f"ip rule add from {SECOND} lookup 100",
        f"for f in {conf}/*/rp_filter; do echo 0 >$f; done",
    )
    site.apply(f"guests:\n  web1: [{entry % 'false'}]\n")
    doctor.cure("answers-leave-elsewhere", about=BACK)
    site.sh("ip rule del iif virbr0 lookup 100")

    site.apply(f"guests:\n  web1: [{entry % 'true'}]\n")
    site.sh("ip rule del iif virbr0 lookup 100")
    doctor.cure("return-path-not-taken", about=BACK)

    site.sh(f"echo 1 >{conf}/second/rp_filter; echo 0 >{conf}/second/src_valid_mark")
    doctor.cure("src-valid-mark-off", about=BACK)

    site.apply(f"guests:\n  web1: [{entry % 'false'}]\n")
    site.sh(f"ip rule del from {SECOND} lookup 100")
    doctor.cure("rp-filter-strict", about=BACK)

    numbers = range(10, 26)
    site.sh(
        *(f"ip addr add 198.51.100.{one}/32 dev second" for one in numbers),
        *(f"ip rule add from 198.51.100.{one} lookup {one}" for one in numbers),
        *(f"ip route add default via 198.51.100.2 table {one}" for one in numbers),
    )
    ports = ", ".join(f"'198.51.100.{one}:{one}:80'" for one in numbers)
    site.apply(f"guests:\n  web1: {{return_path: true, ports: [{ports}]}}\n")
    doctor.cure("return-path-tables-full", about=("tcp/25",))
    site.sh("ip rule del iif virbr0 from 192.168.122.10 lookup 25")
    site.sh(*(f"ip rule del from 198.51.100.{one} lookup {one}" for one in numbers))
    site.sh("ip route del default")
    site.host.unplug(second)
    site.apply()
