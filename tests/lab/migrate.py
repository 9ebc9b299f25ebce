"""Two hosts side by side, a guest that moves from one to the other, and a client that
reaches both."""

from __future__ import annotations

import itertools
import re
import subprocess
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from .box import Done, wait_until
from .cache import LabError
from .guest import Guest
from .host import Host
from .net import Net
from .trying import SERVED

if TYPE_CHECKING:  # the demo has Python's own modules alone
    from typing_extensions import Self

ADDRESSES = ("10.99.0.1", "10.99.0.2")
# Where the client finds the first host and the second one.
OUTSIDES = ("203.0.113.1", "198.51.100.1")
PORT = 8080
LONGEST = 120  # seconds that a client tries at most
_PROGRAM = f"{Host.CHECKOUT}/tests/lab/trying.py"


def join(first: Host, second: Host) -> None:
    """A cable between two hosts of different names, who know each other by name."""
    _cable(first.net, "peer0", second, "peer0")
    names = "".join(
        f"{address} {host.name}\n" for address, host in zip(ADDRESSES, (first, second))
    )
    for address, host in zip(ADDRESSES, (first, second)):
        host.net.ip(f"addr add {address}/24 dev peer0", "link set peer0 up")
        host.write("/etc/hosts", host.read("/etc/hosts") + names)


