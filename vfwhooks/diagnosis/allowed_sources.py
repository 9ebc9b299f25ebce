"""The source ranges of forwards with `allow_from`, as they are in force: for programs
that read `status --json`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..config.compiled_file import Compiled
from ..config.compiled_lines import parse_settings
from ..config.port_mappings import PortMapping
from ..reconcile.desired_state import DesiredState
from .status_rows import ForwardStatus, GuestStatus, spell_ports

Sources = Mapping[str, tuple[str, ...]]
_CHAIN = re.compile(r"(?m)^\tchain (allow_\w+) \{\n((?:\t\t.*\n)*)")
_RANGES = re.compile(r"saddr \{ (.*?) \}")


def parse_sources(ruleset: str) -> Sources:
    """The source ranges by the names of their chains, which are in the base ruleset."""
    return {
        chain: tuple(", ".join(_RANGES.findall(rules)).split(", "))
        for chain, rules in _CHAIN.findall(ruleset)
    }


def with_sources(
    rows: Sequence[ForwardStatus],
    forwards: Iterable[tuple[str, PortMapping]],
    ranges: Sources,
) -> list[ForwardStatus]:
    """The rows, each with the source ranges of its forward. `forwards` are all, with
    their guests' names."""
    if not ranges:
        return list(rows)
    allowed = {
        (guest, one.host_ip, str(one.protocol), _spell(one)): ranges[one.allow]
        for guest, one in forwards
        if one.allow in ranges
    }
    return [
        replace(row, allow_from=allowed.get(_key(row), row.allow_from)) for row in rows
    ]


def written_forwards(
    config: Compiled,
    running: Sequence[DesiredState],
    guests: Sequence[GuestStatus],
) -> Iterator[tuple[str, PortMapping]]:
    """All forwards, each with the name of its guest, or its pattern."""
    for one in running:
        for forward in one.settings.forwards:
            yield one.record.guest.name, forward
    written = config.guests()
    for guest in guests:
        for forward in parse_settings(written.get(guest.name, [])).forwards:
            yield guest.name, forward
    for pattern, lines in config.patterns().items():
        for forward in parse_settings(lines).forwards:
            yield pattern, forward


def _spell(forward: PortMapping) -> str:
    return spell_ports(forward, forward.first, forward.last)


def _key(row: ForwardStatus) -> tuple[str, str, str, str]:
    return row.guest, row.host_ip, row.protocol, row.published
