"""The table itself: what is asked, and what is not."""

from __future__ import annotations

from itertools import product

from .cells import LEFT_OUT, Cell, all_cells, asked_cells
from .expect import expected
from .table import BACKENDS, FAMILIES, ORIGINS, ROWS, Row
from .told import find_owner


def test_the_matrix_is_the_full_product() -> None:
    """Every row is asked from every origin, by both backends, in both families, but for
    the cells that an entry leaves out: so many, and no more."""
    everything = len(list(product(ROWS, ORIGINS, BACKENDS, FAMILIES)))

    counts = everything, everything - len(asked_cells())

    assert counts == (3024, 42)


def test_rows_say_why() -> None:
    """A row in which a forward does not answer somebody outside, whom it is for, has
    the reason that status is to give, and no other row has one."""
    met = [
        (row.name, is_served)
        for row in ROWS
        for cell in asked_cells()
        if cell.row == row.name
        for is_served in _packets(row, cell)
    ]

    mute = {name for name, is_served in met if not is_served}

    assert mute == {row.name for row in ROWS if row.why}
    assert (len(met), sum(is_served for _, is_served in met)) == (1287, 1046)


def _packets(row: Row, cell: Cell) -> list[bool]:
    """Of each question that is for a forward, whether its guest is to answer."""
    asks = row.asked_by(cell.origin)
    owners = [find_owner(row, ask, cell) for ask in asks]
    answers = expected(row, cell)[-len(asks) :]
    return [
        answer.startswith(f"{owner.guest} ")
        for owner, answer in zip(owners, answers)
        if owner
    ]


def test_cells_are_left_out_for_a_reason() -> None:
    """Every entry says which reason of the kernel's or of libvirt's it has, and leaves
    out cells that there are."""
    idle = [
        one.row
        for one in LEFT_OUT
        if not one.reason or not any(one.has(cell) for cell in all_cells())
    ]

    assert idle == []


def test_every_origin_asks_in_every_row() -> None:
    """A cell in which nothing is asked would be one that cannot fail."""
    silent = [
        (row.name, origin)
        for row in ROWS
        for origin in ORIGINS
        if not row.asked_by(origin)
    ]

    assert silent == []
