"""What is done on a host (see bed): configure it, fill it, start guests there."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path

from .bed import CONFIG, LIB, NFT, OWN, SERVICES, STATUS, sh, write
from .guests import Guest, GuestsForwards, forwards_yaml, network_xml
from .lives import OURS, call, environment, spawn

STARTED = "qemu", "started"
_FILE_SETTLES, _QUIET, _PATIENCE = 0.3, 0.5, 60.0
_WATCHDOG_US = 600_000_000
_READY = OWN / "ready"
_SERVICE = (
    "import sys; sys.path[:0] = [sys.argv[1]]; "
    "from vfwhooks.service.daemon import main; main(*sys.argv[2:])"
)


def daemon_of(backend: str) -> str:
    """The libvirt whose words are used with a backend."""
    return "libvirt-11.3" if backend == NFT else "libvirt-9.0"


def configure(backend: str, forwards: GuestsForwards, reservations: int) -> None:
    """Put forwards.yaml in place, and a network that has so many reservations."""
    write(STATUS, network_xml(backend, reservations))
    write(CONFIG, forwards_yaml(forwards))
    time.sleep(_FILE_SETTLES)


def start(backend: str, numbers: range) -> None:
    """Have the guests of these numbers started."""
    for number in numbers:
        call(OURS, Guest(number), daemon_of(backend), STARTED)


def prepare(
    backend: str,
    forwards: GuestsForwards,
    guests: int,
    reservations: int = 0,
    is_served: bool = False,
) -> None:
    """A host with this configuration on which guests 1 to `guests` run; guest 0 has
    run and stopped, so that nothing is done for the first time any more. Others may
    have reservations as well. The service is there, or it is not."""
    configure(backend, forwards, max(reservations, guests + 1))
    if is_served and not SERVICES:
        serve()
    if is_served:
        await_idle()
    start(backend, range(guests + 1))
    expect_forwarded(sum(Guest(n).name in forwards for n in range(guests + 1)))
    call(OURS, Guest(0), daemon_of(backend), ("qemu", "stopped"))
    if is_served:
        await_idle()
    time.sleep(0.1)


def serve() -> int:
    """Run the service until the host's end; its process id."""
    argv = ["/usr/bin/python3", "-IX", "utf8", "-c", _SERVICE]
    argv += [str(LIB), "/run/vfwhooks", str(CONFIG)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        _READY.unlink(missing_ok=True)
        ready.bind(str(_READY))
        ready.settimeout(_PATIENCE)
        env = {**environment(), "NOTIFY_SOCKET": str(_READY)}
        env["WATCHDOG_USEC"] = str(_WATCHDOG_US)
        SERVICES.append(subprocess.Popen(argv, env=env).pid)
        ready.recv(4096)
    return SERVICES[-1]


def await_idle() -> None:
    """Wait until the service has been asleep for a while, without children."""
    until = time.monotonic() + _PATIENCE
    before: tuple[int, str] | None = None
    while (now := _doings(SERVICES[-1])) != before or now[1]:
        if time.monotonic() > until:
            raise RuntimeError(f"the service finds no rest: {now}")
        before = now
        time.sleep(_QUIET)


def status_of(pid: int, name: str) -> int:
    """A number that the kernel has of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s*(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _doings(pid: int) -> tuple[int, str]:
    """How often the process has gone to sleep, and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return status_of(pid, "voluntary_ctxt_switches"), children


def expect_forwarded(guests: int) -> None:
    """Raises RuntimeError unless something is forwarded to so many guests: a hook that
    finds nothing to do is quick."""
    records = Path("/run/vfwhooks/guests/qemu").iterdir()
    found = sum("\nentry dnat " in record.read_text() for record in records)
    if found != guests:
        said = sh(f"tail -n 5 {OWN}/log")
        what = f"something is forwarded to {found} guests, not {guests}"
        raise RuntimeError(f"{what}; the log's end:\n{said}")


def apply() -> float:
    """`vfwhooks apply`, as somebody would type it; seconds."""
    command = f"cd / && PYTHONPATH={LIB} exec /usr/bin/python3 -m vfwhooks apply"
    return spawn(["/bin/sh", "-c", command])


def wipe_rules(backend: str) -> None:
    """Take our table out, as if the host had just booted."""
    sh("nft delete table inet vfwhooks 2>/dev/null || true")
    Path("/run/vfwhooks/base").unlink(missing_ok=True)


def others_rules(count: int) -> None:
    """So many rules of the wiki's kind for other guests."""
    lines = ["*nat"]
    for n in range(count):
        to = f"192.168.{200 + n // 20000}.{n % 250 + 2}:{20000 + n}"
        lines.append(
            f"-A PREROUTING -p tcp --dport {20000 + n} -j DNAT --to-destination {to}"
        )
    lines += ["COMMIT", "*filter"]
    for n in range(count):
        to = f"192.168.{200 + n // 20000}.{n % 250 + 2}"
        rule = f"-d {to} -o virbr0 -p tcp --dport {20000 + n} -j ACCEPT"
        lines.append(f"-I FORWARD {rule}")
    tool = "/run/bin/iptables-restore"
    tool = tool if Path(tool).exists() else "iptables-nft-restore"
    sh(f"{tool} --noflush", "\n".join([*lines, "COMMIT"]) + "\n")
