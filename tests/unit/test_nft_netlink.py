"""nft_netlink: what is asked of nf_tables, and what its answers mean."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import OTHER_UUID, PROPERTY, UUID, parsed
from unit.netlinks import Link, answer, handle, nla, request, text
from vfwhooks.firewall.nft_netlink import (
    additions,
    has_table,
    list_base_chains,
    list_chains,
    list_entries,
    list_nat_chains,
    list_rules,
    list_sets,
    removals,
)
from vfwhooks.host.netlink import split

(WEB,) = parsed("dnat 4 * tcp 80 80 192.168.122.10 8080")
(SSH,) = parsed("dnat 4 * tcp 22 22 192.168.122.10 22")
(ACCEPT,) = parsed("accept 4 192.168.122.10")
HEAD = 16 + 4 + 16 + 16 + 4  # headers, both names, and the list's own


@pytest.mark.parametrize(
    ("part", "family", "table"),
    [("own", 1, "vfwhooks"), ("4", 2, "libvirt_network"), ("6", 10, "libvirt_network")],
)
def test_a_table_that_is_there(part: str, family: int, table: str) -> None:
    """It is asked for by family and name."""
    link = Link()

    found = has_table(link, part)

    asked = request(1, answer(text(1, table), family=family))
    assert (found, link.asked) == (True, [asked])


def test_a_table_that_is_not_there() -> None:
    """ENOENT is an answer."""
    found = has_table(Link(error=errno.ENOENT), "own")

    assert found is False


def test_a_kernel_that_does_not_say() -> None:
    """Any other error is one."""
    with pytest.raises(PermissionError):
        has_table(Link(error=errno.EPERM), "own")


def test_chains() -> None:
    """Names and handles, of our table alone."""
    link = Link(
        answer(text(1, "vfwhooks"), handle(2, 7), text(3, "prerouting")),
        answer(text(1, "vfwhooks"), handle(2, 8), text(3, "output")),
        answer(text(1, "other"), handle(2, 9), text(3, "input")),
    )

    found = list_chains(link, "own")

    asked = request(4, answer(text(1, "vfwhooks")))
    assert (found, link.asked) == ({"prerouting": 7, "output": 8}, [asked])


class Tables(Link):
    """A kernel with tables (family, name, flags), each with two base chains."""

    def __init__(self, *tables: tuple[int, str, int]) -> None:
        super().__init__()
        self._tables = tables

    def dump(
        self, one: bytes, is_wanted: Callable[[bytes], bool] | None = None
    ) -> list[tuple[int, bytes]]:
        if one == request(1, answer(family=0)):
            return [
                (0, answer(text(1, name), word(2, flags), family=family))
                for family, name, flags in self._tables
            ]
        return [
            (0, self._chain(family, name, kind, hook))
            for family, name, _ in self._tables
            for kind, hook in (("filter", 2), ("nat", 0))
        ]

    @staticmethod
    def _chain(family: int, table: str, kind: str, hook: int) -> bytes:
        place = nla(0x8004, word(1, hook), word(2, 0))
        about = text(1, table), text(3, kind), place, word(5, 0), text(7, kind)
        return answer(*about, family=family)


def word(kind: int, number: int) -> bytes:
    """An attribute of four bytes."""
    return nla(kind, struct.pack(">I", number))


def test_base_chains_of_a_dormant_table() -> None:
    """They are none: no packet gets there."""
    link = Tables((2, "asleep", 1), (2, "awake", 0), (10, "asleep", 2))

    found = (
        [(one.family, one.table, one.name) for one in list_base_chains(link)],
        list_nat_chains(link),
    )

    assert found == (
        [("ip", "awake", "filter"), ("ip6", "asleep", "filter")],
        [("ip", "awake", "nat", 0), ("ip6", "asleep", "nat", 0)],
    )


def test_sets() -> None:
    """Names and handles; a rule's own anonymous sets are none of ours."""
    link = Link(
        answer(text(1, "vfwhooks"), text(2, "dnat4"), handle(16, 3)),
        answer(text(1, "vfwhooks"), text(2, "__set0"), handle(16, 4)),
        answer(text(1, "vfwhooks"), text(2, "_mine"), handle(16, 5)),
    )

    found = list_sets(link, "own")

    asked = request(10, answer(text(1, "vfwhooks")))
    assert (found, link.asked) == ({"dnat4": 3, "_mine": 5}, [asked])


