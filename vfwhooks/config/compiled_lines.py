"""One guest's lines in the compiled configuration, parsed into values. Pure.

The lines, with examples of values, and their meaning:

    pattern web-*                            whose lines these are, if no guest's own
    address 192.168.122.50
    network default
    bridge br-nat                            a bridge of the host's own
    claim 659a7fb2-af47-6fae-688d-711213d91dc1  the owner of the guest's rejects
    shared                                   another guest may want its ports, too
    wide                                     publishes ports that libvirt's bridges need
    loopback                                 has a forward on the host's loopback
    hairpin                                  its bridge ports go into hairpin mode
    public 203.0.113.7                       an address for this guest, not the host's
    whole 203.0.113.7                        unpublished ports there are rejected
    kept 203.0.113.7                         the same, whether the guest runs or not
    outgoing 203.0.113.7                     its own connections leave from there
    forward * tcp 8080 8080 80 80 -          host, protocol, published, target, chain
    forward * tcp 22 22 22 22 - masquerade=True   with options that differ from default
    forward 203.0.113.7 all 0 65535 0 65535 -   all ports and protocols of that address
    claimed * tcp 8080 8080 80 80 -          a forward of a guest with a claim
    unplaced eth0 * tcp 8080 8080 80 80 -    a forward on eth0, without a free address
    over 203.0.113.7                         its ports yield to no listener of the host
"""

from __future__ import annotations

from collections.abc import Iterable

from ..store.entry_text import parse_host
from ..store.files import quote, unquote
from ..values.errors import VfwError
from ..values.published import family_of, one_to_one, parse_address, parse_protocol
from .forwards_keys import NO_OPTIONS, OPTIONS, PortOptions
from .port_mappings import PortMapping, Settings

_ADDRESSES = ("public", "whole", "kept", "outgoing")
_CALLED = {"whole": "one_to_one", "outgoing": "egress"}  # the names in Settings
_FLAGS = ("shared", "wide", "loopback", "hairpin")


def parse_settings(lines: Iterable[str]) -> Settings:
    """The guest's settings. Raises ValueError for lines that the compiler does not
    write."""
    settings = Settings()
    for line in lines:
        word, _, rest = line.partition(" ")
        if word in ("forward", "claimed"):
            _add(settings, parse_forward(rest, word == "claimed"))
        elif word == "unplaced":
            interface, _, rest = rest.partition(" ")
            settings.unplaced.append((unquote(interface), parse_forward(rest)))
        elif word == "address":
            address = parse_address(rest)
            settings.addresses[family_of(address)] = address
        elif word in ("pattern", "network", "bridge"):
            setattr(settings, word, unquote(rest))
        elif word == "over":
            settings.over.add(one_to_one(parse_address(rest)))
        elif word in _ADDRESSES:
            getattr(settings, _CALLED.get(word, word)).append(parse_address(rest))
        elif word == "claim":
            settings.claim = rest
        elif word in _FLAGS:
            setattr(settings, f"is_{word}", True)
    return settings


def _add(settings: Settings, forward: PortMapping) -> None:
    """Add a forward, and the effects of its options on the guest."""
    settings.forwards.append(forward)
    if forward.options.over_listener:
        settings.over.update(map(forward.published, forward.families))
    settings.is_returned |= forward.options.return_path


def parse_forward(text: str, is_claimed: bool = False) -> PortMapping:
    """One forward."""
    host, protocol, first, last, target, target_last, allow, *words = text.split(" ")
    return PortMapping(
        parse_host(host),
        parse_protocol(protocol),
        int(first),
        int(last),
        int(target),
        int(target_last),
        "" if allow == "-" else allow,
        is_claimed,
        parse_options(words) if words else NO_OPTIONS,
    )


def format_options(options: PortOptions) -> list[str]:
    """One word for each option that differs from the default."""
    if options is NO_OPTIONS:  # true for most lines, of which there are thousands
        return []
    values = [(name, getattr(options, name)) for name in OPTIONS]
    return [
        f"{name}={quote(str(value))}"
        for name, value in values
        if value != getattr(NO_OPTIONS, name)
    ]


def parse_options(words: Iterable[str]) -> PortOptions:
    """The options of a port, by the parsers for forwards.yaml. Raises ValueError."""
    pairs = (word.partition("=") for word in words)
    try:
        given = {name: OPTIONS[name](unquote(text)) for name, _, text in pairs}
    except (KeyError, VfwError) as error:
        raise ValueError(f"no option of a port: {error}") from None
    return PortOptions(**given)
