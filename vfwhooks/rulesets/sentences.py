"""What a rule does, in one plain sentence. Pure."""

from __future__ import annotations

from .ruleset import Chain, Match, Rule

_PROTOCOLS = {"icmp": "ICMP", "icmpv6": "ICMPv6"}
_STATES = {
    ("established", "related"): "belongs to a known connection or to a related one",
    ("established",): "belongs to a known connection",
    ("related",): "is related to a known connection",
    ("new",): "begins a connection",
    ("invalid",): "belongs to no connection that the kernel can follow",
    ("untracked",): "is not followed by the kernel",
    ("dnat",): "belongs to a connection with DNAT",
}
_DIRECTIONS = {
    "original": "goes from the client to the server",
    "reply": "goes from the server to the client",
}
_KINDS = {
    "local": "an address of the host",
    "unicast": "an address of one computer",
    "broadcast": "a broadcast address",
    "multicast": "a multicast address",
    "anycast": "an anycast address",
}
_IS = {
    "in": ("comes in by", "does not come in by"),
    "out": ("leaves by", "does not leave by"),
    "saddr": ("is from", "is not from"),
    "daddr": ("is for", "is not for"),
    "physin": ("comes in by the bridge port", "does not come in by the bridge port"),
    "physout": ("leaves by the bridge port", "does not leave by the bridge port"),
    "icmp": ("is of the ICMP type", "is not of the ICMP type"),
    "mark": ("has the mark", "does not have the mark"),
    "family": ("is", "is not"),
    "proto": ("is", "is not"),
    "sport": ("is from", "is not from"),
    "dport": ("is for", "is not for"),
}
_PARTS = {
    "saddr": "source address",
    "daddr": "destination address",
    "proto": "protocol",
    "sport": "source port",
    "dport": "destination port",
    "in": "incoming interface",
    "out": "outgoing interface",
    "family": "family",
    "state": "state",
    "direction": "direction",
}
_VERBS = {
    "accept": "is accepted",
    "drop": "is dropped without an answer",
    "return": "leaves the chain",
    "queue": "is given to a program (queue)",
    "masquerade": "gets the address of the host as its source",
    "log": "is written to the log and goes on",
    "mark": "gets a mark and goes on",
    "": "is counted and goes on",
    "jump": "goes through the chain {}",
    "goto": "goes to the chain {} and does not come back",
    "other": "is given to `{}`",
}


def sentence(chain: Chain, rule: Rule) -> str:
    """The sentence, about a packet."""
    parts = _conditions(rule.matches)
    who = "Every packet"
    if parts:
        who = f"A packet that {_and(parts)}"
    return f"{who} {_verb(chain, rule)}."


def _verb(chain: Chain, rule: Rule) -> str:
    kind, target, key = rule.verdict
    if kind == "accept" and chain.kind == "nat":
        return "is accepted and keeps its addresses"
    if kind == "return" and chain.hook:
        return f"meets the policy of the chain ({chain.policy.upper()})"
    if kind in _VERBS:
        return _VERBS[kind].format(target)
    return _LONGER_VERBS[kind](kind, target, key)


def _rejects(_: str, error: str, __: str) -> str:
    how = "a TCP reset" if error == "tcp-reset" else f"the ICMP error {error}"
    return f"is rejected with {how}"


def _translates(kind: str, target: str, key: str) -> str:
    end = "destination" if kind == "dnat" else "source"
    if key:
        return f"gets the {end} that {_map(target)} has for its {_names(key)}"
    if target in ("ip saddr", "ip6 saddr"):
        return "keeps its source address"
    return f"gets the {end} {target.lstrip(':')}"


def _redirects(_: str, target: str, __: str) -> str:
    ports = target.lstrip(":")
    return f"goes to port {ports} of the host" if ports else "goes to the host"


def _looks_up(_: str, target: str, key: str) -> str:
    what = f"its {_names(key)}" if key else "that"
    return f"gets the verdict that {_map(target)} has for {what}"


_LONGER_VERBS = {
    "reject": _rejects,
    "dnat": _translates,
    "snat": _translates,
    "redirect": _redirects,
    "vmap": _looks_up,
}


def _map(name: str) -> str:
    return f"the map {name[1:]}" if name[:1] == "@" else f"`{name}`"


def _names(key: str) -> str:
    return _and([_PARTS.get(part, part) for part in key.split(" . ")])


def _conditions(matches: tuple[Match, ...]) -> list[str]:
    """What a packet has to be like, each in words."""
    protocol = [m for m in matches if m.field == "proto" and not m.is_not]
    has_ports = any(m.field in ("sport", "dport") for m in matches)
    found = []
    for match in matches:
        if match in protocol and has_ports and len(protocol) == 1:
            continue  # it is said with the ports
        names = protocol[0].values if protocol and has_ports else ()
        found.append(_condition(match, names))
    return list(dict.fromkeys(found))


def _condition(match: Match, protocols: tuple[str, ...]) -> str:
    field, values, is_not, text = match
    if not field:
        return f"meets `{text}`"
    if " . " in field:
        names = _names(field)
        said = f"has its {names}"
        where = _set(values)
        return f"{said} {'not ' if is_not else ''}in {where}"
    if values[0][:1] == "@":
        where = _set(values)
        return (
            f"has its {_PARTS.get(field, field)} {'not ' if is_not else ''}in {where}"
        )
    if field == "state":
        return _state(values, is_not)
    if field == "direction" and len(values) == 1 and not is_not:
        return _DIRECTIONS.get(values[0], f"has the direction {values[0]}")
    if field in ("dsttype", "srctype"):
        said = _IS["daddr" if field == "dsttype" else "saddr"][is_not]
        return f"{said} {_or([_KINDS.get(one, one) for one in values])}"
    if field in ("sport", "dport"):
        name = _or([_PROTOCOLS.get(one, one.upper()) for one in protocols])
        many = len(values) > 1 or "-" in values[0]
        said = f"{name} port{'s' if many else ''}".strip()
        return f"{_IS[field][is_not]} {said} {_or(list(values))}"
    if field == "proto":
        values = tuple(_PROTOCOLS.get(one, one.upper()) for one in values)
    if field == "family":
        values = tuple(one.replace("ipv", "IPv") for one in values)
    said = _IS[field][is_not] if field in _IS else "has"
    return f"{said} {_or(list(values))}"


def _state(values: tuple[str, ...], is_not: bool) -> str:
    if is_not and values == ("dnat",):
        return "belongs to a connection without DNAT"
    if is_not:
        return f"is not in the state {_or(list(values))}"
    said = _STATES.get(tuple(sorted(values)), "")
    return said or f"is in the state {_or(list(values))}"


def _set(values: tuple[str, ...]) -> str:
    if values[0][:1] == "@":
        return f"the set {values[0][1:]}"
    return f"`{', '.join(values)}`"


def _or(words: list[str]) -> str:
    return _joined(words, "or")


def _and(words: list[str]) -> str:
    return _joined(words, "and")


def _joined(words: list[str], last: str) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
