"""A packet, and whether it meets a condition: yes, no, or nobody can tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from itertools import product

from .nft_reader import add_elements
from .ruleset import Element, Match, Rule, Set, Table

ANYBODY = "*"  # an address, or an interface, that no rule names
_EVERYBODY = {
    "ip": ("0.0.0.0/0", "0.0.0.0-255.255.255.255"),
    "ip6": ("::/0", f"::-{':'.join(['ffff'] * 8)}"),
}
_CACHED = 64
_OTHERS = ("*",)  # the key of the element for what no other element has


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection. `family` is ip or ip6; '' is what nobody can
    tell; the states are those of conntrack, dnat among them."""

    family: str
    protocol: str
    destination: str
    port: int
    source: str = ANYBODY
    incoming: str = ANYBODY
    outgoing: str = ""
    is_local: bool = True
    states: tuple[str, ...] = ("new",)

    def values(self, field: str) -> tuple[str, ...]:
        """The values of a field of the packet; none where nobody can tell."""
        anybody = ANYBODY + self.family
        found = {
            "in": self.incoming,
            "out": self.outgoing,
            "saddr": anybody if self.source == ANYBODY else self.source,
            "daddr": self.destination,
            "proto": self.protocol,
            "dport": str(self.port),
            "direction": "original",
            "dsttype": "local" if self.is_local else "unicast",
            "srctype": "unicast",
        }.get(field, "")
        if field == "state":
            return self.states
        if field == "family":  # by nfproto, by protocol
            return ("ipv6", "ip6") if self.family == "ip6" else ("ipv4", "ip")
        return (found,) if found else ()


def meets(packet: Packet, rule: Rule, table: Table) -> tuple[bool | None, str]:
    """Whether it meets all conditions of a rule; None, and the condition, where that
    depends on one that nobody can tell."""
    unknown = ""
    for match in rule.matches:
        is_met = _meets(packet, match, table)
        if is_met is False:
            return False, ""
        if is_met is None:
            unknown = unknown or match.text
    return (None if unknown else True), unknown


def _meets(packet: Packet, match: Match, table: Table) -> bool | None:
    if not match.field:
        return None
    if not _is_of_family(packet, match):
        return False
    if " . " in match.field or match.values[0][:1] == "@":
        found = look_up(packet, match.field, match.values[0], table)
        return None if found is None else bool(found) != match.is_not
    own = packet.values(match.field)
    if not own:
        return None
    found_one: bool | None = False
    for value in match.values:
        is_same = any(is_in(match.field, one, value) for one in own)
        found_one = found_one or is_same
    return bool(found_one) != match.is_not


def _is_of_family(packet: Packet, match: Match) -> bool:
    """`ip saddr` is no condition for IPv6: such a packet never meets it."""
    if not {"saddr", "daddr"} & set(match.field.split(" . ")):
        return True
    words = match.text.split(" ")
    if "ip" in words or "ip6" in words:
        return ("ip6" in words) == (packet.family == "ip6")
    return (":" in match.values[0]) == (packet.family == "ip6")


def look_up(
    packet: Packet, field: str, name: str, table: Table
) -> list[Element] | None:
    """The element of a set or map, by its name or in its braces, if there is one; None
    where nobody can tell."""
    fields = field.split(" . ")
    own = [packet.values(part) for part in fields]
    is_named = name[:1] == "@"
    one = table.sets.get(name[1:]) if is_named else _in_braces(name)
    if one is None or not all(own):
        return None
    found = [element for key in product(*own) for element in _find(one, fields, key)]
    return (found or [element for element in one.ranges if element.key == _OTHERS])[:1]


@lru_cache(_CACHED)
def _in_braces(text: str) -> Set | None:
    one = Set("")
    add_elements(one, text[1:-1])
    return one if text[:1] == "{" else None


def _find(one: Set, fields: list[str], key: tuple[str, ...]) -> list[Element]:
    if key in one.exact:
        return [one.exact[key]]
    return [
        element
        for element in one.ranges
        if len(element.key) == len(key) and all(map(is_in, fields, key, element.key))
    ][:1]


def is_in(field: str, own: str, value: str) -> bool:
    """Whether what a packet has is the value, or in the subnet or the range of it."""
    if own == value:
        return True
    if own[:1] == ANYBODY:
        return value in _EVERYBODY.get(own[1:], ())
    if field in ("saddr", "daddr"):
        return _is_inside(own, value)
    if field in ("in", "out") and value[-1:] == "*":
        return own.startswith(value[:-1])
    first, _, last = value.partition("-")
    if field in ("sport", "dport") and first.isdigit() and last.isdigit():
        return int(first) <= int(own) <= int(last)
    return field == "proto" and value == "0-255"


def _is_inside(own: str, value: str) -> bool:
    try:
        address = ip_address(own)
        if "-" in value:
            first, _, last = value.partition("-")
            low, high = ip_address(first), ip_address(last)
            same = low.version == address.version
            return same and int(low) <= int(address) <= int(high)
        return address in ip_network(value)
    except ValueError:
        return False
