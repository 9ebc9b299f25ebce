"""The source ranges of forwards with `allow_from`, as they are in force: for programs
that read `status --json`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..config.port_mappings import PortMapping
from .status import ForwardStatus, spell_ports

_CHAIN = re.compile(r"(?m)^\tchain (allow_\w+) \{\n((?:\t\t.*\n)*)")
_RANGES = re.compile(r"saddr \{ (.*?) \}")


def with_sources(
    rows: Sequence[ForwardStatus],
    forwards: Iterable[tuple[str, PortMapping]],
    ruleset: str,
) -> list[ForwardStatus]:
    """The rows, each with the source ranges of its forward. `forwards` are all, with
    their guests' names; `ruleset` is the base ruleset, which has the ranges."""
    ranges = {
        chain: tuple(", ".join(_RANGES.findall(rules)).split(", "))
        for chain, rules in _CHAIN.findall(ruleset)
    }
    if not ranges:
        return list(rows)
    allowed = {
        (guest, one.host_ip, str(one.protocol), spell_ports(one)): ranges[one.allow]
        for guest, one in forwards
        if one.allow in ranges
    }
    return [
        replace(row, allow_from=allowed.get(_key(row), row.allow_from)) for row in rows
    ]


def _key(row: ForwardStatus) -> tuple[str, str, str, str]:
    return row.guest, row.host_ip, row.protocol, row.published
