"""Our bits of a connection's mark (docs/design-notes.md)."""

from __future__ import annotations

# Ours of the bits of a connection's mark: four that stand for a way back, which are in
# a packet's mark too, and one for what is masqueraded (docs/design-notes.md).
RETURN_BITS, MASQUERADE_BIT = 0x0F000000, 0x10000000
MARKS = range(1, 16)
_RETURN_SHIFT = 24


def return_mark(value: int) -> int:
    """The mark, of our bits, with this value for a way back."""
    return value << _RETURN_SHIFT
