"""nftables: what goes out of our table together, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from unit.builders import parsed
from unit.netlinks import Link, answer, nla
from vfwhooks.firewall.entry_delta import Delta
from vfwhooks.firewall.nft_elements import encode
from vfwhooks.firewall.nft_names import set_name
from vfwhooks.firewall.nft_netlink import additions, removals
from vfwhooks.firewall.nftables import Nftables
from vfwhooks.host.run import Run

if TYPE_CHECKING:
    from vfwhooks.values.entries import Entry

TO = "192.168.122.10"
PAIRS = range(1000, 4600, 3)
RANGES = parsed(*(f"dnat 4 * tcp {at} {at + 1} {TO} {at}" for at in PAIRS))
SHIFTED = parsed(*(f"dnat 4 * udp {at} {at} {TO} {at + 1}" for at in range(1000, 1010)))
SINGLE = parsed(*(f"dnat 4 * tcp {at} {at} {TO} 80" for at in range(1, 3000)))
(GUARD,) = parsed("guard 4 * udp 1000 1009 allow_0f5c")
REJECTS = parsed(*(f"reject 4 * tcp {at} {at + 1}" for at in PAIRS))


class Table(Link):
    """Our table, which holds these entries in this order; `taken` is every transaction,
    `lists` how many sets were listed."""

    def __init__(self, held: list[Entry]) -> None:
        self.held = held
        self.taken: list[list[bytes]] = []
        self.lists = 0
        super().__init__()

    def dump(self, one: bytes, is_wanted: object = None) -> list[tuple[int, bytes]]:
        self.lists += 1
        some = [e for e in self.held if f"\0{set_name(e)}\0".encode() in one]
        elements = [nla(1, b"".join(encode(entry)[1:])) for entry in some]
        return [(0, answer(nla(3, element))) for element in elements]

    def batch(self, messages: list[bytes]) -> None:
        self.taken.append(messages)


def change(held: list[Entry], old: list[Entry], new: list[Entry]) -> Table:
    """The table, when a guest has had its entries changed."""
    link = Table(held)
    Nftables(link, Run(), {"own": ""}).change([Delta("u", old, new)])
    return link


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (RANGES[:1000], []),
        (SHIFTED, []),
        (SINGLE, []),
    ],
)
def test_what_goes_at_once(old: list[Entry], new: list[Entry]) -> None:
    """Up to 1,000 ranges, and however many single ports; nothing is listed for that."""
    link = change(old, old, new)

    gone = [entry for entry in old if entry not in new]
    assert (link.lists, link.taken) == (0, [removals("own", gone)])


def test_an_edit_is_one_transaction() -> None:
    """However much goes: what comes is there when what it replaces is not any more."""
    link = change(RANGES, RANGES, SHIFTED)

    new = additions("own", [(entry, "u") for entry in SHIFTED])
    assert link.taken == [removals("own", RANGES) + new]


def test_very_many_ranges_that_go() -> None:
    """1,000 a transaction, so that others have their turn, and in the kernel's order,
    which looks for each from its first one on. What forwards goes ahead of what guards
    and rejects, so that nothing is open in between."""
    old = [GUARD, *REJECTS[::-1], *RANGES[::-1], *SHIFTED]
    link = change([*RANGES, GUARD, *REJECTS], old, [])

    gone = [*SHIFTED, *RANGES, GUARD, *REJECTS]
    assert link.taken == [
        removals("own", gone[at : at + 1000]) for at in range(0, len(gone), 1000)
    ]
