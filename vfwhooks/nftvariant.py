"""The tables of iptables' nft variant, by netlink: what is in them, and out again.

iptables-restore waits for two of the kernel's grace periods when it has deleted
anything, and libvirt waits for it: 30 ms. What goes altogether needs no tool.
"""

from .errors import Refused
from .netlink import Netlink, attribute, attributes, each, message, named, netfilter
from .nfnetlink import PARTS, dump, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .iprules import Chain, Rules

_NFT = 10 << 8
_DELTABLE, _GETCHAIN, _DELCHAIN, _GETRULE, _DELRULE = 2, 4, 5, 7, 8


def list_chain_names(link: Netlink, family: str, table: str) -> list[str]:
    """The chains that have been made in the table so far."""
    answers = dump(link, _message(_GETCHAIN, family, table))
    return [text_of(answer[3]) for answer in answers if text_of(answer[1]) == table]


def list_handles(link: Netlink, family: str, chain: "Chain") -> list[int]:
    """The handles of the chain's rules, in their order."""
    return [int.from_bytes(rule[3], "big") for rule in _rules(link, family, chain)]


def delete_table(link: Netlink, family: str, table: str) -> None:
    """Delete a table."""
    link.batch([_message(_DELTABLE, family, table)])


def take_out(link: Netlink, gone: "list[tuple[str, str, Rules]]") -> None:
    """Take out, in one transaction, all that owners have.

    `gone` has each owner with a family and its rules there. Those among others' rules
    are known by their comments. Raises Refused, and changes nothing, unless there are
    just as many as there should be; VfwError or OSError where they cannot be listed.
    """
    listed: dict[tuple[str, Chain], list[dict[int, bytes]]] = {}
    rules, chains = [], []
    for owner, family, held in gone:
        for chain, texts in held.shared.items():
            table, name = chain
            if (family, chain) not in listed:
                listed[family, chain] = _rules(link, family, chain)
            found = [one for one in listed[family, chain] if _is_owners(one, owner)]
            if len(found) != len(texts):
                what = f"{len(found)} rules of {owner}, not {len(texts)}"
                raise Refused(f"table {PARTS[family][1]} {table}, {name}: {what}")
            for rule in found:
                which = named(2, name) + attribute(3, rule[3])
                rules.append(_message(_DELRULE, family, table, which))
        for table, name in held.own:
            rules.append(_message(_DELRULE, family, table, named(2, name)))
            chains.append(_message(_DELCHAIN, family, table, named(3, name)))
    if rules:
        link.batch(rules + chains)


def _message(kind: int, family: str, table: str, more: bytes = b"") -> bytes:
    return message(_NFT | kind, netfilter(PARTS[family][0], named(1, table) + more))


def _rules(link: Netlink, family: str, chain: "Chain") -> list[dict[int, bytes]]:
    """The rules of a chain, which kernels before 4.5 list with all others."""
    table, name = chain
    answers = dump(link, _message(_GETRULE, family, table, named(2, name)))
    return [answer for answer in answers if text_of(answer[2]) == name]


def _is_owners(rule: dict[int, bytes], owner: str) -> bool:
    """Whether the rule's comment is the owner: it is one of its matches, or, from other
    releases of iptables, data beside them."""
    name = owner.encode() + b"\0"
    userdata, expressions = rule.get(7, b""), rule.get(4, b"")
    if userdata == bytes((0, len(name))) + name:
        return True
    return name in expressions and any(
        _comment(expression).startswith(name) for _, expression in each(expressions)
    )


def _comment(expression: bytes) -> bytes:
    """What the expression, a match of xtables', comments, NUL behind it; or nothing."""
    parts = attributes(expression)
    if parts.get(1) != b"match\0":
        return b""
    match = attributes(parts.get(2, b""))
    return match.get(3, b"") if match.get(1) == b"comment\0" else b""
