"""The conversion of a rule of rulesets/ into rules of dnat_rules. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from ..rulesets import ruleset
from ..rulesets.context import targets
from ..values.protocols import PROTOCOLS
from ..values.published import parse_subnet
from .dnat_rules import DNAT, END, JUMP, LAST, MAYBE, STOP, Match, Rule, Span, outside

_ENDS = {
    "return": STOP,
    **dict.fromkeys(("accept", "drop", "queue", "reject"), END),
}
_HARMLESS = {
    *("TRACE", "CT", "DSCP", "TOS", "CLASSIFY", "SET", "AUDIT", "SECMARK"),
    *("CONNSECMARK", "notrack", "add", "update", "delete"),
}
# The match of every condition that begins with the word.
_HEADS: dict[str, Match | None] = {
    "ip": Match(families="4"),
    "ip6": Match(families="6"),
    **{name: Match(protocols=(name,)) for name in PROTOCOLS},
    **dict.fromkeys(("icmp", "icmpv6")),
}
_FAMILIES = {"ipv4": "4", "ipv6": "6"}
_WANTED = {"state": "new", "direction": "original", "dsttype": "local"}
_GROUP = re.compile(r"(?:meta )?(?:iifgroup|iiftype|sdif|sdifname) (!= )?(.+)")
_DNAT_FAMILY = re.compile(r"dnat (ip6?) ")
_ADDRESS = re.compile(r"[\da-fA-F.:\[\]/-]*")
_ANYTHING = Match()
_UNKNOWN = Match(is_unknown=True)
_CACHED = 4096


def convert(
    rule: ruleset.Rule, families: str, others: tuple[str, ...] = ()
) -> list[Rule]:
    """The rules for one rule: one, or two (jump and stop) for a goto. `others` are the
    chains that a map with a name may lead to."""
    match = Match(families=families)
    for one in rule.matches[: -1 if _ends_in_key(rule) else None]:
        more = _lets_through(one)
        both = match.also(more) if more else None
        if both is None:
            return [Rule(match, "")]
        match = both
    kind, target, _ = rule.verdict
    if kind in ("dnat", "redirect"):
        return [_dnat(match, rule)]
    if kind in ("jump", "goto"):
        return [Rule(match, JUMP, target), Rule(match, STOP)][: 1 + (kind == "goto")]
    if kind == "vmap":
        return [_vmap(match, rule, others)]
    if kind == "other":
        return [_other(match, target)]
    return [Rule(match, _ENDS.get(kind, ""))]


def _ends_in_key(rule: ruleset.Rule) -> bool:
    """Whether the last condition is the protocol that the key of a verdict map implies.
    Such a map is a doubt, and its key is not looked at."""
    kind, _, key = rule.verdict
    last = rule.matches[-1:] if kind == "vmap" and "port" in key else ()
    return any(
        f"{one.values[0]} {port}" in rule.text
        for one in last
        for port in ("dport", "sport")
        if one.field == "proto" and len(one.values) == 1
    )


def _dnat(match: Match, rule: ruleset.Rule) -> Rule:
    """A DNAT rule. If its target comes from a map, only keys of the map are taken."""
    kind, target, key = rule.verdict
    family = _DNAT_FAMILY.search(rule.text)
    if family:
        only = _HEADS[family.group(1)]
        match = (only and match.also(only)) or match
    is_plain = not key and _ADDRESS.fullmatch(target.split(" ")[0])
    return Rule(match, DNAT, kind.upper()) if is_plain else Rule(match, MAYBE)


def _vmap(match: Match, rule: ruleset.Rule, others: tuple[str, ...]) -> Rule:
    """A verdict map: the chains in it, or, if the map has a name, any chain."""
    some = others if rule.verdict.target[:1] == "@" else tuple(targets(rule))
    if not some:
        return Rule(match._replace(limits=("by a map",)), STOP)
    return Rule(match, MAYBE, targets=some)


def _other(match: Match, said: str) -> Rule:
    words = said.split(" ")
    if words[0] == "NETMAP":
        return Rule(match, DNAT, words[0])
    is_harmless = words[0] in _HARMLESS or words[2:3] == ["set"]
    return Rule(match, "" if is_harmless else MAYBE)


@lru_cache(_CACHED)
def _lets_through(match: ruleset.Match) -> Match | None:
    """The match of one condition; None if it excludes every packet for this host."""
    about = _HEADS.get(match.text.partition(" ")[0], _ANYTHING)
    is_set = bool(match.values) and match.values[0][:1] == "@"
    read = _SETS if is_set else _FIELDS
    more = read.get(match.field, _unknown)(match)
    if more is None or about is None or about is _ANYTHING:
        return about and more
    return about.also(more)


def _unknown(match: ruleset.Match) -> Match:
    group = _GROUP.fullmatch(match.text)
    if group:
        values = group.group(2).strip('{ "}')
        return Match() if group.group(1) else Match(limits=(f"on {values}",))
    return _UNKNOWN


def _by_interface(match: ruleset.Match) -> Match:
    return Match() if match.is_not else Match(limits=(f"on {_said(match)}",))


def _from_host(match: ruleset.Match) -> Match:
    said = "not from" if match.is_not else "from"
    return Match(limits=(f"{said} {_said(match)}",))


def _from_port(match: ruleset.Match) -> Match:
    return Match(limits=(f"from port {_said(match)}",))


def _said(match: ruleset.Match) -> str:
    """The values in words: of iptables as they are written; of nft only plain ones."""
    if match.text[:1] in ("-", "!"):
        return match.text.split(" ")[-1]
    is_range = match.field != "in" and any("-" in value for value in match.values)
    is_set = match.field == "saddr" and match.values[0][:1] == "@"
    return "some" if is_range or is_set else ", ".join(match.values)


def _to_host(match: ruleset.Match) -> Match:
    is_one = match.is_not or len(match.values) == 1
    if not is_one or any("-" in value for value in match.values):
        return _UNKNOWN
    return Match(hosts=tuple((match.is_not, parse_subnet(v)) for v in match.values))


def _to_ports(match: ruleset.Match) -> Match | None:
    found: list[Span] = []
    for value in match.values:
        first, dash, last = value.partition("-")
        if not first.isdigit():
            return _UNKNOWN
        found.append((int(first), int(last) if dash else int(first)))
    spans = tuple(sorted(one for one in found if one[0] <= min(one[1], LAST)))
    spans = outside(spans) if match.is_not else spans
    return Match(ports=spans) if spans else None


def _by_protocol(match: ruleset.Match) -> Match | None:
    if any(value[0].isdigit() and "-" in value for value in match.values):
        return _UNKNOWN
    some = tuple(o for o in PROTOCOLS if (o in match.values) != match.is_not)
    return Match(protocols=some) if some else None


def _by_family(match: ruleset.Match) -> Match | None:
    if not _FAMILIES.keys() >= set(match.values):
        return _UNKNOWN
    named = [_FAMILIES[value] for value in match.values]
    some = "".join(one for one in "46" if (one in named) != match.is_not)
    return Match(families=some) if some else None


def _by_state(match: ruleset.Match) -> Match | None:
    if match.text.startswith("ct status"):
        return _UNKNOWN
    is_met = (_WANTED[match.field] in match.values) != match.is_not
    return Match() if is_met else None


_SETS: dict[str, Callable[[ruleset.Match], Match | None]] = {
    "in": _by_interface,
    "saddr": _from_host,
    "sport": _from_port,
}
_FIELDS = {
    **_SETS,
    "daddr": _to_host,
    "dport": _to_ports,
    "proto": _by_protocol,
    "family": _by_family,
    **dict.fromkeys(_WANTED, _by_state),
}
