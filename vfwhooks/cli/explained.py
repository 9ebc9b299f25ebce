"""`vfwhooks explain` for a guest, a port, this host's ruleset, a saved ruleset, or the
changes between two of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

from ..config.value_syntax import parse_ports
from ..diagnosis.explain import explain
from ..diagnosis.live_ruleset import find_names, list_live, live_verdicts, read_live
from ..diagnosis.overview import look
from ..diagnosis.port_verdicts import PortVerdicts
from ..diagnosis.traced_packet import watch_packet
from ..host.run import Run, find
from ..libvirt.inventory import Inventory
from ..rulesets.changes import find_changes
from ..rulesets.context import Names
from ..rulesets.packet import ANYBODY, Packet
from ..rulesets.report import tell
from ..rulesets.ruleset_reader import load_ruleset
from ..store.state import State
from ..values.errors import VfwError, show
from ..values.protocols import PROTOCOLS
from .drawn import draw_host
from .safe_write import put_file
from .terminal import is_terminal

_LONGEST = 86_400  # seconds to wait for a connection
_FOR_ROOT = 0o600  # a ruleset tells who may do what


def explained(
    arguments: argparse.Namespace, state: State, config: str
) -> tuple[Iterable[str], bool]:
    """The lines, and whether all is well (with --diff: whether nothing has changed)."""
    about = arguments.about
    if arguments.trace is not None:
        one, wait = arguments.trace, arguments.wait
        source = ANYBODY if arguments.source is None else arguments.source
        return trace(one, source, wait, state, config), True
    if arguments.save:
        save_host(arguments.save)
        return [], True
    if arguments.svg:
        return draw_host(state, config, about, arguments.svg), True
    if arguments.diff:
        found = changes(arguments.diff, Path(about) if about else None, state)
        return found or ["nothing has changed"], not found
    if about is None:
        return explain_host(state, config), True
    if _is_path(about):
        return explain_file(Path(about)), True
    try:
        return explain(state, config, about)
    except (OSError, VfwError):
        if not Path(about).is_file():
            raise
    return explain_file(Path(about)), True


def _is_path(about: str) -> bool:
    """Whether the argument is a path: it has a slash, and is no port with its
    protocol, in either order."""
    head, slash, _ = about.partition("/")
    return bool(slash) and not head.isdigit() and head.lower() not in PROTOCOLS


def explain_file(path: Path) -> Iterator[str]:
    """All about a saved ruleset, of any host."""
    return tell(load_ruleset(path), Names())


def explain_host(state: State, config: str) -> Iterator[str]:
    """All about this host's ruleset, and its verdict on each published port: first for
    a pipe, and on a terminal last, since the last lines are those that are seen."""
    verdicts = live_verdicts(state)
    lines = [f"  {line}" for line in verdicts.tell(look(state, config).forwards)]
    if lines:
        lines.insert(0, "published ports, asked from an address that no rule names")
    rules = tell(verdicts.known.ruleset, verdicts.known.names)
    if is_terminal(sys.stdout):
        yield from rules
        yield from ["", *lines] if lines else []
    else:
        yield from [*lines, ""] if lines else []
        yield from rules


def trace(
    about: str, source: str, wait: float, state: State, config: str
) -> Iterator[str]:
    """The way of a connection to a port of this host: computed, and then the real way
    of the next one. Nothing is sent."""
    protocol, slash, port = about.lower().partition("/")
    if not slash:  # 8080, as everywhere
        protocol, port = PROTOCOLS[0], protocol
    try:
        number = parse_ports(port).first if protocol in PROTOCOLS else 0
    except VfwError:
        number = 0
    if not number or "-" in port:
        hint = "a protocol and a port: tcp/8080, udp/53"
        raise VfwError(f"{show(about)} cannot be traced", hint)
    try:
        source = source if source == ANYBODY else str(ip_address(source))
    except ValueError:
        raise VfwError(f"{show(source)} is no address") from None
    if not wait <= _LONGEST:  # nor is nan
        raise VfwError(f"--wait {wait:g}: {_LONGEST} seconds are the most")
    verdicts = live_verdicts(state)
    rows = look(state, config).forwards
    packet = verdicts.outside.connection(rows, protocol, number, source)
    yield from verdicts.trace(packet)
    if wait > 0:
        yield ""
        yield from _watch(verdicts, packet, wait)


def _watch(verdicts: PortVerdicts, packet: Packet, wait: float) -> Iterator[str]:
    """The real way of the next connection of this kind."""
    if any(one.tool == "iptables-legacy" for one in verdicts.known.ruleset.tables):
        yield "iptables-legacy cannot be traced: the computed way alone is told"
        return
    if not find("nft"):
        yield "nft is not installed: the computed way alone is told"
        return
    who = "" if packet.source == ANYBODY else f" from {packet.source}"
    to = f"{packet.protocol} port {packet.port} of {packet.destination}"
    yield f"now connect to {to}{who}, within {wait:g} s; its real way:"
    told = 0
    try:
        for event in watch_packet(packet, wait, Run()):
            told += 1
            yield f"  {verdicts.tell_event(event)}"
    except VfwError as error:
        yield str(error)
        return
    if not told:
        yield "nobody has connected"


def save_host(path: Path) -> None:
    """Write this host's ruleset to a file, by rename; only root may read the file."""
    put_file(path, list_live().encode("utf-8", "surrogateescape"), _FOR_ROOT)


def changes(old: Path, new: Path | None, state: State) -> list[str]:
    """The changes since a file was saved: up to another file, or up to now."""
    names = Names() if new else find_names(state, Inventory(f"{state.path}/networks"))
    after = load_ruleset(new) if new else read_live()
    return list(find_changes(load_ruleset(old), after, names))
