"""docs/recipes.md as values, and a host on which a recipe is followed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.guest import Guest
from lab.host import Host
from lab.machine import TCP_PORTS, UDP_PORTS
from lab.net import Net
from product import HERE, configure, status

HOST = "203.0.113.1"  # the host in all recipes
COMMAND = f"""#!/bin/sh
PYTHONPATH={Host.CHECKOUT} exec /usr/bin/python3 -m vfwhooks "$@"
"""


@dataclass(frozen=True)
class Recipe:
    """One recipe: what stands below its heading."""

    title: str
    text: str

    def block(self, language: str) -> str:
        """The text of the block in that language, "" for none."""
        found = re.search(rf"(?ms)^```{language}\n(.*?)^```$", self.text)
        return found[1] if found else ""

    @property
    def lines(self) -> int:
        """How many lines it has, blank ones and the marks of blocks not counted."""
        lines = self.text.splitlines()
        return len([line for line in lines if line and not line.startswith("```")])

    @property
    def forwards(self) -> str:
        """The whole forwards.yaml."""
        return self.block("yaml")

    @property
    def commands(self) -> str:
        """What is entered on the host."""
        return self.block("sh")

    @property
    def rows(self) -> list[tuple[list[str], str]]:
        """The rows of `status`: their words, and the reason below."""
        found: list[tuple[list[str], str]] = []
        for line in self.block("text").splitlines():
            if line.startswith(" "):
                found[-1] = found[-1][0], line.strip()
            else:
                found.append((line.split(), ""))
        return found


def find_recipes(page: str) -> dict[str, Recipe]:
    """All of them by title."""
    parts = re.split(r"(?m)^## (.*)\n", page)[1:]
    pairs = zip(parts[::2], parts[1::2])
    return {title: Recipe(title, text) for title, text in pairs}


RECIPES = find_recipes((HERE / "docs/recipes.md").read_text())


_PAUSED = re.compile(r"\S+ is paused \(user\); run: virsh resume \S+")


@dataclass
class Site:
    """A host, its guests by name, and somebody outside."""

    host: Host
    outside: Net
    guests: dict[str, Guest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.host.write("/usr/local/bin/vfwhooks", COMMAND, 0o755)

    def start(
        self,
        name: str,
        mac: str,
        tcp: Sequence[int] = TCP_PORTS,
        udp: Sequence[int] = UDP_PORTS,
    ) -> None:
        """Start a guest, and do not wait for it."""
        guest = self.host.define_guest(name, mac=mac, tcp=tcp, udp=udp)
        self.guests[name] = guest.start()

    def enter(self, commands: str) -> str:
        """Enter commands on the host, in the checkout; what they print."""
        script = f"cd {Host.CHECKOUT}\n{commands}"
        return self.host.run(["bash", "-ec", script], timeout=120)

    def follow(self, recipe: Recipe) -> None:
        """Put its file in force. That `check` has nothing against it is a test of all
        pages' examples."""
        configure(self.host, recipe.forwards)
        self.enter("vfwhooks apply >/dev/null")

    def rows(self) -> list[tuple[list[str], str]]:
        """What status has of every forward, as a recipe shows it; here guests are
        paused who are not in the recipe."""
        return [
            (
                [
                    one["guest"],
                    one["host_ip"] or "*",
                    f"{one['published']}/{one['protocol']}",
                    one["address"] or "-",
                    one["target"],
                    one["state"],
                ],
                _PAUSED.sub("", one["reason"]),
            )
            for one in status(self.host)["forwards"]
        ]

    def states(self) -> set[str]:
        """The states of all forwards."""
        return {words[-1] for words, _ in self.rows()}

    def asks(
        self,
        *ports: int,
        address: str = HOST,
        of: Net | None = None,
        timeout: float = 5,
    ) -> list[str]:
        """What comes to somebody (outside) who connects to ports: the guest, its port
        and whom it sees, or else how it ends."""
        at = f"[{address}]" if ":" in address else address
        net = of or self.outside
        replies = [net.http(f"http://{at}:{port}/", timeout) for port in ports]
        return [reply.body or reply.outcome.value for reply in replies]
