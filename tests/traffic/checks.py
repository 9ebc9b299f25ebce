"""What is checked of each backend; the test files import it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .cells import Cell, rows_by_name
from .expect import expected
from .page import PAGE, blocks_of, read_blocks, render
from .play import Found
from .report import PROPERTY


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """The other backends' processes wait: each writes its own part of the page."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def test_cell(
    cell: Cell, found: Found, record_property: Callable[[str, object], None]
) -> None:
    """Who asks gets the answer that the table promises, and no other."""
    record_property(PROPERTY, (cell.row, cell.origin, cell.backend, cell.family))

    wanted = expected(rows_by_name()[cell.row], cell)

    assert found.seen[cell] == wanted


def test_active_means_answered(stage_name: str, found: Found) -> None:
    """Where a guest answers a packet from outside that is for a forward, status calls
    the forward active; where it does not, status gives a reason that names why.

    Such a packet is what `outside` and `elsewhere` send to an address and port that a
    forward of the row publishes, with a source that its allow_from has: of the forward
    on that address, or else of the one on every address. Not so what is sent straight
    at a guest, through the host to others, to ports that are not published, and on a
    connection that is older than the forwards, nor what guests and the host send. A
    guest that does not run is no exception: its forward is `stopped`. All packets are
    sent first, then status is asked.
    """
    rows = rows_by_name()

    wrong = [one.wrong(rows[one.cell.row].why) for one in found.told[stage_name]]

    assert [text for text in wrong if text] == []


def test_page(backend: str, found: Found) -> None:
    """docs/traffic.md holds the table, and the rulesets that the kernel had."""
    shown = backend.partition("-")[0]
    with locked(PAGE.parent):
        page = PAGE.read_text()
        made = render({**read_blocks(page), shown: blocks_of(found.rulesets)})
        if os.environ.get("VFWHOOKS_WRITE"):
            PAGE.write_text(made)
            page = made

    assert made == page


def test_ten_thousand_ports(found: Found) -> None:
    """A range of 10,000 ports that keeps its numbers is one element, or one rule."""
    lines = found.rulesets["a range of 10,000 ports that keeps its numbers"]

    to_guest = [
        line
        for line in lines
        if "192.168.122.10" in line and ("dnat4" in line or "-j DNAT" in line)
    ]

    assert len(to_guest) == 1
