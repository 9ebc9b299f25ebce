"""Entries as elements of our nf_tables sets and maps, and back. Pure.

A range is one element and keeps its numbers. nft_names has the names of sets and maps.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address, ip_network

from ..host.netlink import attribute, attributes, each, named, nested, text_of
from ..values.entries import (
    PUBLISHING,
    Accept,
    Dnat,
    Entry,
    Exempt,
    HairpinSubnet,
    InsideSubnet,
    LoopbackBridge,
    Masquerade,
    Publishing,
    Reject,
    ReturnMark,
    Snat,
    SourceRanges,
)
from ..values.protocols import PROTOCOL_NUMBERS, Protocol
from ..values.published import (
    FIRST,
    LAST,
    Address,
    Family,
    Published,
    Subnet,
    parse_address,
)
from .nft_names import set_name

_PROTOCOLS = {PROTOCOL_NUMBERS[one]: one for one in Protocol if one is not Protocol.ALL}
_SIZES = {Family.IPV4: 4, Family.IPV6: 16}
_CACHED = 4096  # addresses: many elements have the same ones
_PUBLISHED = {"dnat", "guard", "reject", "masq", "back", "backany", "left"}
_KINDS = {"all": "all", "any": "any", "any_range": "any"}
_PORT = struct.Struct(">Hxx")
_SERVICE = struct.Struct(">BxxxHxx")
_KEY, _DATA, _USERDATA, _EXPRESSION, _KEY_END = 1, 2, 6, 7, 10
_VALUE, _VERDICT = 1, 2
_HEAD = 4  # of the one attribute inside a key or a value
_JUMP = struct.pack(">i", -3)
_COMMENT = 0
_NAME = 16  # an interface's name in the kernel, NULs included


def encode(entry: Entry) -> tuple[str, bytes, bytes]:
    """The name of the entry's set or map, the attributes of the key, and the attributes
    of the value (empty for a set)."""
    return set_name(entry), *_encode(entry)


def _encode(entry: Entry) -> tuple[bytes, bytes]:
    if isinstance(entry, PUBLISHING):
        return _encode_published(entry)
    if isinstance(entry, Accept):
        return _keys(entry.address.packed), b""
    if isinstance(entry, LoopbackBridge):
        return _keys(_device(entry.bridge)), b""
    if isinstance(entry, Snat):
        return _keys(entry.source.packed), _one(_DATA, entry.to.packed)
    if isinstance(entry, (HairpinSubnet, InsideSubnet)):
        low = entry.subnet.network_address.packed
        high = entry.subnet.broadcast_address.packed
        if isinstance(entry, HairpinSubnet):
            return _keys(low * 2, high * 2), b""
        return _keys(low + bytes(4), high + b"\xff\0\0\0"), b""
    raise TypeError(f"{entry!r} is in no set")


def _encode_published(entry: Publishing) -> tuple[bytes, bytes]:
    published = entry.published
    prefix = published.host.packed if published.host else b""
    if isinstance(entry, ReturnMark):
        prefix = _device(entry.uplink) + prefix
    if published.is_one_to_one:
        return _keys(prefix), _encode_value(entry)
    protocol = PROTOCOL_NUMBERS[published.protocol]
    low = prefix + _SERVICE.pack(protocol, published.first)
    if published.is_range:
        high = prefix + _SERVICE.pack(protocol, published.last)
        return _keys(low, high), _encode_value(entry)
    return _keys(low), _encode_value(entry)


def _encode_value(entry: Publishing) -> bytes:
    if isinstance(entry, Dnat):
        target = entry.address.packed
        if not entry.published.is_range:
            target += _PORT.pack(entry.port)
        return _one(_DATA, target)
    if isinstance(entry, SourceRanges):
        return _jump(entry.chain)
    return _jump(f"back_{entry.value}") if isinstance(entry, ReturnMark) else b""


def _jump(chain: str) -> bytes:
    verdict = nested(_VERDICT, attribute(1, _JUMP), named(2, chain))
    return nested(_DATA, verdict)


def comment(owner: str) -> bytes:
    """The attribute that names an element's owner."""
    data = owner.encode()
    return attribute(_USERDATA, bytes((_COMMENT, len(data) + 1)) + data + b"\0")


