"""Entries as lines of text for the state directory, and back. No other module reads or
writes these lines. Pure.

    dnat 4 * tcp 8080 8080 192.168.122.10 80      published first and last, target
    dnat 4 203.0.113.5 udp 5000 5010 192.168.122.10 5000
    dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0      a whole address, all protocols
    guard 4 * tcp 8443 8443 allow_0f5c            the chain that decides on the source
    reject 4 * tcp 8443 8443
    masq 4 * tcp 8080 8080
    back 4 203.0.113.5 tcp 80 80 eth1 1           uplink, and the mark's value
    backany 4 203.0.113.5 tcp 80 80 eth1 1        for a forward on every address
    left 4 192.168.122.1 udp 53 53
    snat 4 192.168.122.10 203.0.113.7
    hairpin 4 192.168.122.0/24
    inside 4 192.168.122.0/24
    localnet 4 virbr0
    accept 4 192.168.122.10
    way 4 virbr0 100 1 eth1                       bridge, table, value, uplink

An address `*` is every local address.
"""

from __future__ import annotations

from ..values.entries import (
    PUBLISHING,
    Accept,
    Dnat,
    Entry,
    Exempt,
    HairpinMode,
    HairpinSubnet,
    InsideSubnet,
    Kept,
    LoopbackBridge,
    Masquerade,
    Reject,
    ReturnMark,
    ReturnRoute,
    Snat,
    SourceRanges,
    entry_family,
)
from ..values.published import (
    Address,
    Published,
    parse_address,
    parse_family,
    parse_protocol,
    parse_subnet,
)

_ALIKE: dict[str, type[Reject | Masquerade | Exempt]] = {
    "reject": Reject,
    "masq": Masquerade,
    "left": Exempt,
}


def format_entry(entry: Kept) -> str:
    """The line of an entry in a record."""
    if isinstance(entry, Dnat):
        line = format_published(entry.published)
        return f"dnat {line} {entry.address} {entry.port}"
    if isinstance(entry, PUBLISHING):
        line = f"{entry.verb} {format_published(entry.published)}"
        if isinstance(entry, SourceRanges):
            return f"{line} {entry.chain}"
        if isinstance(entry, ReturnMark):
            return f"{line} {entry.uplink} {entry.value}"
        return line
    if isinstance(entry, HairpinMode):
        return f"mode {entry.bridge} {entry.device}"
    return f"{entry.verb} {entry_family(entry)} {_rest(entry)}"


def _rest(entry: Entry) -> str:
    if isinstance(entry, Accept):
        return f"{entry.address}"
    if isinstance(entry, Snat):
        return f"{entry.source} {entry.to}"
    if isinstance(entry, LoopbackBridge):
        return entry.bridge
    if isinstance(entry, ReturnRoute):
        return f"{entry.bridge} {entry.table} {entry.value} {entry.uplink}"
    assert isinstance(entry, (HairpinSubnet, InsideSubnet))
    return f"{entry.subnet}"


def parse_entry(line: str) -> Entry:
    """The entry in a line. Raises ValueError if the line is no entry."""
    verb, *words = line.split(" ")
    if verb == "dnat":
        *published, address, port = words
        return Dnat(_published(*published), parse_address(address), int(port))
    if verb in _ALIKE:
        return _ALIKE[verb](_published(*words))
    if verb == "guard":
        *published, chain = words
        return SourceRanges(_published(*published), chain)
    if verb in ("back", "backany"):
        *published, uplink, value = words
        what = _published(*published)
        return ReturnMark(what, uplink, int(value), verb == "backany")
    return _parse_other(verb, *words)


def _parse_other(verb: str, family: str = "", what: str = "", *words: str) -> Entry:
    if verb == "way":
        table, value, uplink = words
        return ReturnRoute(parse_family(family), what, int(table), int(value), uplink)
    if verb == "snat":
        (to,) = words
        return Snat(parse_address(what), parse_address(to))
    if not words and what:
        if verb == "accept":
            return Accept(parse_address(what))
        if verb == "localnet":
            return LoopbackBridge(what)
        if verb in ("hairpin", "inside"):
            subnet = parse_subnet(what)
            if verb == "hairpin":
                return HairpinSubnet(subnet)
            return InsideSubnet(subnet)
    raise ValueError(f"no entry is called {verb!r}, or not with these words")


def format_published(published: Published) -> str:
    """Published ports as they stand in the middle of a line."""
    one, host = published, format_host(published.host)
    # A join, since an enum's members are slow to format.
    return " ".join((one.family, host, one.protocol, str(one.first), str(one.last)))


def parse_published(text: str) -> Published:
    """The published ports in a text. Raises ValueError."""
    return _published(*text.split(" "))


def _published(*words: str) -> Published:
    family, host, protocol, first, last = words
    return Published(
        parse_family(family),
        parse_host(host),
        parse_protocol(protocol),
        int(first),
        int(last),
    )


def format_host(host: Address | None) -> str:
    """An address of the host; `*` for every local address."""
    return "*" if host is None else str(host)


def parse_host(text: str) -> Address | None:
    """An address of the host; None for every local address. Raises ValueError."""
    return None if text == "*" else parse_address(text)
