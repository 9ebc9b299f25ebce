"""The one list of all keys of forwards.yaml, level by level.

A port's key about the kind of forward is a field of PortOptions, with its parser. The
field is enough to read, check and compile the key, and to hand it to the code that
plans and shows the forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from ..values.errors import VfwError

_SWITCHES = ("true", "True", "TRUE", "false", "False", "FALSE")


def parse_switch(text: str) -> bool:
    """true or false, spelled as in YAML (True, TRUE); no other word."""
    if text not in _SWITCHES:
        raise VfwError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


# A key's parser, which reads str() of a value as the same value.
_SWITCH = {"parse": parse_switch}


@dataclass(frozen=True)
class PortOptions:
    """The kind of a forward. `over_listener`: take the port from a service of the host.
    `return_path`: answers leave by the way of the host's own answers. `masquerade`: the
    guest sees the host in place of the client."""

    over_listener: bool = field(default=False, metadata=_SWITCH)
    return_path: bool = field(default=False, metadata=_SWITCH)
    masquerade: bool = field(default=False, metadata=_SWITCH)


NO_OPTIONS = PortOptions()
OPTIONS: dict[str, Callable[[str], bool]] = {
    one.name: one.metadata["parse"] for one in fields(PortOptions)
}
# Keys about the way of answers. They mean nothing if only the host itself connects.
ANSWERS = ("return_path", "masquerade")

DOCUMENT = ("defaults", "guests", "patterns", "addresses", "metadata")
METADATA = ("guests", "ports", "host_ip", "public_ip", "over_listener")
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
# What is one guest's own has no meaning for all that a pattern matches.
_ONES_OWN = ("address", "when_stopped", *PUBLIC)
PATTERN = tuple(key for key in GUEST if key not in _ONES_OWN)
HOST_IP = ("interface", "name")
PORT = ("published", "target", "protocol", "host_ip", "allow_from", *OPTIONS)
