"""Events to be disturbed, and what must hold when they have been.

A scene is played again and again on one stand-in host: `web0` runs throughout, `web1`
comes and goes. The expectation is what the kernel held when the same was played
undisturbed, and the first play is compared with the oracle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from oracle import Published, expected, iptables_published, nft_published
from standin import (
    ENVIRONMENT,
    QUIET,
    STATE,
    Guest,
    StandIn,
    hook_argv,
    ipv4,
    kernel,
    mount_tmpfs,
    nft_json,
    run,
)

from faults.stepper import Act, Stepped, step

WEB0, WEB1, IDLE = Guest("web0", 10), Guest("web1", 11), Guest("idle", 12)
PORTS = "[8080:80, 443, '5000-5003:5000-5003/udp']"
EDITS = (
    f"guests:\n  web0: [8000:80, 222:22]\n  web1: {PORTS}\n",
    f"guests:\n  web0: [8001:80, 222:22/udp]\n  web1: {PORTS}\n",
    # The same rules as the first, and ports of bridges in hairpin mode.
    "defaults: {hairpin: true}\n"
    f"guests:\n  web0: [8000:80, 222:22]\n  web1: {PORTS}\n",
    # web1's answers take a way of their own.
    "guests:\n  web0: [8000:80, 222:22]\n"
    f"  web1: {{return_path: true, ports: {PORTS}}}\n",
)
HAIRPIN, RETURNED = 2, 3
ALLOWED = "    - {published: 2222, target: 22, allow_from: [10.0.0.0/8]}\n"


class Scene(NamedTuple):
    """What comes before the disturbed event, the event, and the one that follows it
    in libvirt's life; who runs when it is over."""

    before: Callable[[Stage], None]
    event: tuple[Guest, str]
    later: tuple[Guest, str]
    runs: tuple[Guest, ...]


def nothing(_: Stage) -> None:
    """The event comes out of the blue."""


def start(stage: Stage) -> None:
    """web1 has been started."""
    stage.host.event("qemu", "web1", "started", WEB1.xml())


def edit(stage: Stage) -> None:
    """forwards.yaml has just been edited."""
    stage.edition = 1 - stage.edition
    stage.host.configure(EDITS[stage.edition])


def edit_hairpin(stage: Stage) -> None:
    """It has been edited: web0's port of its bridge goes into hairpin mode, or back."""
    stage.edition = 0 if stage.edition == HAIRPIN else HAIRPIN
    stage.host.configure(EDITS[stage.edition])


def plug_in(stage: Stage) -> None:
    """web1, whose port is to be in hairpin mode, has one of its own, as at every start;
    nothing else is new."""
    if stage.edition != HAIRPIN:
        edit_hairpin(stage)
        stage.host.event("qemu", "web0", "reconnect", WEB0.xml())
    run("ip", "link", "del", tap(WEB1))
    add_tap(WEB1)


def start_returned(stage: Stage) -> None:
    """web1 has been started, and its answers take a way of their own."""
    assert stage.edition == RETURNED
    start(stage)


def add_uplink() -> None:
    """A second way out, by which the host's own answers from its address leave."""
    run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "uplink-far")
    run("ip", "addr", "add", "198.51.100.1/24", "dev", "uplink")
    for end in ("uplink", "uplink-far"):
        run("ip", "link", "set", end, "up")
    to = "default", "via", "198.51.100.2", "table", "100"
    run("ip", "route", "add", *to)
    run("ip", "rule", "add", "from", "198.51.100.1", "lookup", "100")


def tap(guest: Guest) -> str:
    """The guest's interface on the host."""
    return f"vnet{guest.number}"


def add_tap(guest: Guest) -> None:
    """Give it one that nothing has been set of."""
    run("ip", "link", "add", tap(guest), "master", "virbr0", "type", "veth")


