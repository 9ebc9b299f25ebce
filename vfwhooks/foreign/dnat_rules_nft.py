"""The parser for one table from `nft -j list table`, into rules of dnat_rules. Pure.

Rules that iptables has made appear as `xt` and cannot be parsed here: see `is_xtables`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..values.protocols import BY_NUMBER, PROTOCOLS
from ..values.published import parse_subnet
from .dnat_rules import DNAT, JUMP, LAST, MAYBE, STOP, Match, Rule, Span, outside

_FAMILIES = {"ip": "4", "ip6": "6", "inet": "46"}
_LIMITS = {"limit", "quota", "meter", "ct count"}
_STOPS = {"accept", "drop", "return", "queue", "reject"}
_HARMLESS = {
    *("counter", "log", "mangle", "notrack", "set", "add", "update", "delete"),
    *("ct helper", "ct timeout", "ct expectation", "snat", "masquerade"),
    *("last", "continue", "comment"),
}
_BY_INTERFACE = {"iif", "iifname", "iifgroup", "iiftype", "sdif", "sdifname"}


def parse_table(text: str) -> dict[str, list[Rule]]:
    """The table's chains with their rules. Raises ValueError for anything else."""
    found: dict[str, list[Rule]] = {}
    items = json.loads(text)["nftables"]
    for item in items:
        if "chain" in item:
            found.setdefault(item["chain"]["name"], [])
    bases = {i["chain"]["name"] for i in items if "hook" in i.get("chain", {})}
    others = tuple(name for name in found if name not in bases)
    for item in items:
        about = item.get("rule")
        if about:
            rules = _rules(about["expr"], _FAMILIES.get(about["family"], "46"), others)
            found.setdefault(about["chain"], []).extend(rules)
    return found


def is_xtables(text: str) -> bool:
    """Whether iptables has made any rule of the table."""
    return '"xt"' in text


def _rules(
    expressions: Sequence[dict[str, Any]], families: str, others: tuple[str, ...]
) -> list[Rule]:
    """The values for one nft rule; empty if it cannot match a packet for this host."""
    match = Match(families=families)
    found: list[Rule] = []
    for expression in expressions:
        ((name, about),) = expression.items()
        if name == "match":
            more = _match(about)
            both = match.also(more) if more else None
            if both is None:
                return found
            match = both
        elif name in _LIMITS:
            match = replace(match, is_unknown=True)
        elif name not in _HARMLESS:
            found += _verdicts(match, name, about, others)
    return found


def _verdicts(
    match: Match, name: str, about: Any, others: tuple[str, ...]
) -> list[Rule]:
    """The values for one statement of a rule that decides about packets."""
    if name in ("dnat", "redirect"):
        return [_dnat(match, name, about or {})]
    if name == "jump":
        return [Rule(match, JUMP, about["target"])]
    if name == "goto":
        return [Rule(match, JUMP, about["target"]), Rule(match, STOP)]
    if name == "vmap":
        return [_vmap(match, about["data"], others)]
    return [Rule(match, STOP if name in _STOPS else MAYBE)]


def _dnat(match: Match, name: str, about: dict[str, Any]) -> Rule:
    """A DNAT rule. If its target comes from a map, only keys of the map are taken."""
    is_plain = not any(
        isinstance(about.get(part), dict) and not {"range", "prefix"} & set(about[part])
        for part in ("addr", "port")
    )
    family = {"ip": "4", "ip6": "6"}.get(about.get("family", ""), match.families)
    both = match.also(Match(families=family)) or match
    return Rule(both, DNAT, name.upper()) if is_plain else Rule(both, MAYBE)


def _vmap(match: Match, data: Any, others: tuple[str, ...]) -> Rule:
    """A verdict map: the chains in it, or, if the map has a name, any chain."""
    targets = others
    if isinstance(data, dict) and "set" in data:
        verdicts = [pair[1] for pair in data["set"] if isinstance(pair, list)]
        named = [
            v.get("jump") or v.get("goto") for v in verdicts if isinstance(v, dict)
        ]
        targets = tuple(one["target"] for one in named if one)
    if not targets:
        return Rule(replace(match, limits=("by a map",)), STOP)
    return Rule(match, MAYBE, targets=targets)


def _match(about: dict[str, Any]) -> Match | None:
    """The match of a comparison; None if it excludes every packet for this host."""
    left, right, is_not = about["left"], about["right"], about["op"] == "!="
    if isinstance(left, dict) and about["op"] in ("==", "!=", "in", *_COMPARE):
        ((kind, what),) = left.items()
        values = _values(right)
        if kind == "payload" and isinstance(what, dict):
            return _payload(what, about["op"], right, values)
        if kind in _KINDS:
            return _KINDS[kind](what, values, is_not)
    return Match(is_unknown=True)


