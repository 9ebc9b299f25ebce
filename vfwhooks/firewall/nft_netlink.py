"""Lists of the tables, chains, sets, rules and elements in nf_tables, by netlink."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from ..host.netlink import (
    Netlink,
    attributes,
    each,
    message,
    named,
    nested,
    netfilter,
    text_of,
)
from ..values.entries import Dnat, Entry
from .nft_elements import comment, decode, encode
from .nft_names import NFT, PARTS, set_name

_GETTABLE, _GETCHAIN, _GETRULE, _GETSET = 1, 4, 7, 10
_NEWELEMENT, _GETELEMENT, _DELELEMENT = 12, 13, 14
_CREATE = 0x400
_CHUNK = 30_000
_PORTION = 1000
_ROUTED = {1: "inet", 2: "ip", 10: "ip6"}
ROUTED = {name: number for number, name in _ROUTED.items()}
_FORWARD = (2).to_bytes(4, "big")
_DORMANT = 1


@dataclass(eq=False)
class Rule:
    """A rule: its chain, its handle, and the chain it jumps to ('' for none)."""

    chain: str
    handle: int
    target: str


@dataclass(eq=False)
class BaseChain:
    """A base chain: its family, table and name, and whether its policy drops forwarded
    packets."""

    family: str
    table: str
    name: str
    drops_forwarded: bool


def list_base_chains(link: Netlink) -> list[BaseChain]:
    """Every base chain on the forward hook, in all tables, for routed packets."""
    found = []
    for family, table, name, about in _hooked(link):
        if attributes(about[4]).get(1) == _FORWARD:
            is_filter = about.get(7) == b"filter\0"
            drops = is_filter and not any(about.get(5, b"\1"))
            found.append(BaseChain(family, table, name, drops))
    return found


def list_nat_chains(link: Netlink) -> list[tuple[str, str, str, int]]:
    """The base chains, in all tables, that may change a destination in prerouting:
    family, table, name and priority, in the order in which the kernel calls them."""
    found = []
    for family, table, name, about in _hooked(link):
        hook = attributes(about[4])
        if about.get(7) == b"nat\0" and not any(hook.get(1, b"\1")):
            priority = int.from_bytes(hook.get(2, b""), "big", signed=True)
            found.append((family, table, name, priority))
    return sorted(found, key=lambda one: one[3])


def _hooked(link: Netlink) -> Iterator[tuple[str, str, str, dict[int, bytes]]]:
    """The base chains for routed packets that the kernel calls: family, table, name and
    attributes. Those of a dormant table it does not call."""
    asleep = set()
    for _, answer in link.dump(message(NFT | _GETTABLE, netfilter(0))):
        about = attributes(answer[4:])
        if about.get(2, b"\0")[-1] & _DORMANT:
            asleep.add((answer[0], about[1]))
    for _, answer in link.dump(message(NFT | _GETCHAIN, netfilter(0))):
        about = attributes(answer[4:])
        family = _ROUTED.get(answer[0])
        if family and 4 in about and (answer[0], about[1]) not in asleep:
            yield family, text_of(about[1]), text_of(about[3]), about


def has_table(link: Netlink, part: str) -> bool:
    """Whether the part's table exists."""
    family, _, table = PARTS[part]
    try:
        link.request(message(NFT | _GETTABLE, netfilter(family, named(1, table))))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def list_chains(link: Netlink, part: str) -> dict[str, int]:
    """The handles of the table's chains by name."""
    return _named(link, part, _GETCHAIN, 3, 2)


def list_sets(link: Netlink, part: str) -> dict[str, int]:
    """The handles of the table's named sets and maps by name."""
    return _named(link, part, _GETSET, 2, 16)


def list_rules(link: Netlink, part: str) -> list[Rule]:
    """The table's rules, chain by chain, in order."""
    family, _, table = PARTS[part]
    found = []
    asked = message(NFT | _GETRULE, netfilter(family, named(1, table)))
    for answer in dump(link, asked):
        if text_of(answer[1]) == table:
            handle = int.from_bytes(answer[3], "big")
            found.append(
                Rule(text_of(answer[2]), handle, jump_target(answer.get(4, b"")))
            )
    return found


