"""What is done on a host (see bed): configure it, fill it, start guests there."""

from __future__ import annotations

import time
from pathlib import Path

from .bed import CONFIG, LIB, NFT, STATUS, sh, write
from .guests import Guest, GuestsForwards, forwards_yaml, network_xml
from .lives import OURS, call, spawn

STARTED = "qemu", "started"
_FILE_SETTLES = 0.3


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
    backend: str, forwards: GuestsForwards, guests: int, reservations: int = 0
) -> None:
    """A host with this configuration on which guests 1 to `guests` run; guest 0 has
    run and stopped, so that nothing is done for the first time any more. Others may
    have reservations as well."""
    configure(backend, forwards, max(reservations, guests + 1))
    start(backend, range(guests + 1))
    expect_forwarded(sum(Guest(n).name in forwards for n in range(guests + 1)))
    call(OURS, Guest(0), daemon_of(backend), ("qemu", "stopped"))
    time.sleep(0.1)


def expect_forwarded(guests: int) -> None:
    """Raises RuntimeError unless something is forwarded to so many guests: a hook that
    finds nothing to do is quick."""
    records = Path("/run/vfwhooks/guests/qemu").iterdir()
    found = sum("\nentry dnat " in record.read_text() for record in records)
    if found != guests:
        raise RuntimeError(f"something is forwarded to {found} guests, not {guests}")


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
