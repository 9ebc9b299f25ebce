"""Entries as elements of our nf_tables sets and maps, and back. Talks to nobody.

An entry is one text line, the same on disk, in a diff and here:

    dnat 4 * tcp 8080 8080 192.168.122.10 80      published first and last, target
    dnat 4 203.0.113.5 udp 5000 5010 192.168.122.10 5000
    dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0      a whole address, all protocols
    guard 4 * tcp 8443 8443 allow_0f5c            that chain decides on the source
    reject 4 * tcp 8443 8443                      what is left for the host is rejected
    masq 4 * tcp 8080 8080                        its connections are masqueraded
    back 4 203.0.113.5 tcp 80 80 eth1 1           what comes in by eth1 gets mark 1
    backany 4 203.0.113.5 tcp 80 80 eth1 1        so, where no port on that address is
    left 4 192.168.122.1 udp 53 53                this address and port stay the host's
    snat 4 192.168.122.10 203.0.113.7             leaves from that address
    hairpin 4 192.168.122.0/24                    masquerade within this subnet
    inside 4 192.168.122.0/24                     who connects there keeps his address
    localnet 4 virbr0                             there the host's loopback is forwarded
    accept 4 192.168.122.10                       let in by libvirt's own table

(and, in no set: way 4 virbr0 100 1 eth1, see waysback)

An address `*` is every local address. A range is one element and keeps its numbers.
The set that holds an entry is named by its verb, family, `_any` and `_range`, `_all`.
"""

import struct
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from .netlink import attribute, attributes, each, named, nested

WHOLE = "all"  # in place of a protocol: all of them, and all of their ports
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NAMES = {number: name for name, number in PROTOCOLS.items()}
_FAMILIES = {"4": (AF_INET, 4), "6": (AF_INET6, 16)}
_PORT = struct.Struct(">Hxx")
_SERVICE = struct.Struct(">BxxxHxx")
_KEY, _DATA, _USERDATA, _EXPRESSION, _KEY_END = 1, 2, 6, 7, 10
_VALUE, _VERDICT = 1, 2
_JUMP = struct.pack(">i", -3)
_COMMENT = 0
# Ours of the bits of a connection's mark: four that stand for a way back, which are in
# a packet's mark too, and one for what is masqueraded (docs/design-notes.md).
RETURN_BITS, MASQUERADE_BIT = 0x0F000000, 0x10000000
MARKS = range(1, 16)
_RETURN_SHIFT = 24
_NAME = 16  # an interface's name in the kernel, NULs included
_MARKED = "back", "backany"  # their keys begin with an interface


def return_mark(value: int) -> int:
    """The mark, of our bits, with this value for a way back."""
    return value << _RETURN_SHIFT


def set_name(line: str) -> str:
    """The set or map that holds the entry."""
    return _set_name(*line.split(" "))


def _set_name(verb: str, family: str, host: str, *rest: str) -> str:
    if verb == "accept":
        return "vfwhooks"
    name = verb + family
    if rest and rest[0] == WHOLE:
        return name + "_all"
    if host == "*":
        name += "_any"
    if verb != "left" and len(rest) > 2 and rest[1] != rest[2]:
        name += "_range"
    return name


def encode(line: str) -> tuple[str, bytes, bytes]:
    """The set or map that holds the entry, its key attributes, and those of its value
    (empty in a set)."""
    words = line.split(" ")
    return _set_name(*words), *_encode(*words)


def _encode(verb: str, family: str, host: str, *rest: str) -> tuple[bytes, bytes]:
    number, _ = _FAMILIES[family]
    if verb == "accept":
        return _keys(inet_pton(number, host), b""), b""
    if verb == "localnet":
        return _keys(_device(host), b""), b""
    if verb in ("hairpin", "inside"):
        low, high = _bounds(number, host)
        if verb == "hairpin":
            return _keys(low * 2, high * 2), b""
        return _keys(low + bytes(4), high + b"\xff\0\0\0"), b""
    if verb == "snat":
        source = nested(_DATA, attribute(_VALUE, inet_pton(number, rest[0])))
        return _keys(inet_pton(number, host), b""), source
    protocol, first, last, *value = rest
    if protocol == WHOLE:
        key = inet_pton(number, host)
        key = _device(value[0]) + key if verb in _MARKED else key
        return _keys(key, b""), _encoded(verb, number, value, True)
    is_range = first != last
    prefix = b"" if host == "*" else inet_pton(number, host)
    if verb in _MARKED:
        prefix = _device(value[0]) + prefix
    low = prefix + _SERVICE.pack(PROTOCOLS[protocol], int(first))
    high = prefix + _SERVICE.pack(PROTOCOLS[protocol], int(last)) if is_range else b""
    return _keys(low, high), _encoded(verb, number, value, is_range)