@pytest.mark.parametrize("listing", [list_chains, list_sets, list_rules])
def test_lists_of_a_table_that_is_not_there(listing: object) -> None:
    """They are empty."""
    assert callable(listing)

    found = listing(Link(error=errno.ENOENT), "own")

    assert len(found) == 0


@pytest.mark.parametrize("listing", [list_chains, list_sets, list_rules])
def test_lists_that_the_kernel_refuses(listing: object) -> None:
    """Any other error is one."""
    assert callable(listing)

    with pytest.raises(PermissionError):
        listing(Link(error=errno.EPERM), "own")


def expression(name: str, *data: bytes) -> bytes:
    """NFTA_LIST_ELEM with one expression."""
    return nla(0x8001, text(1, name), nla(0x8002, *data))


def jump(chain: str) -> bytes:
    """`jump CHAIN`, as an immediate expression."""
    verdict = nla(0x8002, nla(1, struct.pack(">i", -3)), text(2, chain))
    return expression("immediate", nla(1, struct.pack(">I", 0)), nla(0x8002, verdict))


def accept() -> bytes:
    """`accept`, as an immediate expression."""
    verdict = nla(0x8002, nla(1, struct.pack(">i", 1)))
    return expression("immediate", nla(1, struct.pack(">I", 0)), nla(0x8002, verdict))


def test_rules() -> None:
    """Chain, handle and where each jumps to, in the kernel's order."""
    table = text(1, "libvirt_network")
    counter = expression("counter", nla(1, bytes(8)), nla(2, bytes(8)))
    link = Link(
        answer(
            table, text(2, "forward"), handle(3, 9), nla(4, counter, jump("vfwhooks"))
        ),
        answer(table, text(2, "forward"), handle(3, 4), nla(4, accept())),
        answer(table, text(2, "vfwhooks"), handle(3, 5)),
        answer(text(1, "filter"), text(2, "forward"), handle(3, 1), nla(4, jump("x"))),
    )

    rules = list_rules(link, "4")

    found = [(rule.chain, rule.handle, rule.target) for rule in rules]
    asked = request(7, answer(text(1, "libvirt_network"), family=2))
    assert (found, link.asked) == (
        [("forward", 9, "vfwhooks"), ("forward", 4, ""), ("vfwhooks", 5, "")],
        [asked],
    )


def element(*parts: bytes) -> bytes:
    """NFTA_LIST_ELEM with one element."""
    return nla(0x8001, *parts)


def owner(uuid: str) -> bytes:
    """NFTA_SET_ELEM_USERDATA with a comment."""
    return nla(6, b"\0" + bytes((len(uuid) + 1,)) + uuid.encode() + b"\0")


def key(value: str) -> bytes:
    """NFTA_SET_ELEM_KEY in hex."""
    return nla(0x8001, nla(1, bytes.fromhex(value)))


def test_entries() -> None:
    """Every element of every answer, its owner and its connections."""
    web = (
        key("06000000 00500000"),
        nla(0x8002, nla(1, bytes.fromhex("c0a87a0a1f900000"))),
    )
    ssh = (
        key("06000000 00160000"),
        nla(0x8002, nla(1, bytes.fromhex("c0a87a0a00160000"))),
    )
    counter = nla(0x8002, nla(1, struct.pack(">Q", 99)), nla(2, struct.pack(">Q", 5)))
    link = Link(
        answer(
            nla(
                0x8003,
                element(*web, owner(UUID), nla(0x8007, text(1, "counter"), counter)),
            )
        ),
        answer(nla(0x8003, element(*ssh, owner(OTHER_UUID)))),
        answer(),
    )

    found = list_entries(link, "own", "dnat4_any")

    asked = request(13, answer(text(1, "vfwhooks"), text(2, "dnat4_any")))
    assert (found, link.asked) == ({WEB: (UUID, 5), SSH: (OTHER_UUID, 0)}, [asked])