def list_entries(
    link: Netlink, part: str, name: str, is_counted: bool = True
) -> dict[Entry, tuple[str, int]]:
    """The entries in one set or map, each with its owner and its connections so far (0
    unless `is_counted`)."""
    family, _, table = PARTS[part]
    payload = named(1, table) + named(2, name)
    known = name if part == "own" else "accept" + part
    found: dict[Entry, tuple[str, int]] = {}
    for answer in dump(link, message(NFT | _GETELEMENT, netfilter(family, payload))):
        for _, element in each(answer.get(3, b"")):
            try:
                entry, owner, connections = decode(known, element, is_counted)
            except ValueError:
                continue  # an element of somebody else, which is no entry
            found[entry] = owner, connections
    return found


def portions(link: Netlink, entries: list[Entry]) -> list[list[Entry]]:
    """The entries of our own table in the order in which to remove them, one list for
    each transaction.

    The kernel takes half a millisecond for each of thousands of ranges, and nobody else
    can change rules meanwhile. It takes longer for a range behind many others. So
    ranges go in portions, in the kernel's own order. DNAT goes ahead of the entries
    that guard it.
    """
    if len(entries) <= _PORTION:
        return [entries]
    names = [name for name in map(set_name, entries) if name.endswith("_range")]
    if len(names) <= _PORTION:
        return [entries]
    listed = (list_entries(link, "own", name) for name in sorted(set(names)))
    places = {e: at for at, e in enumerate(e for some in listed for e in some)}
    sort = sorted(entries, key=lambda e: (not isinstance(e, Dnat), places.get(e, -1)))
    return [sort[at : at + _PORTION] for at in range(0, len(sort), _PORTION)]


def removals(part: str, entries: list[Entry]) -> list[bytes]:
    """Messages that delete the entries."""
    packed = []
    for entry in entries:
        name, keys, _ = encode(entry)
        packed.append((name, nested(1, keys)))
    return _messages(part, _DELELEMENT, 0, packed)


def additions(part: str, entries: list[tuple[Entry, str]]) -> list[bytes]:
    """Messages that add the entries, each with its owner."""
    comments = {owner: comment(owner) for owner in {owner for _, owner in entries}}
    packed = []
    for entry, owner in entries:
        name, keys, value = encode(entry)
        packed.append((name, nested(1, keys, value, comments[owner])))
    return _messages(part, _NEWELEMENT, _CREATE, packed)


def _messages(
    part: str, kind: int, flags: int, packed: list[tuple[str, bytes]]
) -> list[bytes]:
    """One message for each set, or several: an attribute holds 64 KiB at most."""
    family, _, table = PARTS[part]
    chunks: dict[str, list[list[bytes]]] = {}
    sizes: dict[str, int] = {}
    for name, element in packed:
        if sizes.get(name, _CHUNK) + len(element) > _CHUNK:
            chunks.setdefault(name, []).append([])
            sizes[name] = 0
        chunks[name][-1].append(element)
        sizes[name] += len(element)
    return [
        message(
            NFT | kind,
            netfilter(family, named(1, table) + named(2, name) + nested(3, *chunk)),
            flags,
        )
        for name, pieces in chunks.items()
        for chunk in pieces
    ]


def _named(
    link: Netlink, part: str, kind: int, name_at: int, handle_at: int
) -> dict[str, int]:
    family, _, table = PARTS[part]
    found = {}
    for answer in dump(link, message(NFT | kind, netfilter(family, named(1, table)))):
        name = text_of(answer[name_at])
        if text_of(answer[1]) == table and not name.startswith("__"):
            found[name] = int.from_bytes(answer[handle_at], "big")
    return found


def dump(link: Netlink, asked: bytes) -> list[dict[int, bytes]]:
    """The attributes of each answer to a request; empty if the object does not
    exist."""
    return [attributes(answer[4:]) for answer in answers(link, asked)]


def answers(link: Netlink, asked: bytes) -> list[bytes]:
    """The payload of each answer to a request; empty if the object does not exist."""
    try:
        return [answer for _, answer in link.dump(asked)]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return []
        raise


def jump_target(expressions: bytes) -> str:
    """The chain that a rule with these expressions jumps to; '' for none."""
    for _, expression in each(expressions):
        got = attributes(expression)
        if got.get(1) == b"immediate\0":
            data = attributes(attributes(got[2]).get(2, b""))
            return text_of(attributes(data.get(2, b"")).get(2, b""))
    return ""
