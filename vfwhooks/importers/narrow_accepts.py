"""Accepts of a source that let only some clients pass to a guest, where ours would let
pass all whom the forward is for. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from ..rulesets.ruleset import Match, Rule
from .imported import Imported, Left, NotCarried, parse_span

_PLAIN = ("proto", "dport", "daddr", "in", "out", "state", "family")
_NETWORKS = "/"  # in place of an address


class Accepts:
    """The accepts of the forward chains, by the guest's address, or for networks and
    sets, or for any address."""

    def __init__(self) -> None:
        self._to: dict[str, list[tuple[Rule, str]]] = {}

    def add(self, rule: Rule, where: str) -> None:
        """Take a rule in, if it accepts new connections."""
        if rule.verdict.kind != "accept" or not all(map(_is_for_new, rule.matches)):
            return
        for to in rule.values("daddr") or ("",):
            key = _NETWORKS if "/" in to or to[:1] == "@" else to
            self._to.setdefault(key, []).append((rule, where))

    def checked(self, one: Imported | Left) -> Imported | Left:
        """The forward, unless each accept for it is for some clients alone."""
        if isinstance(one, Left):
            return one
        met = self._met(one.address, one) + self._met(_NETWORKS, one)
        own = [both for both in met if _is_about(both[0], one)]
        if not own or any(_is_free(r, one) for r, _ in met + self._met("", one)):
            return one
        why = f"{own[0][1]} lets only some pass to {one.address}"
        return Left(one.origin, f"{why}; allow_from says who may connect")

    def _met(self, to: str, one: Imported) -> list[tuple[Rule, str]]:
        return [both for both in self._to.get(to, ()) if _is_met(both[0], one)]


def _is_for_new(match: Match) -> bool:
    if match.field != "state":
        return True
    return bool({"new", "dnat"} & set(match.values)) != match.is_not


def _is_met(rule: Rule, one: Imported) -> bool:
    """Whether packets of the forward may meet the rule."""
    protocols, to = rule.values("proto"), rule.values("daddr")
    if protocols and one.published and not set(protocols) & set(one.protocols):
        return False
    if to and one.address not in to and not any(_has(net, one.address) for net in to):
        return False
    try:
        first, last = parse_span(one.target) if one.target else (1, 65535)
        spans = [parse_span(ports) for ports in rule.values("dport")]
    except NotCarried:
        return True
    return not spans or any(low <= last and first <= high for low, high in spans)


def _is_about(rule: Rule, one: Imported) -> bool:
    """Whether the rule is for the guest, by its address, or for its network from
    elsewhere."""
    to = rule.values("daddr")
    is_among_guests = any(_has(net, one.address) for net in rule.values("saddr"))
    return one.address in to or (bool(to) and not is_among_guests)


def _has(net: str, address: str) -> bool:
    try:
        return ip_address(address) in ip_network(net)
    except ValueError:
        return False


def _is_free(rule: Rule, one: Imported) -> bool:
    """Whether all whom the forward is for may pass by the rule."""
    into, out = rule.values("in"), rule.values("out")
    if not rule.values("daddr") and into and (not out or into == out):
        return False  # it is about a bridge's own packets, or those of guests
    return all(
        match.field in _PLAIN
        or (match.field == "saddr" and not match.is_not and _is_all(match.values, one))
        for match in rule.matches
    )


def _is_all(sources: tuple[str, ...], one: Imported) -> bool:
    return bool(one.allow_from) and set(one.allow_from) <= set(sources)