def decode(name: str, data: bytes, is_counted: bool = True) -> tuple[Entry, str, int]:
    """The entry, its owner, and its connections so far (0 unless `is_counted`).

    `name` is the set's (for libvirt's tables: accept4, accept6), `data` the element's
    attributes as the kernel lists them. Raises ValueError for an element that is no
    entry.
    """
    found = attributes(data)
    owner = text_of(found.get(_USERDATA, b"")[2:])
    key = found[_KEY][_HEAD:]
    end = found[_KEY_END][_HEAD:] if _KEY_END in found else key
    value = found.get(_DATA, b"")
    verb, family, kind = _kind(name)
    count = _packets(found) if is_counted and (kind or verb == "snat") else 0
    if not kind:
        return _unpublished(verb, _SIZES[family], key, end, value), owner, count
    uplink = ""
    if verb in ("back", "backany"):
        uplink, key, end = text_of(key[:_NAME]), key[_NAME:], end[_NAME:]
    at = 0 if kind == "any" else _SIZES[family]
    host = _address(key[:at]) if at else None
    if kind == "all":
        published = Published(family, host, Protocol.ALL, FIRST, LAST)
    else:
        protocol = _PROTOCOLS.get(key[at])
        if protocol is None:
            raise ValueError(f"protocol {key[at]} is none of ours")
        (first,), (last,) = (_PORT.unpack_from(one, at + 4) for one in (key, end))
        published = Published(family, host, protocol, first, last)
    return _published(verb, published, value, uplink), owner, count


@lru_cache(_CACHED)
def _kind(name: str) -> tuple[str, Family, str]:
    """A set's verb, its family, and where its elements are published: "any" (every
    address), "one" (one address) or "all" (one whole address); "" for a set that
    publishes nothing."""
    head, _, rest = name.partition("_")
    verb, family = head[:-1], Family(head[-1])
    if verb not in _PUBLISHED:
        return verb, family, ""
    return verb, family, _KINDS.get(rest, "one")


def _unpublished(verb: str, size: int, key: bytes, end: bytes, value: bytes) -> Entry:
    if verb == "accept":
        return Accept(_address(key))
    if verb == "localnet":
        return LoopbackBridge(text_of(key))
    if verb == "snat":
        return Snat(_address(key), _address(value[_HEAD:]))
    subnet = _subnet(key[:size], end[:size])
    return HairpinSubnet(subnet) if verb == "hairpin" else InsideSubnet(subnet)


def _published(verb: str, published: Published, value: bytes, uplink: str) -> Entry:
    if verb == "dnat":
        size, packed = _SIZES[published.family], value[_HEAD:]
        port = 0 if published.is_one_to_one else published.first
        if len(packed) > size:
            port = _PORT.unpack_from(packed, size)[0]
        return Dnat(published, _address(packed[:size]), port)
    if verb == "guard":
        return SourceRanges(published, _chain(value))
    if uplink:
        mark = int(_chain(value).partition("_")[2])
        return ReturnMark(published, uplink, mark, verb == "backany")
    if verb == "reject":
        return Reject(published)
    return Masquerade(published) if verb == "masq" else Exempt(published)


def _device(name: str) -> bytes:
    return name.encode().ljust(_NAME, b"\0")


def _keys(low: bytes, high: bytes = b"") -> bytes:
    return _one(_KEY, low) + _one(_KEY_END, high) if high else _one(_KEY, low)


def _one(kind: int, value: bytes) -> bytes:
    """An attribute that holds one value of whole 32-bit words."""
    return _head(kind, len(value)) + value


@lru_cache(_CACHED)
def _head(kind: int, size: int) -> bytes:
    return nested(kind, attribute(_VALUE, bytes(size)))[:-size]


@lru_cache(_CACHED)
def _address(packed: bytes) -> Address:
    return parse_address(str(ip_address(packed)))  # the same object for one address


def _subnet(low: bytes, high: bytes) -> Subnet:
    host = int.from_bytes(low, "big") ^ int.from_bytes(high, "big")
    return ip_network((low, len(low) * 8 - host.bit_length()))


def _chain(value: bytes) -> str:
    return text_of(attributes(attributes(value)[_VERDICT]).get(2, b""))


def _packets(found: dict[int, bytes]) -> int:
    for kind, value in each(found.get(_EXPRESSION, b"")):
        if kind == 2:
            return int.from_bytes(attributes(value).get(2, b""), "big")
    return 0
