"""The keys of forwards.yaml, level by level: the one list of them.

What a key of a port says of a forward, beside from where to where it leads, is a field
of PortOptions, with what reads it: that is all it takes to be read, checked, compiled
and had by whoever plans and shows the forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from ..values.errors import VfwError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")


_SWITCHES = ("true", "True", "TRUE", "false", "False", "FALSE")


def parse_switch(text: str) -> bool:
    """true or false, as YAML itself has them (True, TRUE), and no other word."""
    if text not in _SWITCHES:
        raise VfwError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _option(parse: Callable[[str], T], default: T) -> T:
    """A key with what reads its text; str() of a value is read as the same value."""
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True)
class PortOptions:
    """How a port is forwarded. With `over_listener` it is taken from a service of the
    host that has it; with `return_path` answers leave the way that the host's own
    would; with `masquerade` the guest sees the host in place of the client."""

    over_listener: bool = _option(parse_switch, False)
    return_path: bool = _option(parse_switch, False)
    masquerade: bool = _option(parse_switch, False)


NO_OPTIONS = PortOptions()
OPTIONS: dict[str, Callable[[str], Any]] = {
    one.name: one.metadata["parse"] for one in fields(PortOptions)
}
# How answers find back: of no meaning where only the host itself connects.
ANSWERS = ("return_path", "masquerade")

DOCUMENT = ("defaults", "guests")
DEFAULTS = ("host_ip", "allow_from", "when_stopped", "hairpin", *ANSWERS)
PUBLIC = ("public_ip", "outgoing", "public_ip_of_host")
GUEST = (
    "ports",
    "address",
    "network",
    "bridge",
    "allow_from",
    "when_stopped",
    "over_listener",
    "hairpin",
    *ANSWERS,
    *PUBLIC,
)
PORT = ("published", "target", "protocol", "host_ip", "allow_from", *OPTIONS)
