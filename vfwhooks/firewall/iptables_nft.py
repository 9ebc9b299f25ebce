"""Tables of iptables' nft variant, read and changed by netlink.

After a delete, iptables-restore waits for two of the kernel's grace periods (30 ms),
and libvirt waits for iptables-restore. Whole owners are deleted here without the tool.
"""

from ..host.netlink import (
    Netlink,
    attribute,
    attributes,
    each,
    find,
    message,
    named,
    netfilter,
    text_of,
)
from ..values.errors import Refused
from .iptables_script import Chain, Rules
from .nft_names import NFT, PARTS
from .nft_netlink import answers, dump

_FEW = 8
_HEAD, _HANDLE = 4, 3  # of a listed rule
_DELTABLE, _GETCHAIN, _DELCHAIN, _GETRULE, _DELRULE = 2, 4, 5, 7, 8


def list_chain_names(link: Netlink, family: str, table: str) -> list[str]:
    """The names of the chains that exist in the table."""
    found = dump(link, _message(_GETCHAIN, family, table))
    return [text_of(chain[3]) for chain in found if text_of(chain[1]) == table]


def list_rules(link: Netlink, family: str, chain: Chain) -> list[bytes]:
    """The chain's rules as the kernel lists them, in order."""
    rules = answers(link, _ask(family, chain))
    return [rule for rule in rules if _is_in(rule, chain)]


def list_handles(link: Netlink, family: str, chain: Chain) -> list[int]:
    """The handles of the chain's rules, in order."""
    rules = list_rules(link, family, chain)
    return [int.from_bytes(find(rule, _HANDLE, _HEAD), "big") for rule in rules]


def delete_rules(link: Netlink, family: str, chain: Chain, rules: list[bytes]) -> None:
    """Delete some of the chain's rules, as the kernel has listed them."""
    table, name = chain
    where = [named(2, name) + attribute(3, find(r, _HANDLE, _HEAD)) for r in rules]
    if where:
        link.batch([_message(_DELRULE, family, table, one) for one in where])


def delete_table(link: Netlink, family: str, table: str) -> None:
    """Delete a table."""
    link.batch([_message(_DELTABLE, family, table)])


def take_out(link: Netlink, gone: list[tuple[str, str, Rules]]) -> None:
    """Delete everything of some owners in one transaction.

    `gone` lists owners, each with a family and its rules in this family. Comments tell
    which rules in shared chains are an owner's. Raises Refused, and changes nothing, if
    the kernel has more or fewer of them; VfwError or OSError if they cannot be listed.
    """
    owners = {owner.encode() + b"\0" for owner, _, _ in gone}
    listed: dict[tuple[str, Chain], dict[bytes, list[bytes]]] = {}
    rules, chains = [], []
    for owner, family, held in gone:
        for chain, texts in held.shared.items():
            table, name = chain
            if (family, chain) not in listed:
                rules_there = answers(link, _ask(family, chain))
                listed[family, chain] = _handles_of(rules_there, chain, owners)
            found = listed[family, chain].get(owner.encode() + b"\0", [])
            if len(found) != len(texts):
                what = f"{len(found)} rules of {owner}, not {len(texts)}"
                raise Refused(f"table {PARTS[family][1]} {table}, {name}: {what}")
            for handle in found:
                which = named(2, name) + attribute(3, handle)
                rules.append(_message(_DELRULE, family, table, which))
        for table, name in held.own:
            rules.append(_message(_DELRULE, family, table, named(2, name)))
            chains.append(_message(_DELCHAIN, family, table, named(3, name)))
    if rules:
        link.batch(rules + chains)


def _message(kind: int, family: str, table: str, more: bytes = b"") -> bytes:
    return message(NFT | kind, netfilter(PARTS[family][0], named(1, table) + more))


def _ask(family: str, chain: Chain) -> bytes:
    """The request for a chain's rules; kernels before 4.5 list all other rules as
    well."""
    table, name = chain
    return _message(_GETRULE, family, table, named(2, name))


def _is_in(rule: bytes, chain: Chain) -> bool:
    return text_of(find(rule, 2, _HEAD)) == chain[1]


def _handles_of(
    listed: list[bytes], chain: Chain, owners: set[bytes]
) -> dict[bytes, list[bytes]]:
    """The handles of these owners' rules. A chain may have thousands of other rules:
    for few owners, a search for bytes sorts them out before any attribute is parsed."""
    found: dict[bytes, list[bytes]] = {}
    are_few = len(owners) <= _FEW
    for rule in listed:
        if are_few and not any(owner in rule for owner in owners):
            continue
        for comment in comments(rule) if _is_in(rule, chain) else ():
            if comment in owners:
                found.setdefault(comment, []).append(find(rule, _HANDLE, _HEAD))
    return found


def comments(rule: bytes) -> set[bytes]:
    """The rule's comments, with their NUL: from a match, or from the rule's user data,
    where other releases of iptables put comments."""
    expressions = each(find(rule, 4, _HEAD))
    found = {_comment(one) for _, one in expressions if b"comment\0" in one}
    data = find(rule, 7, _HEAD)
    if data[:2] == bytes((0, len(data[2:]) & 0xFF)):
        found.add(data[2:])
    return found


def _comment(expression: bytes) -> bytes:
    """The comment, with its NUL, in an expression that is an xtables match; else
    empty."""
    parts = attributes(expression)
    if parts.get(1) != b"match\0":
        return b""
    match = attributes(parts.get(2, b""))
    if match.get(1) != b"comment\0":
        return b""
    return match.get(3, b"").partition(b"\0")[0] + b"\0"
