"""The cells: the full product of the table, without what kernel or libvirt rule out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from .table import BACKENDS, FAMILIES, ON_LOOPBACK, ORIGINS, ROWS, STRICT, Row


@dataclass(frozen=True)
class Cell:
    """One row, seen from one origin, by one backend, in one family."""

    row: str
    origin: str
    backend: str
    family: str

    def __str__(self) -> str:
        return f"{self.backend}-{self.family}-{self.row}-{self.origin}"


@dataclass(frozen=True)
class LeftOut:
    """Cells that cannot be asked, and the kernel's or libvirt's reason."""

    row: str
    reason: str
    origins: tuple[str, ...] = ORIGINS
    backends: tuple[str, ...] = BACKENDS
    families: tuple[str, ...] = FAMILIES

    def has(self, cell: Cell) -> bool:
        """Whether the cell is one of them."""
        return (
            cell.row == self.row
            and cell.origin in self.origins
            and cell.backend in self.backends
            and cell.family in self.families
        )


LEFT_OUT = (
    LeftOut(
        ON_LOOPBACK,
        "the kernel drops what comes from ::1 and leaves the host, with no setting like"
        " IPv4's route_localnet; check refuses `::1` as a host_ip",
        families=("6",),
    ),
    LeftOut(STRICT, "IPv6 has no rp_filter", families=("6",)),
)


def rows_by_name() -> dict[str, Row]:
    """The rows of the table by name."""
    return {row.name: row for row in ROWS}


def all_cells() -> list[Cell]:
    """The full product."""
    names = [row.name for row in ROWS]
    return [Cell(*one) for one in product(names, ORIGINS, BACKENDS, FAMILIES)]


def is_left_out(cell: Cell) -> bool:
    """Whether the cell cannot be asked."""
    return any(one.has(cell) for one in LEFT_OUT)


def asked_cells() -> list[Cell]:
    """The cells that are asked."""
    return [cell for cell in all_cells() if not is_left_out(cell)]