def _meta(what: dict[str, Any], values: list[Any], is_not: bool) -> Match | None:
    key = what.get("key", "")
    if key in _BY_INTERFACE:
        return Match() if is_not else Match(limits=(f"on {_words(values)}",))
    if key == "l4proto":
        return _some_protocols(values, is_not)
    if key in _FAMILY_NAMES:
        families = [_FAMILY_NAMES[key].get(str(value), "") for value in values]
        return _some_families(families, is_not)
    return Match(is_unknown=True)


def _fib(what: dict[str, Any], values: list[Any], is_not: bool) -> Match | None:
    is_type = what.get("result") == "type" and what.get("flags") in _TO_ADDRESS
    if is_type and all(isinstance(v, str) and v[0] != "@" for v in values):
        return Match() if ("local" in values) != is_not else None
    return Match(is_unknown=True)


def _ct(what: dict[str, Any], values: list[Any], is_not: bool) -> Match | None:
    wanted = {"state": "new", "direction": "original"}.get(what.get("key", ""))
    if wanted is None or "@" in str(values):
        return Match(is_unknown=True)
    return Match() if (wanted in values) != is_not else None


_KINDS = {"meta": _meta, "fib": _fib, "ct": _ct}
_FAMILY_NAMES = {
    "nfproto": {"ipv4": "4", "ipv6": "6"},
    "protocol": {"ip": "4", "ip6": "6"},
}
_TO_ADDRESS = "daddr", ["daddr"]
_COMPARE = {"<", ">", "<=", ">="}


def _payload(
    what: dict[str, Any], operation: str, right: Any, values: list[Any]
) -> Match | None:
    """The match of a comparison with a header field: addresses, protocols and ports."""
    field, protocol = what.get("field"), str(what.get("protocol"))
    is_not = operation == "!="
    if protocol in ("ip", "ip6"):
        family = "4" if protocol == "ip" else "6"
        if field in ("protocol", "nexthdr"):
            found = _some_protocols(values, is_not)
            return found.also(Match(families=family)) if found else None
        nets = [_net(value) for value in values]
        if field == "saddr":
            said = "not from" if is_not else "from"
            return Match(families=family, limits=(f"{said} {_words(nets)}",))
        is_plain = all(nets) and (is_not or len(nets) == 1)
        if field == "daddr" and is_plain and operation in ("==", "!=", "in"):
            hosts = tuple((is_not, parse_subnet(net)) for net in nets)
            return Match(families=family, hosts=hosts)
        return Match(families=family, is_unknown=True)
    if protocol not in (*PROTOCOLS, "th"):
        return None if protocol in ("icmp", "icmpv6") else Match(is_unknown=True)
    protocols = (protocol,) if protocol in PROTOCOLS else PROTOCOLS
    if field == "sport":
        return Match(protocols=protocols, limits=(f"from port {_words(values)}",))
    spans = _spans(operation, values)
    if field != "dport" or spans is None:
        return Match(protocols=protocols, is_unknown=True)
    return Match(protocols=protocols, ports=spans) if spans else None


def _values(right: Any) -> list[Any]:
    if isinstance(right, list):
        return right
    if isinstance(right, dict) and isinstance(right.get("set"), list):
        return [
            one["elem"]["val"] if isinstance(one, dict) and "elem" in one else one
            for one in right["set"]
        ]
    return [right]


def _spans(operation: str, values: list[Any]) -> tuple[Span, ...] | None:
    """The ports; None if the values are no numbers."""
    found: list[Span] = []
    for value in values:
        ends = value.get("range") if isinstance(value, dict) else [value, value]
        if not ends or not all(isinstance(end, int) for end in ends):
            return None
        found.append((ends[0], ends[1]))
    if operation in _COMPARE:
        port = found[0][0]
        first = {">": port + 1, ">=": port}.get(operation, 0)
        last = {"<": port - 1, "<=": port}.get(operation, LAST)
        found = [(first, last)] if first <= last else []
    return outside(found) if operation == "!=" else tuple(sorted(found))


def _net(value: Any) -> str:
    """An address or a subnet; '' for anything else."""
    if isinstance(value, dict) and "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return value if isinstance(value, str) and value[:1] != "@" else ""


def _some_families(families: list[str], is_not: bool) -> Match | None:
    if not all(families):
        return Match(is_unknown=True)
    some = "".join(one for one in "46" if (one in families) != is_not)
    return Match(families=some) if some else None


def _some_protocols(values: list[Any], is_not: bool) -> Match | None:
    names = [BY_NUMBER.get(str(value), str(value)) for value in values]
    if any(name[:1] == "@" or "{" in name for name in names):
        return Match(is_unknown=True)
    some = tuple(one for one in PROTOCOLS if (one in names) != is_not)
    return Match(protocols=some) if some else None


def _words(values: list[Any]) -> str:
    plain = [v for v in values if isinstance(v, (str, int)) and v != ""]
    return ", ".join(map(str, plain)) if len(plain) == len(values) else "some"
