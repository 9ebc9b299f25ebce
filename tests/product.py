"""vfwhooks on a host of the lab: its hooks, its configuration, its command line."""

from __future__ import annotations

import json
import re
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.box import Done, wait_until
from lab.host import HOOKS, Host
from oracle import Published, iptables_published, nft_published

HERE = Path(__file__).resolve().parent.parent
DRIVERS = ("qemu", "lxc", "libxl", "network", "daemon")
CONFIG = "/etc/vfwhooks/forwards.yaml"


# A hook gives its work up in time, whatever is not done then: where a test is not about
# that, a busy machine must not decide what it sees.
_HASTY = "from vfwhooks.service.hook import main; main(sys.argv[2:])"
_PATIENT = """\
from vfwhooks.host.run import Run; Run.__init__.__defaults__ = (), 50.0, float("inf")
from vfwhooks.service import hook
hook.RING_TIMEOUT, hook.LOCK_TIMEOUT, hook.DEADLINE = 40.0, 50.0, 55.0
hook.main(sys.argv[2:])"""


def patient(gate: str) -> str:
    """The text of a hook, with time to spare."""
    assert gate.count(_HASTY) <= 1, "another hook than this knows"
    return gate.replace(_HASTY, _PATIENT)


def hook_files(lib: str = Host.CHECKOUT) -> dict[str, str]:
    """The hooks as an installation has them: real files that name their package."""
    texts = {name: (HERE / "hooks" / name).read_text() for name in DRIVERS}
    return {name: t.replace("${0%/*}/..", lib) for name, t in texts.items()}


def put_in(
    host: Host, forwards: str = "guests: {}\n", *, is_patient: bool = False
) -> None:
    """Install hooks and configuration on a host whose libvirtd is not running yet; with
    `is_patient` the hooks have time to spare."""
    files = hook_files()
    host.install_hooks({n: patient(files[n]) for n in files} if is_patient else files)
    host.run(["mkdir", "-p", "/var/lib/vfwhooks"])
    configure(host, forwards)


def configure(host: Host, forwards: str) -> None:
    """Write forwards.yaml, by rename."""
    host.write(CONFIG, forwards)


def edit(host: Host, forwards: str) -> None:
    """Write forwards.yaml, and wait until the service has put it in force."""
    configure(host, forwards)
    waits = "is not in force yet"
    wait_until(lambda: waits not in vfwhooks(host, "status").stdout, "the edit", 30)


def vfwhooks(host: Host, *arguments: str) -> Done:
    """Run the command line on the host, from the checkout."""
    command = ["/usr/bin/python3", "-m", "vfwhooks", *arguments]
    return host.call(command, env={"PYTHONPATH": Host.CHECKOUT})


def status(host: Host) -> dict[str, Any]:
    """What `status --json` says."""
    done = vfwhooks(host, "status", "--json")
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def rows(host: Host) -> list[tuple[str, str]]:
    """The state and the reason of every forward."""
    return [(row["state"], row["reason"]) for row in status(host)["forwards"]]


def states(host: Host) -> dict[str, str]:
    """The state of every forward by guest and published port ("web1 8080/tcp")."""
    return {
        f"{row['guest']} {row['published']}/{row['protocol']}": row["state"]
        for row in status(host)["forwards"]
    }


def call_hook(host: Host, driver: str, *arguments: str, xml: str = "") -> Done:
    """Call a hook as libvirt does."""
    return host.call([f"{HOOKS}/{driver}", *arguments], input=xml)


def ruleset(host: Host) -> str:
    """Everything in netfilter, without counters: nft's words and both iptables'.

    nft's words for the protocol of an iptables rule are left out where a port says the
    same: a rule that came by netlink matches it as every release of iptables reads it,
    a rule of the tool as this release writes it.
    """
    text = host.run(["nft", "-s", "list", "ruleset"])
    text = re.sub(r"(?:ip protocol|meta l4proto) (\w+) (?=\1 )", "", text)
    parts = [text.replace("  counter", " counter")]
    for tool in ("iptables", "ip6tables"):
        save = re.sub(r"\[\d+:\d+\]", "", host.run([f"{tool}-save"]))
        parts += [line for line in save.split("\n") if not line.startswith("#")]
    return "\n".join(parts)


def settled_ruleset(host: Host) -> str:
    """The ruleset once libvirtd, which may be rebuilding its part, leaves it alone."""
    seen: list[str] = []

    def is_stable() -> bool:
        seen.append(ruleset(host))
        return len(seen) > 8 and len(set(seen[-8:])) == 1

    wait_until(is_stable, "a stable ruleset")
    return seen[-1]


def reload_libvirtd(host: Host) -> None:
    """Have libvirtd look for hooks and make its rules anew, and wait until it has."""
    listing = ["nft", "-a", "list", "ruleset"]
    before = host.run(listing)
    host.sighup()
    wait_until(lambda: host.run(listing) != before, "libvirtd makes its rules anew")
    settled_ruleset(host)


