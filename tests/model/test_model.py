"""Whatever happens in whatever order, the kernel holds what it should after each step.

Hypothesis draws the steps; a sequence that fails is printed as a short script. Events
go to the code behind the gates, now and then through the gates themselves. The long
form: VFWHOOKS_MODEL_STEPS=100000, in VFWHOOKS_MODEL_PARTS side by side.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from standin import (
    BACKENDS,
    CONFIG,
    LIMIT,
    QUIET,
    STATE,
    Guest,
    StandIn,
    alone,
    fresh_net,
    run,
)

from model.world import SUBNETS, Running, World, domain, mac_on, port

LENGTH = 40
STEPS = int(os.environ.get("VFWHOOKS_MODEL_STEPS", "240"))
PARTS = int(os.environ.get("VFWHOOKS_MODEL_PARTS", "1"))
NAMES = [f"g{n}" for n in range(5)]
GATE = st.integers(0, 19).map(lambda n: n == 19)
NETWORK = st.sampled_from(list(SUBNETS))
PORTS = st.sampled_from(
    [
        "{0}:80",
        "{0}",
        "{1}:53/udp",
        "203.0.113.5:{0}:80",
        "{2}-{3}:{2}-{3}/udp",
        "{2}-{3}:7000-7004",
        "{{published: {4}, target: 22, allow_from: [10.0.0.0/8]}}",
        "{{target: {5}, protocol: [tcp, udp]}}",
    ]
)
BROKEN = st.sampled_from(
    ["guests: [\n", "", "guests: {g0: [99999]}\n", "guest: {}\n", "\x00", None]
)


PATTERNS = ["g[0-2]", "g*", "?1", "*", "g[!3]", "h*"]
SHARED = 9000


@st.composite
def listed(draw: st.DrawFn, base: int, fewest: int = 0) -> str:
    """Ports of one guest, from this number on."""
    ports = draw(st.lists(PORTS, min_size=fewest, max_size=3, unique=True))
    texts = [
        one.format(base, base + 1, base + 10, base + 14, base + 20, base + 21)
        for one in ports
    ]
    if {"{0}:80", "{0}"} <= set(ports):
        texts.remove(f"{base}")
    if {"{2}-{3}:{2}-{3}/udp", "{2}-{3}:7000-7004"} <= set(ports):
        texts = [t for t in texts if "7000" not in t]
    return ", ".join(t if t[0] == "{" else f"'{t}'" for t in texts)


@st.composite
def forwards(draw: st.DrawFn) -> str:
    """A valid forwards.yaml: each guest has ports of its own, and all patterns, and one
    of the guests, want the same."""
    lines = []
    patterns = draw(st.lists(st.sampled_from(PATTERNS), max_size=2, unique=True))
    sharing = draw(st.sampled_from([*NAMES, "", "", ""]))
    most = 2 if patterns else len(NAMES)
    for name in sorted(draw(st.sets(st.sampled_from(NAMES), max_size=most))):
        base = SHARED if name == sharing else 8000 + 100 * NAMES.index(name)
        lines.append(f"  {name}: [{draw(listed(base))}]\n")
    text = "guests:\n" + "".join(lines) if lines else "guests: {}\n"
    lines = [f"  '{pattern}': [{draw(listed(SHARED, 1))}]\n" for pattern in patterns]
    return f"{text}patterns:\n{''.join(lines)}" if lines else text


class Model(RuleBasedStateMachine):
    """A host's life."""

    backend = "nftables"
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        fresh_net()
        self.host = StandIn(self.backend, settle=False)
        run("ip", "link", "add", "virbr1", "type", "bridge")
        self.world = World(self.backend)
        self.serial = 0
        for network in SUBNETS:
            self.world.write_network(network)
            self.world.write_leases(network)
        self.apply()

    def event(
        self, by_gate: bool, driver: str, name: str, operation: str, xml: str = ""
    ) -> None:
        """An event, by its gate or behind it."""
        if by_gate:
            assert self.host.call(driver, name, operation, xml) == QUIET
        else:
            self.host.event(driver, name, operation, xml)

    def plug(self, by_gate: bool, network: str, operation: str, guest: Guest) -> None:
        """An event about an interface, which ends in its gate."""
        if by_gate:
            self.event(True, "network", network, operation, port(guest, network))

    def find(self, one: Running, is_followed: bool) -> None:
        """A guest has other interfaces: the service or `apply` finds that."""
        if is_followed:
            self.host.found(_Known(one))
        else:
            self.apply()

    def guests(self) -> list[Running]:
        return list(self.world.running.values())

    def pick(self, number: int) -> Running:
        return self.guests()[number % len(self.world.running)]

    def has_guests(self) -> bool:
        return bool(self.world.running)

    @initialize(text=forwards())
    def begin(self, text: str) -> None:
        """A host has a file before its first guest."""
        self.edit(text, False)

    @rule(
        name=st.sampled_from(NAMES),
        nics=st.lists(NETWORK, min_size=1, unique=True),
        is_migrated=st.booleans(),
        is_reserved=st.booleans(),
        by_gate=GATE,
    )
    def start(
        self,
        name: str,
        nics: list[str],
        is_migrated: bool,
        is_reserved: bool,
        by_gate: bool,
    ) -> None:
        """Defined anew and started here, or migrated in; its address is known at once,
        or later, or never."""
        if name in self.world.running:
            return
        self.serial += 1
        guest = Guest(name, 10 + NAMES.index(name) + 16 * (self.serial % 8))
        nics = [network for network in nics if network in self.world.active]
        for network in nics if is_reserved else ():
            mac = mac_on(guest, network)
            if not self.host_is_taken(network, guest.number, mac):
                self.world.reserved[network][mac] = guest.number
                self.world.write_network(network)
        if is_migrated and by_gate:
            self.event(True, "qemu", name, "migrate", domain(guest, nics))
        for network in nics:
            self.plug(by_gate, network, "port-created", guest)
        self.event(by_gate, "qemu", name, "started", domain(guest, nics))
        self.world.running[name] = Running(guest, nics)

    @precondition(has_guests)
    @rule(number=st.integers(0, 9), by_gate=GATE)
    def stop(self, number: int, by_gate: bool) -> None:
        """Stopped, crashed or migrated away: the hooks are the same."""
        one = self.pick(number)
        self.event(
            by_gate, "qemu", one.guest.name, "stopped", domain(one.guest, one.nics)
        )
        for network in one.nics:
            self.plug(by_gate, network, "port-deleted", one.guest)
        self.event(by_gate, "qemu", one.guest.name, "release")
        del self.world.running[one.guest.name]

    @precondition(has_guests)
    @rule(number=st.integers(0, 9))
    def vanish(self, number: int) -> None:
        """Gone without a hook; `apply` hears of it from libvirtd."""
        one = self.pick(number)
        del self.world.running[one.guest.name]
        self.apply()

    @rule()
    def apply(self) -> None:
        """An administrator's apply."""
        guests = [_Known(one) for one in self.guests()]
        assert self.host.apply(*guests) == 0, self.host.said.getvalue()

    @rule(text=forwards(), is_by_event=st.integers(0, 9).map(lambda n: n == 9))
    def edit(self, text: str, is_by_event: bool) -> None:
        """A good edit, put in force by `apply` or by the next event."""
        self.host.configure(text, settle=False)
        self.world.forwards = text
        if is_by_event:
            self.event(False, "qemu", "idle", "stopped")
        else:
            self.apply()

    @rule(text=BROKEN)
    def break_file(self, text: str | None) -> None:
        """A broken edit, or none left: nothing changes; then it is mended."""
        if text is None:
            CONFIG.unlink()
        else:
            self.host.configure(text, settle=False)
        known = [_Known(one) for one in self.guests()]
        assert self.host.apply(*known) == 2
        self.check()
        self.host.configure(self.world.forwards, settle=False)
        self.apply()

    @rule(name=st.sampled_from(NAMES), network=NETWORK, host=st.integers(10, 200))
    def reserve(self, name: str, network: str, host: int) -> None:
        """net-update: another reservation, for the guest that runs or has run; of an
        inactive network the definition is updated."""
        if name not in self.world.running:
            return
        mac = mac_on(self.world.running[name].guest, network)
        if self.host_is_taken(network, host, mac):
            return
        self.world.reserved[network][mac] = host
        xml = self.world.write_network(network)
        self.event(False, "network", network, "updated", xml)

    @rule(name=st.sampled_from(NAMES), network=NETWORK, host=st.integers(10, 200))
    def lease(self, name: str, network: str, host: int) -> None:
        """dnsmasq gives another address, and watch hears of it."""
        if network not in self.world.active or name not in self.world.running:
            return
        one = self.world.running[name]
        mac = mac_on(one.guest, network)
        if self.host_is_taken(network, host, mac):
            return
        self.world.leased[network][mac] = host
        self.world.write_leases(network)
        self.host.moved(one.guest)

    def host_is_taken(self, network: str, host: int, mac: str) -> bool:
        """Whether another MAC has the address, or a guest that stayed there."""
        held = [*self.world.reserved[network].items()]
        held += self.world.leased[network].items()
        at = f"192.168.{SUBNETS[network]}.{host}"
        stays = [one for one in self.guests() if one.last == at]
        return any(h == host and m != mac for m, h in held) or bool(stays)

    @precondition(has_guests)
    @rule(number=st.integers(0, 9), network=NETWORK, by_gate=GATE, how=st.booleans())
    def attach(self, number: int, network: str, by_gate: bool, how: bool) -> None:
        """A card is plugged in: the hook does nothing, and then it is found."""
        one = self.pick(number)
        if network in one.nics or network not in self.world.active:
            return
        self.plug(by_gate, network, "port-created", one.guest)
        self.check()
        one.nics.append(network)
        self.find(one, how)

    @precondition(has_guests)
    @rule(number=st.integers(0, 9), network=NETWORK, by_gate=GATE, how=st.booleans())
    def detach(self, number: int, network: str, by_gate: bool, how: bool) -> None:
        """A card is pulled."""
        one = self.pick(number)
        if network not in one.nics:
            return
        self.plug(by_gate, network, "port-deleted", one.guest)
        self.check()
        one.nics.remove(network)
        self.find(one, how)

    @rule(network=NETWORK, by_gate=GATE)
    def restart_network(self, network: str, by_gate: bool) -> None:
        """net-destroy and net-start."""
        self.world.active.discard(network)
        self.event(by_gate, "network", network, "stopped")
        self.world.write_network(network)
        self.check()
        self.world.active.add(network)
        xml = self.world.write_network(network)
        self.event(by_gate, "network", network, "started", xml)

    @rule(by_gate=GATE)
    def restart_daemon(self, by_gate: bool) -> None:
        """libvirtd is restarted: its hook, and each guest's reconnect."""
        if by_gate:
            self.event(True, "daemon", "-", "start")
        else:
            STATE.mkdir(0o700, exist_ok=True)
            (STATE / "full").touch()
        for one in self.guests():
            for network in one.nics:
                self.plug(by_gate, network, "port-created", one.guest)
            xml = domain(one.guest, one.nics)
            self.event(by_gate, "qemu", one.guest.name, "reconnect", xml)
        self.event(by_gate, "qemu", "idle", "stopped")

    @rule(how=st.sampled_from(["all", "ours", "elements", "jump"]))
    def flush(self, how: str) -> None:
        """Somebody else wipes rules, libvirtd is restarted, watch looks."""
        for command in WIPES[self.backend][how]:
            run(*command.split(" "))
        if how == "all":
            self.host.libvirts_rules()
        self.host.watch_looks()

    @invariant()
    def check(self) -> None:
        """The kernel holds what the model expects, and nothing is left to do."""
        Model.steps += 1
        wanted, found = self.world.expected(), self.world.held()
        assert found == wanted
        recorded = {path.name for path in STATE.glob("guests/qemu/*")}
        assert recorded == set(self.world.running)
        waiting = [
            path
            for one in ("intents/*", "spool/*", "working")
            for path in STATE.glob(one)
        ]
        assert (waiting, [*STATE.glob("aside/*")]) == ([], [])


