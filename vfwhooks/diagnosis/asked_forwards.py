"""The forwards that somebody asks about, by a guest or a port, and how one is named."""

from __future__ import annotations

from ..config.value_syntax import PortRange, parse_ports
from ..values.errors import VfwError, show
from ..values.protocols import ALL_PROTOCOLS, PROTOCOLS
from .overview import Overview
from .status_rows import ForwardStatus


def find_rows(overview: Overview, about: str) -> list[ForwardStatus]:
    """The forwards of a guest, by its name or UUID, those of a pattern, or those of a
    port. Raises VfwError for what is none of these."""
    name = find_name(overview, about)
    if name in [guest.name for guest in overview.guests]:
        return [row for row in overview.forwards if row.guest == name]
    of_pattern = [row for row in overview.forwards if about and row.pattern == about]
    if of_pattern:
        return of_pattern
    first, protocols = asked_ports(about)
    return [
        row
        for row in overview.forwards
        if row.protocol in (*protocols, ALL_PROTOCOLS) and ports_of(row).has(first)
    ]


def find_name(overview: Overview, about: str) -> str:
    """The name of the guest with this name or UUID."""
    names = {g.uuid: g.name for g in overview.guests if g.uuid}
    return names.get(about, about)


def label(row: ForwardStatus) -> str:
    """A forward on one line: from where, and to where."""
    where = "" if row.host_ip == "*" else f"{row.host_ip} "
    to = f" [{row.address}]" if ":" in row.address else f" {row.address}"
    to = to.rstrip() + f":{row.target}"
    return f"{where}{row.published}/{row.protocol} → {show(row.guest)}{to}"


def ports_of(row: ForwardStatus) -> PortRange:
    """The published ports of a row; all ports for a whole address."""
    is_whole = row.published == ALL_PROTOCOLS
    return PortRange(0, 65535) if is_whole else parse_ports(row.published)


def asked_ports(text: str) -> tuple[int, tuple[str, ...]]:
    """The port that somebody asks about, and its protocols. Raises VfwError."""
    port, slash, protocol = text.lower().partition("/")
    if port in PROTOCOLS:  # tcp/8080, as explain --trace has it
        port, protocol = protocol, port
    if not port.isdigit() or (slash and protocol not in PROTOCOLS):
        hint = "a guest in forwards.yaml, or a port: 8080, 53/udp"
        raise VfwError(f"{show(text)} is neither a guest nor a port", hint)
    return parse_ports(port).first, (protocol,) if slash else PROTOCOLS
