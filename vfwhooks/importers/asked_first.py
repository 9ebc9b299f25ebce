"""Forwards on every address beside others on one address, which forwards.yaml asks
first, and which refuse there whom they do not let in. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..values.protocols import PROTOCOLS
from .imported import Imported, parse_span

_ALL = "1-65535"
_LONG = 100  # ports of a range


class Unbound:
    """Forwards on every address, to be found by their ports."""

    def __init__(self) -> None:
        self._by_port: dict[int, list[Imported]] = {}
        self._long: list[Imported] = []

    def add(self, one: Imported) -> None:
        """Take one in, if it is on every address."""
        if one.host_ips or not one.published:
            return
        first, last = parse_span(one.published)
        if last - first > _LONG:
            self._long.append(one)
            return
        for port in range(first, last + 1):
            self._by_port.setdefault(port, []).append(one)

    def near(self, one: Imported) -> Iterator[Imported]:
        """Those that may have ports of a forward on one address, some of them twice."""
        if one.host_ips:
            yield from self._long
            first, last = parse_span(one.published or _ALL)
            for port in (
                self._by_port if last - first > _LONG else range(first, last + 1)
            ):
                yield from self._by_port.get(port, ())


def is_ahead(other: Imported, one: Imported) -> bool:
    """Whether the source asks the other one first, where forwards.yaml would not: there
    a port on one address goes before the same port on every address."""
    is_same = (other.guest, other.target) == (one.guest, one.target)
    return _meet(one, other) and (not is_same or _is_narrower(one, other))


def is_refusing(one: Imported, other: Imported) -> bool:
    """Whether forwards.yaml, for this one, would refuse clients of the other one, which
    the source asks next."""
    return _is_narrower(one, other) and _meet(one, other)


def _is_narrower(one: Imported, other: Imported) -> bool:
    sources = set(other.allow_from)
    return bool(one.allow_from) and not (sources and sources <= set(one.allow_from))


def _meet(one: Imported, other: Imported) -> bool:
    """Whether a port on every address is among those of a forward on one address."""
    protocols = one.protocols if one.published else PROTOCOLS
    if not set(protocols) & set(other.protocols):
        return False
    if not is_of_family(one.address, other.address):
        return False
    first, last = parse_span(one.published or _ALL)
    low, high = parse_span(other.published)
    return first <= high and low <= last


def is_of_family(host: str, other: str) -> bool:
    return not other or (":" in host) == (":" in other)
