"""A claim of a foreign DNAT rule on ports of this host."""

from __future__ import annotations

from dataclasses import dataclass

from .published import Address


@dataclass(frozen=True)
class ForeignClaim:
    """Ports on an address of this host (None: on every address) that a foreign rule
    takes. With `is_ahead` the rule decides before ours; with `is_limited` it does not
    take every packet to these ports."""

    family: str
    host: Address | None
    protocol: str
    first: int
    last: int
    whose: str
    is_ahead: bool = False
    is_limited: bool = False
