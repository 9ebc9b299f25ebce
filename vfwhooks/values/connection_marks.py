"""Our bits of a connection's mark (docs/design-notes.md)."""

from __future__ import annotations

# Four bits name a return route, and a packet's mark has them, too; one bit says that
# the connection is masqueraded.
RETURN_BITS, MASQUERADE_BIT = 0x0F000000, 0x10000000
MARKS = range(1, 16)
_RETURN_SHIFT = 24


def return_mark(value: int) -> int:
    """The bits of a connection's mark for this value of a return route (1 to 15)."""
    return value << _RETURN_SHIFT
