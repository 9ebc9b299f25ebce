"""The text that the command line prints about a delta, an overview or findings."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from ..values.entries import (
    Dnat,
    Entry,
    HairpinMode,
    Masquerade,
    Reject,
    ReturnMark,
    Snat,
    SourceRanges,
)
from ..values.errors import show
from ..values.findings import Finding
from ..values.protocols import ALL_PROTOCOLS
from ..values.published import Published
from . import progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..diagnosis.forward_path import Followed
    from ..diagnosis.overview import Overview
    from .outcome import Outcome


def counted(number: int, what: str) -> str:
    """1 forward, 2 forwards."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def diff_lines(outcome: Outcome) -> list[str]:
    """The delta, forward by forward, as + and - lines."""
    lines = []
    for sign, changed in (("-", outcome.removed), ("+", outcome.added)):
        entries = [entry for _, entry in changed]
        guarded = {e.published for e in entries if isinstance(e, SourceRanges)}
        for name, entry in changed:
            if isinstance(entry, Reject) and entry.published in guarded:
                continue
            said = _said(name, entry)
            lines += [f"{sign} {said}"] if said else []
    return list(dict.fromkeys(lines))


def _said(name: str, entry: Entry | HairpinMode) -> str:
    """The entry in a user's words; '' for an entry that no line of the file asks
    for."""
    if isinstance(entry, Dnat):
        return f"{_where(entry.published)} → {name} {_target(entry)}"
    if isinstance(entry, Reject):
        is_one = entry.published.is_one_to_one
        when = f"but for {name}" if is_one else f"while {name} is stopped"
        return f"{_where(entry.published)} → rejected {when}"
    if isinstance(entry, Snat):
        return f"{name} {entry.source} → leaves from {entry.to}"
    if isinstance(entry, Masquerade):
        return f"{name} {_where(entry.published)} → masqueraded"
    if isinstance(entry, ReturnMark):
        return f"{name} {_where(entry.published)} → answered by {entry.uplink}"
    if isinstance(entry, HairpinMode):
        return f"{name} {entry.device} → hairpin mode"
    return ""


def _target(entry: Dnat) -> str:
    if entry.published.is_one_to_one:
        return str(entry.address)
    text = str(entry.address)
    address = f"[{text}]" if entry.address.version == 6 else text
    return f"{address}:{entry.port}"


def _where(published: Published) -> str:
    at = "" if published.host is None else f"{published.host} "
    if published.is_one_to_one:
        return f"{at}{ALL_PROTOCOLS}"
    first, last = published.first, published.last
    ports = f"{first}-{last}" if published.is_range else f"{first}"
    return f"{at}{published.protocol} {ports}"


def status_json(overview: Overview) -> str:
    """The overview for programs; the manual describes the fields."""
    shown = {
        "backend": overview.backend,
        "guests": [asdict(guest) for guest in overview.guests],
        "forwards": [asdict(forward) for forward in overview.forwards],
        "problems": list(overview.problems),
        "service": "running" if overview.has_service else "stopped",
    }
    return json.dumps(shown)


def print_findings(found: Sequence[Finding], as_json: bool) -> None:
    """A line each, or one object."""
    if as_json:
        print(json.dumps({"findings": [one.fields() for one in found]}))
        return
    for one in found:
        print(show(str(one)))


def print_followed(followed: Sequence[Followed], as_json: bool) -> None:
    """Each forward with its hops below it, or one object."""
    if as_json:
        told = [
            {"forward": show(one.forward), "hops": [hop.fields() for hop in one.hops]}
            for one in followed
        ]
        print(json.dumps({"forwards": told}))
        return
    for one in followed:
        print(show(one.forward))
        for hop in one.hops:
            print(f"  {show(str(hop))}")


def overview_lines(overview: Overview) -> list[str]:
    """The overview as `status` prints it: lines, and the forwards as a table."""
    lines = [f"hooks    {show(overview.hooks)}"] if overview.hooks else []
    lines += [f"backend  {overview.backend or 'none yet'}"]
    lines += [f"problem  {show(problem)}" for problem in overview.problems]
    lines += [f"metadata {show(fault)}" for fault in overview.faults()]
    return [*lines, *_table([forward.cells() for forward in overview.forwards])]


def _table(cells: list[dict[str, str]]) -> list[str]:
    """Rows below their titles; each column, except the last, has the width of its
    widest cell."""
    rows = [[show(cell) for cell in one.values()] for one in cells]
    rows[:0] = [list(titles) for titles in cells[:1]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    widths[-1:] = [0]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]


def complain(message: str, hint: str = "") -> None:
    """A message on stderr, and below it what to do."""
    progress.clear()
    print(f"vfwhooks: {show(message)}", file=sys.stderr)
    if hint:
        print(f"  {show(hint)}", file=sys.stderr)
