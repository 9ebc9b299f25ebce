"""The ports of this host that foreign DNAT rules claim, or may claim. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..values.foreign_claims import ForeignClaim
from ..values.published import Address
from .dnat_rules import Hosts, Match, Taken


@dataclass(frozen=True)
class Doubt:
    """Ports that a rule may or may not take."""

    families: str
    protocols: tuple[str, ...]
    first: int
    last: int
    where: str


class Own:
    """The addresses of this host. `is_local` also knows addresses that only a route
    makes local."""

    def __init__(
        self, addresses: Sequence[Address], is_local: Callable[[Address], bool]
    ) -> None:
        self._addresses = addresses
        self._is_local = is_local
        self._known: dict[tuple[str, Hosts], Sequence[Address | None]] = {}

    def has(self, match: Match) -> bool:
        """Whether a match can mean packets for this host."""
        return any(self.of(match, family) for family in match.families)

    def of(self, match: Match, family: str) -> Sequence[Address | None]:
        """The host's addresses of a family that a match means; None stands for all."""
        if not match.hosts:
            return [None]
        key = family, match.hosts
        if key not in self._known:
            self._known[key] = self._find(family, match.hosts)
        return self._known[key]

    def _find(self, family: str, hosts: Hosts) -> Sequence[Address | None]:
        version = int(family)
        if any(net.version != version and not is_not for is_not, net in hosts):
            return []
        mine = [one for one in self._addresses if one.version == version]
        # A negated address that is not the host's excludes nothing.
        nets = [
            (n, net)
            for n, net in hosts
            if net.version == version and (not n or any(one in net for one in mine))
        ]
        if not nets:
            return [None]
        single = [net for n, net in nets if not n and net.num_addresses == 1]
        some = [net.network_address for net in single[:1]]
        some = [one for one in some if self._is_local(one)] if single else mine
        return [one for one in some if all((one in net) != n for n, net in nets)]


def find_claims(
    taken: Taken, own: Own, whose: str, where: str, is_ahead: bool
) -> tuple[list[ForeignClaim], list[Doubt]]:
    """The claims on ports, or the doubts if it is unknown what the rule takes."""
    what = taken.what
    if what.is_unknown:
        return [], [
            Doubt(what.families, what.protocols, first, last, where)
            for first, last in what.ports
            if own.has(what)
        ]
    said = f"{whose} {' '.join(what.limits)}".rstrip()
    by = f"{said} by {taken.kind}"
    return [
        ForeignClaim(
            family, host, protocol, first, last, by, is_ahead, bool(what.limits)
        )
        for family in what.families
        for host in own.of(what, family)
        for protocol in what.protocols
        for first, last in what.ports
    ], []