@pytest.mark.parametrize(
    ("part", "family", "value", "entry"),
    [
        ("4", 2, "c0a87a0a", "accept 4 192.168.122.10"),
        ("6", 10, "fd00000000000000000000000000000a", "accept 6 fd00::a"),
    ],
)
def test_entries_in_libvirts_tables(
    part: str, family: int, value: str, entry: str
) -> None:
    """The set of guest addresses is of one family in each."""
    link = Link(answer(nla(0x8003, element(key(value), owner(UUID)))))

    found = list_entries(link, part, "vfwhooks")

    names = text(1, "libvirt_network"), text(2, "vfwhooks")
    asked = request(13, answer(*names, family=family))
    (one,) = parsed(entry)
    assert (found, link.asked) == ({one: (UUID, 0)}, [asked])


def test_additions() -> None:
    """One message a set, NLM_F_CREATE, each element with its owner's comment."""
    messages = additions("own", [(WEB, UUID), (SSH, UUID)])

    web = (
        key("06000000 00500000"),
        nla(0x8002, nla(1, bytes.fromhex("c0a87a0a1f900000"))),
    )
    ssh = (
        key("06000000 00160000"),
        nla(0x8002, nla(1, bytes.fromhex("c0a87a0a00160000"))),
    )
    elements = element(*web, owner(UUID)), element(*ssh, owner(UUID))
    payload = answer(text(1, "vfwhooks"), text(2, "dnat4_any"), nla(0x8003, *elements))
    assert messages == [request(12, payload, 0x400)]


def test_removals() -> None:
    """By key alone: where it leads and whose it is does not matter."""
    messages = removals("own", [WEB])

    elements = nla(0x8003, element(key("06000000 00500000")))
    payload = answer(text(1, "vfwhooks"), text(2, "dnat4_any"), elements)
    assert messages == [request(14, payload)]


def test_a_message_for_each_set() -> None:
    """In the order in which the sets are first needed."""
    reject, hairpin = parsed("reject 4 * tcp 80 80", "hairpin 4 10.0.0.0/8")
    entries = [WEB, reject, SSH, hairpin]

    found = [split(one)[0][4] for one in removals("own", entries)]

    names = [payload[24:].split(b"\0")[0] for payload in found]
    assert names == [b"dnat4_any", b"reject4_any", b"hairpin4"]


def test_messages_to_libvirts_tables() -> None:
    """The family is in the message, as for every part."""
    (found,) = removals("4", [ACCEPT])

    names = text(1, "libvirt_network"), text(2, "vfwhooks")
    elements = nla(0x8003, element(key("c0a87a0a")))
    assert found == request(14, answer(*names, elements, family=2))


def test_nothing_to_do_is_no_message() -> None:
    """No entries, no messages."""
    assert (additions("own", []), removals("own", [])) == ([], [])


@PROPERTY
@given(st.integers(0, 3000))
def test_no_attribute_is_larger_than_it_can_say(count: int) -> None:
    """An attribute holds 64 KiB: a large change is several messages, none empty."""
    ports = range(1, count + 1)
    entries = parsed(*(f"dnat 4 * tcp {port} {port} 10.0.0.1 1" for port in ports))

    messages = additions("own", [(entry, UUID) for entry in entries])

    sizes = [len(one) for one in messages]
    lone = len(additions("own", [(WEB, UUID)])[0])
    assert all(size < 1 << 15 for size in sizes)
    assert sum(sizes) - len(sizes) * HEAD == count * (lone - HEAD)