def forward_chain(host: Host) -> list[str]:
    """The jumps of the chain that libvirt lets packets to guests pass or not."""
    if status(host)["backend"] == "nftables":
        text = host.run(
            ["nft", "-s", "list", "chain", "ip", "libvirt_network", "forward"]
        )
    else:
        text = host.run(["iptables", "-S", "FORWARD"])
    return re.findall(r"(?:jump|-j) (\S+)", text)


def is_acknowledged(host: Host, connection: socket.socket) -> bool:
    """Whether all that was said on a connection through the host has been heard of: the
    kernel gives it days then, and five minutes until then."""
    port = str(connection.getsockname()[1])
    found = host.run(["conntrack", "-L", "-p", "tcp", "--orig-port-src", port])
    return int(found.split()[2]) > 300


def start_watch(host: Host, *command: str, **environment: str) -> None:
    """Run `vfwhooks watch` on the host, as the service does, until stop_watch; it has
    asked libvirtd. From the checkout, unless the command is another."""
    env = {} if command else {"PYTHONPATH": Host.CHECKOUT}
    command = command or ("/usr/bin/python3", "-m", "vfwhooks")
    argv = ["/usr/bin/python3", "-c", _START_WATCH, *command, "watch"]
    host.run(argv, env={**env, **environment})


_START_WATCH = """
import os, socket, subprocess, sys
ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ready.settimeout(50)
ready.bind("\\0watch-is-ready")
watch = subprocess.Popen(
    sys.argv[1:],
    env={**os.environ, "NOTIFY_SOCKET": "@watch-is-ready"},
    start_new_session=True,
    stdin=subprocess.DEVNULL,
    stdout=open("/tmp/watch.log", "w"),
    stderr=subprocess.STDOUT,
)
with open("/run/watch.pid", "w") as file:
    file.write(f"{watch.pid}\\n")
assert ready.recv(4096) == b"READY=1"
while not ready.recv(4096).startswith(b"STATUS="):
    pass
"""


def stop_watch(host: Host) -> None:
    """End it and its children, by its process id; they are gone when this returns."""
    group = f"-{host.read('/run/watch.pid').strip()}"
    if host.call(["sh", "-c", f"kill -TERM {group}"]).status == 0:
        is_there = ["sh", "-c", f"kill -0 {group}"]
        wait_until(lambda: host.call(is_there).status != 0, "the end of the watch")
        host.run(["rm", "/run/watch.pid"])


def rested(host: Host, seconds: float = 2.0) -> None:
    """Wait until the watch has slept for so long, with no child at work: what it has
    heard of so far is done."""
    process = f"/proc/{host.read('/run/watch.pid').strip()}"
    seen, since = list[str](), time.monotonic()

    def has_slept() -> bool:
        nonlocal seen, since
        work = host.call(["sh", "-c", f"cat {process}/task/*/children"]).stdout
        lines = host.read(f"{process}/status").splitlines()
        woken = [line for line in lines if "_switches" in line]
        if woken != seen or work.strip():
            seen, since = woken, time.monotonic()
        return time.monotonic() - since > seconds

    wait_until(has_slept, "the watch rests")


@contextmanager
def at_rest(host: Host) -> Iterator[None]:
    """The watch stands still, and has not the lock: what it does some seconds later is
    not done before the block ends, however slow the machine is."""
    signal = "kill -{} $(cat /run/watch.pid)"
    free = "flock --nonblock /run/vfwhooks/lock true"
    stop = f"{signal.format('STOP')}; {free} || {{ {signal.format('CONT')}; exit 1; }}"
    wait_until(lambda: host.call(["sh", "-c", stop]).status == 0, "nothing under way")
    try:
        yield
    finally:
        host.run(["sh", "-c", signal.format("CONT")])


def watch_cpu_seconds(host: Host) -> float:
    """How much processor time the watch has used so far, its children's too."""
    pid = host.read("/run/watch.pid").strip()
    words = host.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / 100


def published(host: Host) -> set[Published]:
    """What the kernel of the host publishes, by either backend."""
    found = nft_published(host.run(["nft", "-j", "list", "ruleset"]))
    for tool in ("iptables-save", "ip6tables-save"):
        found |= iptables_published(host.run([tool]))
    return found


def published_ports(host: Host) -> set[int]:
    """The ports that the kernel of the host publishes."""
    return {one.port for one in published(host)}


def sealed(text: str) -> str:
    """A file of the state directory's, as the product writes it."""
    return f"vfw1 {zlib.crc32(text.encode()):08x}\n{text}"


def domain_xml(name: str, mac: str) -> str:
    """What libvirt tells the hook of a guest on the default network."""
    uuid = "6b33ec13-96d6-4581-bc2f-38dee79d5ae5"
    nic = f"<mac address='{mac}'/><source network='default' bridge='virbr0'/>"
    devices = f"<devices><interface type='network'>{nic}</interface></devices>"
    head = f"<name>{name}</name><uuid>{uuid}</uuid>"
    return f"<domain type='qemu'>{head}{devices}</domain>"
