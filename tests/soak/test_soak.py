"""A host of libvirt's and its guests, for as long as somebody likes: tests/run --soak.

Random operations, one after another; after each, the kernel holds the plan, all guests
that should run do, and the connections that were open still are. VFWHOOKS_SOAK_SEED
makes another run of it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from lab.network import default_network
from oracle import Published, expected
from product import (
    configure,
    is_acknowledged,
    published,
    put_in,
    start_watch,
    states,
    stop_watch,
    vfwhooks,
)

SECONDS = 60 * float(os.environ.get("VFWHOOKS_SOAK_MINUTES", "0.15"))
SEED = int(os.environ.get("VFWHOOKS_SOAK_SEED", "1"))
KINDS: dict[str, Callable[[], AbstractContextManager[Host]]] = {
    "libvirt-11.3-nftables": lambda: Host.debian13("nftables"),
    "libvirt-9.0-iptables": Host.debian12,
}
EDITS = (
    "guests:\n  stays: [8080:80]\n  web1: [8081:80, 5001:53/udp]\n  web2: [8082:80]\n",
    "guests:\n  stays: [8080:80]\n  web1: [8091:80]\n  web2: [8092:80, 6000-6005]\n",
    "guests:\n  stays: [8080:80, 9000]\n  web3: [8083:80]\n",
)
BROKEN = ("guests: [\n", "", "guests: {web1: [99999]}\n")
WIPES = ("nft delete table inet vfwhooks", "iptables -t nat -F", "nft flush ruleset")


class Soak:
    """The host, who runs on it, what the file says, and what was counted."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.rng = random.Random(SEED)
        self.outside: Net = host.outside()
        self.forwards = EDITS[0]
        self.counts: dict[str, int] = {}
        self.stays = host.define_guest("stays").start(wait=True)
        self.guests = [host.define_guest(f"web{n}") for n in (1, 2, 3)]
        self.running: list[Guest] = []
        start_watch(host)
        self.wait_for_plan("the first")
        self.forwarded = self.outside.connect("203.0.113.1", 8080)
        self.foreign = self.outside.connect("203.0.113.1", 22)

    def run(self, seconds: float) -> None:
        """One operation after another."""
        acts = [self.start] * 4 + [self.stop] * 3 + [self.edit] * 3
        acts += [self.break_file, self.restart_libvirtd, self.reload, self.wipe]
        acts += [self.restart_network, self.apply]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            act = self.rng.choice(acts)
            act()
            name = act.__name__
            self.counts[name] = self.counts.get(name, 0) + 1
            self.check(name)

    def start(self) -> None:
        idle = [guest for guest in self.guests if guest not in self.running]
        if idle:
            guest = self.rng.choice(idle).start()
            self.running.append(guest)
            self.counts["guests started"] = self.counts.get("guests started", 0) + 1

    def stop(self) -> None:
        if self.running:
            guest = self.rng.choice(self.running)
            guest.destroy()
            self.running.remove(guest)

    def edit(self) -> None:
        self.forwards = self.rng.choice(EDITS)
        configure(self.host, self.forwards)

    def break_file(self) -> None:
        """A broken edit changes nothing, and is mended."""
        configure(self.host, self.rng.choice(BROKEN))
        time.sleep(0.5)
        self.check("break_file")
        configure(self.host, self.forwards)

    def restart_libvirtd(self) -> None:
        self.host.restart_libvirtd()
        wait_until(self.all_run, "every guest lives on")

    def reload(self) -> None:
        self.host.sighup()

    def wipe(self) -> None:
        """Somebody flushes; libvirtd's own rules need its restart."""
        self.host.call(self.rng.choice(WIPES).split())
        self.restart_libvirtd()

    def restart_network(self) -> None:
        """Interfaces come back to their bridge when libvirtd is restarted.

        The forwards go with their network. A connection lives on if its guest is not
        the first to speak again, so it is not left waiting for an acknowledgement.
        """
        wait_until(
            lambda: is_acknowledged(self.host, self.forwarded), "the acknowledgement"
        )
        self.host.virsh("net-destroy", "default")
        self.host.virsh("net-start", "default")
        self.restart_libvirtd()

    def apply(self) -> None:
        vfwhooks(self.host, "apply").check()

    def check(self, what: str) -> None:
        """What must hold after every operation."""
        self.wait_for_plan(what)
        assert self.all_run(), f"after {what}: {self.host.virsh('list')}"
        for connection in (self.forwarded, self.foreign):
            answer = self.outside.ask(connection, timeout=30)
            assert answer.answered, f"after {what}: {answer}\n{self.dossier()}"
        errors = self.host.syslog("hook failed|Error|Traceback")
        # libvirt's table may go, or come, while we are at it.
        errors = [line for line in errors if "libvirt_network: nft:" not in line]
        assert errors == [], f"after {what}: {errors}\n{self.dossier()}"

    def dossier(self) -> str:
        """What may say why a connection has not lived on."""
        looks = (
            "ip -br link; ip -br addr; bridge link; ip neigh",
            "nft list ruleset; iptables-save",
            "conntrack -L 2>/dev/null",
            "cat /run/vfwhooks/base /run/vfwhooks/guests/qemu/*",
        )
        found = [self.host.call(["sh", "-c", look]).stdout for look in looks]
        return "\n".join([*found, *self.host.syslog("")[-60:]])

    def all_run(self) -> bool:
        names = {self.stays.name, *(guest.name for guest in self.running)}
        return set(self.host.virsh("list", "--name").split()) == names

    def wait_for_plan(self, what: str) -> None:
        wait_until(
            lambda: self.plan() == published(self.host),
            lambda: (
                f"after {what}: {self.plan() ^ published(self.host)} "
                f"{states(self.host)} {self.host.syslog('vfwhooks')[-9:]}"
            ),
        )

    def plan(self) -> set[Published]:
        where = {g.name: [g.address] for g in (self.stays, *self.running)}
        return expected(self.forwards, where)

    def end(self) -> set[Published]:
        """Everybody stops; what is still published is leaked."""
        stop_watch(self.host)
        for guest in (self.stays, *self.running):
            guest.destroy()
        return published(self.host)


@pytest.mark.parametrize("kind", KINDS)
def test_soak(kind: str, measured: Callable[[str, float], None]) -> None:
    """Whatever is done in whatever order, everything holds throughout, and in the end
    nothing is left."""
    with KINDS[kind]() as host:
        put_in(host, EDITS[0])
        host.start_libvirtd()
        host.start_network(default_network())
        with host.net.serve_tcp(22):
            soak = Soak(host)
            soak.run(SECONDS)
            leaked = soak.end()

    for what, count in sorted(soak.counts.items()):
        measured(what, count)
    assert leaked == set()