def _cable(net: Net, name: str, host: Host, peer: str) -> None:
    # Run in the one's network but in no box: only here are both process ids known.
    command = ["nsenter", f"--net={net.netns}", "ip", "link", "add", name]
    command += ["type", "veth", "peer", "name", peer, "netns", str(host.box.pid)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def migrate(guest: Guest, source: Host, target: Host, timeout: float = 120) -> Guest:
    """Moves a running guest, live; the target's libvirtd must listen on TCP."""
    uri = f"qemu+tcp://{target.name}/system"
    source.virsh("migrate", "--live", guest.uuid, uri, timeout=timeout)
    return guest.moved_to(target.box, target.net)


class Pair:
    """Two joined hosts whose libvirtds run and listen: `source` has the guest, `target`
    is where it goes; they change places when it has moved. `client` reaches both, each
    by its address in `addresses`."""

    def __init__(self, first: Host, second: Host) -> None:
        join(first, second)
        self.source, self.target = first, second
        self.client = first.outside(f"{OUTSIDES[0][:-1]}2/24", name="client")
        _cable(self.client, "eth1", second, "client")
        second.net.ip(f"addr add {OUTSIDES[1]}/24 dev client", "link set client up")
        own = f"{OUTSIDES[1][:-1]}2/24"
        self.client.ip(f"addr add {own} dev eth1", "link set eth1 up")
        self.addresses = dict(zip((first.name, second.name), OUTSIDES))
        self.guest: Guest | None = None

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.source, self.target

    def migrate(self, *options: str) -> str:
        """Move the guest; what libvirt says of it on the target."""
        return self.begin(*options).wait_for_success()

    def begin(self, *options: str) -> Migration:
        """Begin to move the guest."""
        return Migration(self, options)

    def moved(self) -> None:
        """The hosts change places."""
        self.source, self.target = self.target, self.source
        assert self.guest
        self.guest = self.guest.moved_to(self.source.box, self.source.net)


class Migration:
    """One that is under way; `--live` has to be among the options where it is."""

    def __init__(self, pair: Pair, options: Sequence[str]) -> None:
        self._pair = pair
        assert pair.guest
        self._name = pair.guest.name
        command = ["virsh", "-q", "migrate", "--persistent", "--undefinesource"]
        command += [*options, self._name, f"qemu+tcp://{pair.target.name}/system"]
        self._command = command
        self._done: Done | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._done = self._pair.source.call(self._command, timeout=120)

    def wait_until_under_way(self) -> None:
        """Until its first memory has gone to the target."""
        look = ["virsh", "-q", "domjobinfo", self._name]

        def is_under_way() -> bool:
            if self._done:
                raise LabError(f"it has ended: {self._done.stderr}")
            found = re.search(
                r"Memory processed: +([\d.]+) (\w+)",
                self._pair.source.call(look).stdout,
            )
            return bool(found and float(found[1]) and found[2] != "B")

        wait_until(is_under_way, "the migration is under way")

    def wait(self) -> Done:
        """What virsh said when it was over, whether it has moved or not."""
        self._thread.join(150)
        if self._done is None:
            raise LabError("the migration does not end")
        return self._done

    def wait_for_success(self) -> str:
        """Until the guest has moved; what libvirt says of it on the target."""
        self.wait().check()
        self._pair.moved()
        look = ["domjobinfo", self._name, "--completed"]
        return self._pair.source.virsh(*look)


def pause_of(said: str) -> float:
    """libvirt's own pause of a completed job, in seconds."""
    found = re.search(r"Total downtime: +([\d.]+) +(ms|s)\b", said)
    if not found:
        raise LabError(f"no downtime in: {said}")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


class Try(NamedTuple):
    """One connection of the client's: when it began and ended, to which host, and what
    came of it."""

    begun: float
    ended: float
    host: str
    outcome: str


class Client:
    """Tries both hosts 20 times a second each, for as long as its `with` block lasts,
    and LONGEST seconds at most. After it, `tries` has all, by when they began."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._hosts = {f"{ip}:{PORT}": name for name, ip in pair.addresses.items()}
        self._log, self._stop = "/run/lab/trying.log", "/run/lab/trying.stop"
        self._box = next(
            one for one in pair.hosts if one.name == next(iter(pair.addresses))
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.tries: list[Try] = []

    def _run(self) -> None:
        places = " ".join(self._hosts)
        program = f"python3 {_PROGRAM} {LONGEST} {self._stop} {places} >{self._log}"
        self._pair.client.run(["sh", "-c", program], timeout=LONGEST + 20)

    def __enter__(self) -> Self:
        self._box.run(["rm", "-f", self._log, self._stop])
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._box.write(self._stop, "")
        self._thread.join(LONGEST + 30)
        self.tries = self._read()

    def _read(self) -> list[Try]:
        lines = self._box.read(self._log).split("\n")[:-1]
        found = []
        for begun, ended, place, outcome in map(str.split, lines):
            found.append(Try(float(begun), float(ended), self._hosts[place], outcome))
        return sorted(found)

    def wait_for(self, host: Host, many: int = 5) -> None:
        """Until the host has served so many times more."""
        before = self._served(host)
        wait_until(
            lambda: self._served(host) >= before + many,
            lambda: f"{host.name} serves; the last tries: {self._read()[-8:]}",
        )

    def _served(self, host: Host) -> int:
        return sum(
            one.host == host.name and one.outcome == SERVED for one in self._read()
        )

    def order(self) -> list[str]:
        """Which hosts served, in which order."""
        served = [one.host for one in self.tries if one.outcome == SERVED]
        return [host for host, _ in itertools.groupby(served)]

    def last(self, host: Host) -> str:
        """What came of the last try of a host that was served or refused: on a busy
        machine one may have been too slow for the client."""
        told = SERVED, "refused"
        tries = (one for one in self.tries if one.host == host.name)
        return [one.outcome for one in tries if one.outcome in told][-1]

    def gap(self) -> float:
        """The longest time in which neither host answered, in seconds."""
        ends = sorted(one.ended for one in self.tries if one.outcome == SERVED)
        return max(later - one for one, later in itertools.pairwise(ends))

    def rounds_failed(self) -> int:
        """How often neither host served a client that tried both."""
        by_host = [
            [one.outcome for one in self.tries if one.host == name]
            for name in self._hosts.values()
        ]
        return sum(SERVED not in both for both in zip(*by_host))

    def silent(self) -> int:
        """How many tries were neither served nor refused."""
        return sum(one.outcome not in (SERVED, "refused") for one in self.tries)
