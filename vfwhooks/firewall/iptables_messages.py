"""The rules that a guest's start adds to iptables' nft variant, as netlink messages.
Pure.

iptables-nft-restore takes 3 ms for them, most of it to start and to load its parts. The
messages have the form that every iptables-nft reads: xtables' own structures in
nf_tables' `match` and `target`. So its save and its delete see no difference. The tool
makes every rule with a part that is unknown here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import cache, lru_cache
from ipaddress import ip_address, ip_network

from ..host.netlink import attribute, message, named, nested, netfilter
from .iptables_script import Chain, Rules
from .nft_names import NFT, PARTS

Make = Callable[[str, re.Match[str]], bytes]

_NEWCHAIN, _NEWRULE, _DELRULE = 3, 6, 8
_CREATE, _APPEND = 0x400, 0x800
_VERDICTS = {"ACCEPT": 1, "RETURN": -5}
_JUMP = -3
_PROTOCOLS = {"tcp": 6, "udp": 17}
_LAST = 0xFFFF
# Offsets of the addresses in a packet of the family.
_PLACES = {"4": {"-s": 12, "-d": 16}, "6": {"-s": 8, "-d": 24}}
# xt_conntrack_mtinfo3: the compared fields, the inverted ones of them, the states.
_STATE, _DIRECTION, _STATE_DNAT = 0x1, 0x1000, 0x80
_MAP_ADDRESS, _MAP_PORT = 0x1, 0x2  # nf_nat_range2
_MASQUERADE = {"4": struct.pack("=I20x", 1), "6": bytes(40)}  # one range, all zeros


def put_in(family: str, gained: list[Rules]) -> list[bytes] | None:
    """Messages that add these owners' rules in the family. Old rules in the owners' own
    chains are deleted first. None if the tool has to do it."""
    chains: list[bytes] = []
    rules: list[tuple[Chain, str, int]] = []
    for one in gained:
        for chain, texts in one.own.items():
            made = named(1, chain[0]) + named(3, chain[1])
            chains += [_message(_NEWCHAIN, family, made, _CREATE)]
            chains += [_message(_DELRULE, family, _place(chain))]
            rules += [(chain, text, _APPEND) for text in texts]
        for chain, texts in one.shared.items():
            rules += [(chain, text, 0) for text in reversed(texts)]  # to its head
    added = []
    for chain, text, flags in rules:
        about = _rule(family, text)
        if about is None:
            return None
        about = _place(chain) + about
        added.append(_message(_NEWRULE, family, about, _CREATE | flags))
    return chains + added


def _message(kind: int, family: str, about: bytes, flags: int = 0) -> bytes:
    return message(NFT | kind, netfilter(PARTS[family][0], about), flags)


def _place(chain: Chain) -> bytes:
    return named(1, chain[0]) + named(2, chain[1])


@lru_cache(maxsize=512)  # rules of networks and of guests come again and again
def _rule(family: str, text: str) -> bytes | None:
    """The attributes of a rule, from its text; None if the tool has to make the
    rule."""
    found: list[bytes] = []
    at = 0
    while not text.startswith("-j ", at):
        for pattern, make in _MATCHES:
            part = pattern.match(text, at)
            if part:
                found.append(make(family, part))
                at = part.end()
                break
        else:
            return None
    target = _target(family, text[at + len("-j ") :])
    if target is None:
        return None
    about = nested(4, *found, _COUNTER, target)
    protocol = _PROTOCOL.search(text)
    if protocol:  # matches by port need the protocol here
        about += nested(5, _number(1, _PROTOCOLS[protocol[1]]), _NONE)
    return about


def _address(family: str, part: re.Match[str]) -> bytes:
    network = ip_network(part[3])
    packed, mask = network.network_address.packed, network.netmask.packed
    size = len(packed)
    found = _payload(_PLACES[family][part[2]], size)
    if network.prefixlen < network.max_prefixlen:
        sized = _IN, _OUT, _number(3, size)
        found += _expression("bitwise", *sized, _data(4, mask), _data(5, bytes(size)))
    return found + _compare(packed, is_not=bool(part[1]))


def _ports(family: str, part: re.Match[str]) -> bytes:
    first, last = int(part[2]), int(part[3] or part[2])
    ports = struct.pack("=4H8x", 0, _LAST, first, last)  # xt_tcp, and xt_udp
    return _protocol(family, part[1]) + _xtables("match", part[1], 0, ports)


def _many_ports(family: str, part: re.Match[str]) -> bytes:
    """xt_multiport_v1: a range takes two ports, and the first one is marked."""
    ports: list[int] = []
    marks: list[int] = []
    for one in part[2].split(","):
        first, _, last = one.partition(":")
        ports += [int(first), int(last)] if last else [int(first)]
        marks += [1, 0] if last else [0]
    data = struct.pack("=BB15H", 1, len(ports), *ports, *[0] * (15 - len(ports)))
    data += bytes(marks).ljust(16, b"\0")
    return _protocol(family, part[1]) + _xtables("match", "multiport", 1, data)


def _dnats_way(_: str, part: re.Match[str]) -> bytes:
    inverted = _DIRECTION if part[1] == "REPLY" else 0
    what = _STATE | _DIRECTION, inverted, _STATE_DNAT
    return _xtables("match", "conntrack", 3, struct.pack("=146x3H16x", *what))


def _comment(_: str, part: re.Match[str]) -> bytes:
    return _xtables("match", "comment", 0, part[1].encode().ljust(256, b"\0"))


_MATCHES: tuple[tuple[re.Pattern[str], Make], ...] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (r"-p (tcp|udp) -m \1 --dport (\d+)(?::(\d+))? ", _ports),
        (r"(! )?(-[sd]) (\S+) ", _address),
        (r"-p (tcp|udp) -m multiport --dports ([\d:,]+) ", _many_ports),
        (r"-m conntrack --ctstate DNAT --ctdir (ORIGINAL|REPLY) ", _dnats_way),
        (r"-m comment --comment ([\w-]{1,255}) ", _comment),
    )
)


def _target(family: str, text: str) -> bytes | None:
    if text == "MASQUERADE":
        return _xtables("target", text, 0, _MASQUERADE[family])
    word, _, to = text.partition(" --to-destination ")
    if word == "DNAT":
        return _xtables("target", "DNAT", 2, _range(*_destination(to)))
    if text in _VERDICTS:
        return _verdict(_number(1, _VERDICTS[text]))
    if text.startswith("VFW-"):
        return _verdict(_number(1, _JUMP) + named(2, text))
    return None


def _destination(to: str) -> tuple[str, int]:
    """The address and the port; 0 for no port."""
    host, _, port = to.rpartition(":")
    if to.startswith("["):
        return host[1:-1], int(port)
    return (host, int(port)) if host and ":" not in host else (to, 0)


def _range(host: str, port: int) -> bytes:
    """nf_nat_range2: one address, and one port if there is any."""
    packed = _packed(host)
    what = _MAP_ADDRESS | (_MAP_PORT if port else 0)
    ports = struct.pack(">HH", port, port)
    return struct.pack("=I", what) + packed * 2 + ports + bytes(8)


@lru_cache(maxsize=16)
def _packed(address: str) -> bytes:
    return ip_address(address).packed.ljust(16, b"\0")


def _verdict(data: bytes) -> bytes:
    return _expression("immediate", _number(1, 0), nested(2, nested(2, data)))


@cache
def _protocol(family: str, protocol: str) -> bytes:
    number = bytes((_PROTOCOLS[protocol],))
    if family == "4":
        return _payload(9, 1) + _compare(number)
    loaded = _expression("meta", _IN, _number(2, 16))  # l4proto
    return loaded + _compare(number)


def _payload(at: int, size: int) -> bytes:
    """Load a part of the network header."""
    parts = _IN, _OUT, _number(3, at), _number(4, size)
    return _expression("payload", *parts)


def _compare(value: bytes, is_not: bool = False) -> bytes:
    return _expression("cmp", _IN, _number(2, is_not), _data(3, value))


def _xtables(kind: str, name: str, revision: int, data: bytes) -> bytes:
    return _head(kind, name, revision, len(data)) + data


@cache
def _head(kind: str, name: str, revision: int, size: int) -> bytes:
    """The bytes before xtables' data of this size, all lengths included."""
    about = named(1, name), _number(2, revision), attribute(3, bytes(size))
    return _expression(kind, *about)[:-size]


def _expression(name: str, *data: bytes) -> bytes:
    return nested(1, named(1, name), nested(2, *data))


def _data(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))


def _number(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack(">i", number))


_IN, _OUT, _NONE = _number(1, 1), _number(2, 1), _number(2, 0)
_COUNTER = _expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))
_PROTOCOL = re.compile(r"-p (\S+)")