class Stage:
    """A stand-in host on which scenes are played."""

    def __init__(self, backend: str, small: bool = False) -> None:
        if small:
            STATE.mkdir()
            mount_tmpfs(str(STATE), "size=512k,nr_inodes=200,mode=700")
        self.host = StandIn(backend, EDITS[0])
        self.host.network(WEB0, WEB1)
        for guest in (WEB0, WEB1):
            add_tap(guest)
        add_uplink()
        self.backend = backend
        self.edition = 0
        self.plays = 0
        assert self.host.start(WEB0) == QUIET
        self.golden: dict[tuple[int, tuple[Guest, ...]], list[str]] = {}

    def learn(self, *editions: int) -> None:
        """Note what the kernel holds when nothing is disturbed; the oracle agrees."""
        for edition in editions or (0,):
            if edition != self.edition:
                self.edition = edition
                self.host.configure(EDITS[edition])
            if edition == RETURNED:  # what it needs of iptables is made once, and stays
                start(self)
                self.host.event("qemu", "web1", "stopped")
            for runs in ((WEB0,), (WEB0, WEB1)):
                if WEB1 in runs:
                    start(self)
                self.host.event("qemu", "web0", "reconnect", WEB0.xml())
                addresses = {guest.name: [ipv4(guest)] for guest in runs}
                assert published(self.backend) == expected(EDITS[edition], addresses)
                self.golden[edition, runs] = kernel(self.backend)
            self.host.event("qemu", "web1", "stopped")

    def play(
        self, scene: Scene, before: Act | None = None, behind: Act | None = None
    ) -> Stepped:
        """Play a scene; the disturbed event's gate, stepped through."""
        scene.before(self)
        guest, operation = scene.event
        argv = hook_argv(guest.driver, guest.name, operation)
        return step(argv, ENVIRONMENT, guest.xml(), before, behind)

    def close(self, scene: Scene) -> list[str]:
        """The later event, then `apply`; what is wrong after that."""
        wrong = []
        guest, operation = scene.later
        is_known = WEB1 not in scene.runs or self.is_known()
        if self.host.call(guest.driver, guest.name, operation, guest.xml()) != QUIET:
            wrong.append("the later event's hook failed")
        if operation == "release" and (STATE / "full").exists():
            # Of a guest without a record it is no event: whoever comes next looks.
            self.host.call("qemu", "idle", "stopped")
        if is_known:
            wrong += self.differs(scene.runs, "a later event")
            if any("did not end within" in line for line in self.host.syslog()):
                wrong, is_known = [], False  # a busy machine: `apply` has no such limit
        self.plays += 1
        if wrong or not is_known or self.plays % 8 == 0:
            if self.host.apply(*scene.runs) != 0:
                wrong.append(f"apply failed: {self.host.said.getvalue()}")
            wrong += self.differs(scene.runs, "apply")
        if WEB1 in scene.runs:
            self.host.event("qemu", "web1", "stopped")
            wrong += self.differs((WEB0,), "a clean stop")
        self.host.event("qemu", "idle", "stopped")  # `release` of a known guest is none
        return wrong + self.left_over()

    def is_known(self) -> bool:
        """Whether the event got as far as being written down."""
        waits = any(STATE.glob("intents/*")) or any(STATE.glob("spool/*"))
        return waits or (STATE / "guests/qemu/web1").exists()

    def differs(self, runs: tuple[Guest, ...], when: str) -> list[str]:
        """How the kernel differs from what it holds while these guests run."""
        edition = 0 if self.edition == HAIRPIN else self.edition
        wanted = self.golden[edition, runs]
        found = kernel(self.backend)
        wrong = [f"after {when}: {one}" for guest in runs for one in self.port(guest)]
        wrong += [f"after {when}: {one}" for one in self.way(runs)]
        if wrong or wanted == found:
            return wrong
        more = list((Counter(found) - Counter(wanted)).elements())
        less = list((Counter(wanted) - Counter(found)).elements())
        if not more + less:
            return [f"after {when}: in another order: {found}"]
        return [f"after {when}: more {more[:9]}, less {less[:9]}"]

    def port(self, guest: Guest) -> list[str]:
        """What is wrong with the guest's port of the bridge: with its mode, or with the
        record of who set it."""
        about = Path(f"/sys/class/net/{tap(guest)}")
        mode = (about / "brport/hairpin_mode").read_text().strip()
        ours = f"hairpin {about.name} virbr0 {(about / 'ifindex').read_text().strip()}"
        record = STATE / "guests/qemu" / guest.name
        noted = record.read_text().split("\n") if record.exists() else []
        found = mode == "1", ours in noted
        is_wanted = self.edition == HAIRPIN
        return [f"{about.name}: {found}"] if found != (is_wanted, is_wanted) else []

    def way(self, runs: tuple[Guest, ...]) -> list[str]:
        """What is wrong with the way that answers of web1 take: with the rule for it,
        or with its uplink's setting."""
        ours = [line for line in run("ip", "rule").split("\n") if "/0xf000000" in line]
        key = Path("/proc/sys/net/ipv4/conf/uplink/src_valid_mark")
        found = len(ours), key.read_text().strip()
        is_wanted = self.edition == RETURNED and WEB1 in runs
        wanted = (1, "1") if is_wanted else (0, "0")
        return [f"way: {ours}, {found}"] if found != wanted else []

    def left_over(self) -> list[str]:
        """What the state directory has that nobody needs any more."""
        places = ("spool/*", "intents/*", "working", "full", "asking/*", "gone/*")
        found = [str(path) for place in places for path in STATE.glob(place)]
        return [f"left over: {found}"] if found else []


SCENES = {
    "start": Scene(nothing, (WEB1, "started"), (IDLE, "stopped"), (WEB0, WEB1)),
    "stop": Scene(start, (WEB1, "stopped"), (WEB1, "release"), (WEB0,)),
    "reconnect": Scene(start, (WEB1, "reconnect"), (IDLE, "stopped"), (WEB0, WEB1)),
    "edit": Scene(edit, (WEB0, "reconnect"), (WEB0, "reconnect"), (WEB0,)),
    "hairpin": Scene(edit_hairpin, (WEB0, "reconnect"), (WEB0, "reconnect"), (WEB0,)),
    "way": Scene(nothing, (WEB1, "started"), (IDLE, "stopped"), (WEB0, WEB1)),
    "no way": Scene(start_returned, (WEB1, "stopped"), (WEB1, "release"), (WEB0,)),
    "bounce": Scene(plug_in, (WEB1, "started"), (IDLE, "stopped"), (WEB0, WEB1)),
}


def published(backend: str) -> set[Published]:
    """What the kernel publishes, by the oracle's own reading."""
    if backend == "nftables":
        return nft_published(nft_json())
    tools = ("iptables-save", "ip6tables-save")
    return {one for tool in tools for one in iptables_published(run(tool))}
