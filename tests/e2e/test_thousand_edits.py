"""Edit after edit under traffic, in every way an editor writes a file.

VFWHOOKS_EDITS says how many (1000 is the figure in the documentation); by default it
is what a run of all tests has time for.
"""

from __future__ import annotations

import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable

from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from oracle import Published, expected
from product import CONFIG, configure, published, start_watch, stop_watch

EDITS = int(os.environ.get("VFWHOOKS_EDITS", "40"))


COUNTER = """
table ip lab {
	chain arrives {
		type filter hook prerouting priority -500;
		iifname outside udp dport 7000 counter
	}
	chain leaves {
		type filter hook postrouting priority 500;
		oifname virbr0 udp dport 7000 counter
	}
}
"""


class Stream:
    """UDP datagrams through a forward, fifty a second, until it is ended.

    The host counts what arrives and what leaves for the guest: whether the guest,
    whose processor is software, always has time to answer is not the question.
    """

    def __init__(self, host: Host, net: Net, address: str, port: int) -> None:
        self._host = host
        host.run(["nft", "-f", "-"], input=COUNTER)
        self._sock = net.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect((address, port))
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._is_over.wait(0.02):
            self._sock.send(b"?")

    def end(self) -> tuple[int, int]:
        """How many datagrams arrived at the host, and how many left it again."""
        self._is_over.set()
        self._thread.join()
        self._sock.close()
        listing = self._host.run(["nft", "list", "table", "ip", "lab"])
        self._host.run(["nft", "delete", "table", "ip", "lab"])
        arrived, left = re.findall(r"packets (\d+)", listing)
        return int(arrived), int(left)


def write_slowly(host: Host, text: str) -> None:
    """Truncate, write one half, think, write the other."""
    with host.path(CONFIG).open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(0.1)
        file.write(text[len(text) // 2 :])


def backup_by_rename(host: Host, text: str) -> None:
    """Rename the old file away and write a new one."""
    path = host.path(CONFIG)
    path.rename(path.with_name("forwards.yaml~"))
    path.write_text(text)


def delete_and_recreate(host: Host, text: str) -> None:
    """Delete the old file, and write a new one a little later."""
    host.path(CONFIG).unlink()
    time.sleep(0.05)
    host.path(CONFIG).write_text(text)


WAYS: list[Callable[[Host, str], None]] = [
    write_slowly,
    configure,
    backup_by_rename,
    delete_and_recreate,
]


def variant(number: int) -> str:
    """A forwards.yaml with the one forward that stays, and others that change."""
    draw = random.Random(number)
    ports = [7000 + n for n in draw.sample(range(1, 400), draw.randrange(1, 6))]
    lines = [f"  - {port}:{draw.choice([80, 443, 8000])}" for port in ports]
    lines.append(f"  - 6000-{6000 + number % 7}:6000-{6000 + number % 7}/udp")
    return "\n".join(["guests:", "  web1:", "  - 7000:7000/udp", *lines, ""])


def await_found_broken(host: Host, seen: str) -> None:
    """Until the watch says of a newer edit than `seen` speaks of what is wrong."""
    broken = "/run/vfwhooks/broken"
    wait_until(lambda: host.read(broken) not in ("", seen), "the edit's refusal")


def await_published(host: Host, want: set[Published]) -> None:
    """Until the kernel publishes this, and nothing else."""

    def missed() -> str:
        said = "\n".join(host.syslog("vfwhooks")[-5:])
        return f"{sorted(want ^ published(host))} to come or go; {said}"

    wait_until(lambda: published(host) == want, missed)


def test_edit_after_edit(
    host: Host, outside: Net, measured: Callable[[str, float], None]
) -> None:
    """After each edit the kernel equals the oracle's word on the last good file, and
    the unchanged forward misses no packet; every tenth edit is broken."""
    good = variant(-1)
    configure(host, good)
    guest = host.define_guest("web1").start(wait=True)
    start_watch(host)
    stream = Stream(host, outside, "203.0.113.1", 7000)
    addresses = {"web1": [guest.address]}

    for number in range(EDITS):
        text = variant(number)
        is_broken = number % 10 == 9
        seen = host.read("/run/vfwhooks/broken")
        WAYS[number % 4](host, text[:-3] + "[" if is_broken else text)
        if is_broken:
            await_found_broken(host, seen)
        good = good if is_broken else text
        await_published(host, expected(good, addresses))
    arrived, left = stream.end()
    measured("edits", EDITS)
    measured("datagrams through the unchanged forward", arrived)
    measured("datagrams lost", arrived - left)
    stop_watch(host)
    guest.destroy()

    assert (arrived > EDITS, arrived - left) == (True, 0)
