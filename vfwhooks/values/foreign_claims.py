"""A claim of somebody else's DNAT rule on ports of this host."""

from __future__ import annotations

from dataclasses import dataclass

from .published import Address


@dataclass(frozen=True)
class ForeignClaim:
    """Ports on an address of this host (None: on every one) that somebody else's rule
    takes; `is_ahead`: it is asked before ours is; `is_limited`: it does not take all
    that comes there."""

    family: str
    host: Address | None
    protocol: str
    first: int
    last: int
    whose: str
    is_ahead: bool = False
    is_limited: bool = False
