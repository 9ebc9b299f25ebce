"""Forwards as other tools have them, as values: each with its place in the source.
Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..values.errors import VfwError, show

MOST_BYTES = 16 << 20  # of a source that is no ruleset


@dataclass(frozen=True)
class Origin:
    """Where something stands in the source (FILE:LINE:COLUMN, or a live rule), and what
    stands there."""

    where: str
    text: str


@dataclass(frozen=True)
class Imported:
    """One forward of a source.

    `guest` is '' where the source knows only the `address` of a guest, and the other
    way round. Ports are written as in forwards.yaml; `published` is '' for a whole
    address of the host. `interfaces` are those that the packets have to come in by.
    """

    origin: Origin
    guest: str = ""
    address: str = ""
    published: str = ""
    target: str = ""
    protocols: tuple[str, ...] = ("tcp",)
    host_ips: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    allow_from: tuple[str, ...] = ()
    is_outgoing: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Left:
    """What is not carried over, and why."""

    origin: Origin
    why: str


@dataclass
class Found:
    """All that a source holds; `notes` are about the whole of it."""

    forwards: list[Imported] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, one: Imported | Left) -> None:
        """Sort one in."""
        if isinstance(one, Left):
            self.left.append(one)
        else:
            self.forwards.append(one)


class NotCarried(Exception):
    """Why something cannot be carried over."""


def unreadable(where: str, what: str, hint: str = "") -> VfwError:
    """The error for a source that cannot be read at all."""
    return VfwError(f"{where}: {show(what)}", hint)


def only_by(interfaces: Iterable[str]) -> str:
    """The note for a forward on an address of the host that was for interfaces, too."""
    return f"the rule was for what comes in by {', '.join(interfaces)} alone"


def span(first: int, last: int) -> str:
    """Ports as forwards.yaml has them. Raises NotCarried for what are none."""
    if not 0 < first <= last <= 65535:
        raise NotCarried(f"{first}-{last} are no ports" if last > first else "no port")
    return f"{first}-{last}" if last > first else f"{first}"


def parse_span(text: str, sign: str = "-") -> tuple[int, int]:
    """The first and the last port. Raises NotCarried."""
    first, _, last = text.strip().partition(sign)
    if not all(
        one.isascii() and one.isdigit() and len(one) < 6
        for one in (first, last or first)
    ):
        raise NotCarried(f"{show(text)} is no port" if text else "no port is given")
    low, high = int(first), int(last or first)
    span(low, high)
    return low, high


def shift(published: tuple[int, int], first: int) -> str:
    """The ports of the guest where the first published one leads to `first`."""
    return span(first, first + published[1] - published[0])
