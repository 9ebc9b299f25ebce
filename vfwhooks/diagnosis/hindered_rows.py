"""Rows of `status` whose own rules are in place, and which something else hinders: a
chain that drops, or answers that leave by another way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..values.findings import WRONG, Finding
from ..values.published import EVERY, family_of, parse_address
from .blocked_ways import BlockedWays
from .blockers import Blocker
from .return_path_check import ReturnPath
from .status_rows import ForwardStatus


def hindered(
    row: ForwardStatus, bridges: set[str], blockers: list[Blocker], ways: BlockedWays
) -> ForwardStatus:
    """The row, blocked if a blocker is in its way; packets on loopback pass no chain.
    What blocks only some packets is a reason of the row, which stays active."""
    if row.state != "active" or row.is_loopback:
        return row
    for one in blockers:
        found = one.is_ahead_of(row.address, bridges) and ways.tell(one, row)
        if found and found.level == WRONG:
            return replace(row, state="blocked", reason=found.said)
        if found:
            row = row.noted(found.said)
    return row


def standing(
    rows: Sequence[ForwardStatus], pause: Finding | None
) -> Iterator[ForwardStatus]:
    """A guest's rows, with the reason why it stands still; active ones stay active,
    since the rules are there."""
    for row in rows:
        if pause and row.state == "active":
            row = row.noted(pause.said)
        yield row


def by_other_ways(
    row: ForwardStatus,
    bridges: list[int],
    paths: ReturnPath,
    returned: set[tuple[str, str, int]],
) -> ForwardStatus:
    """The row, blocked if the guest's answers leave by another way than the host's own
    answers on the row's address. Answers of `returned` forwards carry our mark. A row
    for every address stays active, and its reason lists the addresses without
    answers."""
    if row.state != "active" or row.is_loopback:
        return row
    is_one = row.host_ip not in EVERY
    guest = parse_address(row.address)
    hosts = [parse_address(row.host_ip)] if is_one else paths.outside(family_of(guest))
    first = row.published.partition("-")[0]
    key = row.host_ip, row.protocol, int(first) if first.isdigit() else 0
    for host in hosts:
        for bridge in bridges:
            try:
                why = paths.blocker(host, guest, bridge, key in returned)
            except OSError:
                continue  # the kernel could not be asked
            if why and is_one:
                return replace(row, state="blocked", reason=why)
            if why:
                return row.noted(f"not answered on {host}: {why}")
    return row