class _Known(Guest):
    """A guest as libvirtd describes it, with its interfaces of now."""

    nics: list[str]

    def __new__(cls, one: Running) -> _Known:
        self = super().__new__(cls, *one.guest)
        self.nics = one.nics
        return self

    def xml(self) -> str:
        return domain(self, self.nics)


WIPES = {
    "nftables": {
        "all": ["nft flush ruleset"],
        "ours": ["nft add table inet vfwhooks", "nft delete table inet vfwhooks"],
        "elements": ["nft add table inet vfwhooks", "nft flush table inet vfwhooks"],
        "jump": ["nft flush chain ip libvirt_network forward"],
    },
    "iptables": {
        "all": ["nft flush ruleset"],
        "ours": ["iptables -t nat -F", "iptables -t nat -P PREROUTING ACCEPT"],
        "elements": ["iptables -t nat -F PREROUTING"],
        "jump": ["iptables -F FORWARD"],
    },
}


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_life_of_a_host(
    backend: str, part: int, measured: Callable[[str, float], None]
) -> None:
    """After every step the kernel equals the oracle."""
    steps, seconds = alone(live)(backend)

    measured("steps", steps)
    measured("steps a second", steps / seconds)


def live(backend: str) -> tuple[int, float]:
    """So many lives as make the steps that are asked for."""
    from vfwhooks.config import last_good
    from vfwhooks.host import run as tools

    last_good.SETTLED = 0.0  # nobody else writes the file: it is whole at once
    tools.SECONDS = LIMIT  # a machine that stands still is no fault
    Model.backend = backend
    begun = time.monotonic()
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=max(1, STEPS // LENGTH // len(BACKENDS) // PARTS),
            stateful_step_count=LENGTH,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

    return Model.steps, time.monotonic() - begun
