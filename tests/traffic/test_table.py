"""The table itself: what is asked, and what is not."""

from __future__ import annotations

from itertools import product

from .cells import LEFT_OUT, all_cells, asked_cells
from .table import BACKENDS, FAMILIES, ORIGINS, ROWS


def test_the_matrix_is_the_full_product() -> None:
    """Every row is asked from every origin, by both backends, in both families, but for
    the cells that an entry leaves out: so many, and no more."""
    everything = len(list(product(ROWS, ORIGINS, BACKENDS, FAMILIES)))

    counts = everything, everything - len(asked_cells())

    assert counts == (2646, 21)


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
