"""The words of nft's language that are known, and what they are in a ruleset. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from .ruleset import Match
from .spellings import canonical

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{},]|[^\s{},"]+')
PLAIN = {
    "iif": "in",
    "iifname": "in",
    "oif": "out",
    "oifname": "out",
    "mark": "mark",
    "nfproto": "family",
    "protocol": "family",
    "l4proto": "proto",
}
CT = {"state": "state", "status": "state", "direction": "direction"}
HEADERS = {
    ("ip", "saddr"): "saddr",
    ("ip", "daddr"): "daddr",
    ("ip", "protocol"): "proto",
    ("ip6", "saddr"): "saddr",
    ("ip6", "daddr"): "daddr",
    ("ip6", "nexthdr"): "proto",
    ("icmp", "type"): "icmp",
    ("icmpv6", "type"): "icmp",
}
PORTS = {"tcp", "udp", "sctp", "udplite", "dccp", "th"}
SIMPLE = {"accept", "drop", "return", "continue"}
STATEMENTS = {
    *("counter", "log", "limit", "comment", "reject", "jump", "goto", "dnat", "snat"),
    *("masquerade", "redirect", "queue", "notrack", "xt", "quota", "flow", "tproxy"),
    *("add", "update", "delete", "dup", "fwd", "last", "synproxy"),
}
ENDS = frozenset({*SIMPLE, *STATEMENTS, "vmap"})
STARTS = frozenset(
    {
        *("ip", "ip6", "meta", "ct", "fib", "icmp", "icmpv6", "ether", "vlan", "rt"),
        *("iif", "iifname", "oif", "oifname", "mark", "socket", "numgen", "@th", "@nh"),
        *(*PORTS, *ENDS),
    }
)
# Behind these a word belongs to them: `ct original ip saddr`, `vxlan tcp dport`.
JOINING = frozenset(
    {".", "original", "reply", "in", "out", "vxlan", "geneve", "gre", "gretap"}
)
STATEFUL = {"limit", "quota", "count"}  # what an element of a set can have
VALUES = {"icmp", "icmpv6", "ip", "ip6", *PORTS}
HEADED = {"ct", "meta", "ip", "ip6", "ether", "vlan", "rt", "icmp", "icmpv6", *PORTS}
_LIMITS = {"<": (-1, 0), "<=": (0, 0), ">": (1, 65535), ">=": (0, 65535)}
_CACHED = 4096


def split_commas(text: str) -> list[str]:
    """What commas part, those in quotes and braces left alone."""
    found, depth, start = [], 0, 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[{},]', text):
        sign = token.group()
        if sign == "," and depth == 0:
            found.append(text[start : token.start()])
            start = token.end()
        depth += (sign == "{") - (sign == "}")
    found.append(text[start:])
    return found


@lru_cache(_CACHED)
def condition(field: str, values: tuple[str, ...], operator: str, text: str) -> Match:
    """A condition, in one spelling."""
    is_not = operator == "!="
    if operator in _LIMITS:
        by, end = _LIMITS[operator]
        if field not in ("sport", "dport") or not values[0].isdigit():
            return Match("", (), False, text)
        edge = int(values[0])
        span = (0, edge + by) if operator[0] == "<" else (edge + by, end)
        return Match(field, (f"{span[0]}-{span[1]}",), False, text)
    if " . " in field:
        return Match(field, values, is_not, text)
    try:
        plain = tuple(canonical(field, one) for one in values)
    except ValueError:
        return Match("", (), False, text)
    if any(not one for one in plain):
        return Match("", (), False, text)
    return Match(field, plain, is_not, text)


@lru_cache(_CACHED)
def of_protocol(name: str) -> Match:
    """The condition that a port of the protocol has with it."""
    return Match("proto", (name,), False, f"meta l4proto {name}")


def unquoted(text: str) -> str:
    """A word without its quotes."""
    return text[1:-1] if text[:1] == '"' == text[-1:] and len(text) > 1 else text


def joined(words: list[str]) -> str:
    """Words as nft would write them."""
    return " ".join(words).replace(" ,", ",")