def _encoded(verb: str, number: int, value: list[str], keeps_port: bool) -> bytes:
    if verb == "dnat":
        target = inet_pton(number, value[0])
        if not keeps_port:
            target += _PORT.pack(int(value[1]))
        return nested(_DATA, attribute(_VALUE, target))
    if verb == "guard" or verb in _MARKED:
        chain = value[0] if verb == "guard" else f"back_{value[1]}"
        verdict = nested(_VERDICT, attribute(1, _JUMP), named(2, chain))
        return nested(_DATA, verdict)
    return b""


def comment(owner: str) -> bytes:
    """The attribute that marks an element as its owner's."""
    data = owner.encode()
    return attribute(_USERDATA, bytes((_COMMENT, len(data) + 1)) + data + b"\0")


def decode(name: str, data: bytes) -> tuple[str, str, int]:
    """The entry, its owner, and how many connections it has had.

    `name` is the set's (for libvirt's tables: accept4, accept6), `data` the element's
    attributes as the kernel lists them.
    """
    found = attributes(data)
    owner = found.get(_USERDATA, b"")[2:].rstrip(b"\0").decode("utf-8", "replace")
    key = attributes(found[_KEY])[_VALUE]
    end = attributes(found[_KEY_END])[_VALUE] if _KEY_END in found else key
    verb, family = name.split("_")[0][:-1], name.split("_")[0][-1]
    number, size = _FAMILIES[family]
    if verb == "accept":
        return f"accept {family} {inet_ntop(number, key)}", owner, 0
    if verb == "localnet":
        return f"localnet {family} {_name(key)}", owner, 0
    if verb in ("hairpin", "inside"):
        return f"{verb} {family} {_prefix(number, key[:size], end[:size])}", owner, 0
    if verb == "snat":
        source = inet_ntop(number, attributes(found[_DATA])[_VALUE])
        return (
            f"snat {family} {inet_ntop(number, key)} {source}",
            owner,
            _packets(found),
        )
    uplink = ""
    if verb in _MARKED:
        uplink, key, end = f" {_name(key[:_NAME])}", key[_NAME:], end[_NAME:]
    if name.endswith("_all"):
        line = f"{verb} {family} {inet_ntop(number, key)} {WHOLE} 0 65535{uplink}"
        if verb not in ("reject", "masq"):
            line += _value(attributes(found[_DATA]), number, size, 0)
        return line, owner, _packets(found)
    host = "*"
    if "_any" not in name:
        host, key, end = inet_ntop(number, key[:size]), key[size:], end[size:]
    first, last = _PORT.unpack(key[4:])[0], _PORT.unpack(end[4:])[0]
    line = f"{verb} {family} {host} {_NAMES.get(key[0], key[0])} {first} {last}{uplink}"
    if verb in ("dnat", "guard", *_MARKED):
        line += _value(attributes(found[_DATA]), number, size, first)
    return line, owner, _packets(found)


def _device(name: str) -> bytes:
    return name.encode().ljust(_NAME, b"\0")


def _keys(low: bytes, high: bytes) -> bytes:
    keys = nested(_KEY, attribute(_VALUE, low))
    return keys + nested(_KEY_END, attribute(_VALUE, high)) if high else keys


def _bounds(number: int, prefix: str) -> tuple[bytes, bytes]:
    address, _, length = prefix.partition("/")
    low = inet_pton(number, address)
    host = (1 << (len(low) * 8 - int(length))) - 1
    return low, (int.from_bytes(low, "big") | host).to_bytes(len(low), "big")


def _prefix(number: int, low: bytes, high: bytes) -> str:
    host = int.from_bytes(low, "big") ^ int.from_bytes(high, "big")
    return f"{inet_ntop(number, low)}/{len(low) * 8 - host.bit_length()}"


def _value(data: dict[int, bytes], number: int, size: int, first: int) -> str:
    if _VERDICT in data:
        chain = attributes(data[_VERDICT]).get(2, b"")
        name = chain.rstrip(b"\0").decode("ascii", "replace")
        return " " + (name[5:] if name.startswith("back_") else name)
    value = data[_VALUE]
    port = _PORT.unpack(value[size:])[0] if len(value) > size else first
    return f" {inet_ntop(number, value[:size])} {port}"


def _name(device: bytes) -> str:
    return device.rstrip(b"\0").decode("utf-8", "replace")


def _packets(found: dict[int, bytes]) -> int:
    for kind, value in each(found.get(_EXPRESSION, b"")):
        if kind == 2:
            return int.from_bytes(attributes(value).get(2, b""), "big")
    return 0
