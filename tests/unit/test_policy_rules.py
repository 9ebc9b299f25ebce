"""policy_rules: which rules are ours, and where they belong. The kernel is made up; the
real one: tests/e2e/test_return_path.py."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from unit.netlinks import nla, text
from vfwhooks.host.netlink import Netlink
from vfwhooks.host.policy_rules import PolicyRule, PolicyRules

NEW, DELETE = 32, 33
OTHERS = 7  # whose protocol number is another
Held = tuple[int, int, str, int, int, int]


def held(
    priority: int, table: int, by: str = "", mark: int = 0, protocol: int = 86
) -> Held:
    """A rule of IPv4's, as the kernel has it."""
    mask = 0xF000000 if mark else 0
    return priority, table, by, mark, mask, protocol


LOCAL, MAIN = held(0, 255, protocol=2), held(32766, 254, protocol=2)
OURS = held(32765, 100, "virbr0", 0x1000000)


class Kernel(Netlink):
    """rtnetlink with rules, of IPv4 alone; `done` is what it was told, and `refused`
    the errno of what it does not do."""

    def __init__(self, *rules: Held, refused: int = 0) -> None:
        self.rules = list(rules)
        self.done: list[tuple[str, Held]] = []
        self.refused = refused

    def connect(self, _: int) -> Netlink:
        """A socket to it."""
        return self

    def close(self) -> None:
        """Nothing to close."""

    def dump(self, one: bytes, is_wanted: object = None) -> list[tuple[int, bytes]]:
        if one[16] != 2:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return [(NEW, bytes(12) + attributes_of(rule)) for rule in self.rules]

    def request(self, one: bytes) -> None:
        kind = struct.unpack_from("=H", one, 4)[0]
        found = {}
        at = 28
        while at < len(one):
            size, number = struct.unpack_from("=HH", one, at)
            found[number] = one[at + 4 : at + size]
            at += size + -size % 4
        numbers = {k: int.from_bytes(v, "little") for k, v in found.items()}
        by = found[3].rstrip(b"\0").decode()
        rule = numbers[6], numbers[15], by, numbers[10], numbers[16], numbers[21]
        self.done.append(("add" if kind == NEW else "delete", rule))
        if self.refused:
            raise OSError(self.refused, os.strerror(self.refused))


def attributes_of(rule: Held) -> bytes:
    """As the kernel lists it."""
    priority, table, by, mark, mask, protocol = rule
    numbers = {6: priority, 15: table, **({10: mark, 16: mask} if mark else {})}
    about = b"".join(nla(kind, struct.pack("=I", n)) for kind, n in numbers.items())
    return about + nla(21, bytes((protocol,))) + (text(3, by) if by else b"")


def wanted(table: int = 100, value: int = 1) -> PolicyRule:
    """One that is to be there."""
    return PolicyRule("4", "virbr0", table, value)


@pytest.mark.parametrize(
    ("rules", "done"),
    [
        ([MAIN], [("add", OURS)]),
        ([OURS, MAIN], []),
        (
            [held(32764, 100), OURS, MAIN],
            [("add", held(32763, 100, "virbr0", 0x1000000)), ("delete", OURS)],
        ),
        (
            [held(100, 100, "virbr0", 0x1000000), MAIN],
            [("add", OURS), ("delete", held(100, 100, "virbr0", 0x1000000))],
        ),
        (
            [held(1, 7, protocol=OTHERS), MAIN],
            [("add", held(0, 100, "virbr0", 0x1000000))],
        ),
        (
            [held(32765, 100, "virbr0", 0x1000000, protocol=OTHERS), MAIN],
            [("add", held(32764, 100, "virbr0", 0x1000000))],
        ),
        ([OURS, held(32765, 101, "virbr0", 0x2000000), MAIN], []),
    ],
    ids=[
        "missing",
        "there",
        "behind another",
        "farther ahead than need be",
        "no place but the first",
        "one of others that is like ours",
        "another of ours",
    ],
)
def test_a_rule_stands_directly_ahead_of_the_first_of_others(
    rules: list[Held], done: list[tuple[str, Held]]
) -> None:
    """The new one comes before the old one goes; nobody else's is touched."""
    kernel = Kernel(LOCAL, *rules)

    PolicyRules(kernel.connect).sync([wanted()], is_all=False)

    assert kernel.done == done


def test_what_is_not_wanted_goes() -> None:
    """Where all that is wanted is named; a kernel without IPv6 has none."""
    other = held(32765, 101, "virbr1", 0x2000000)
    kernel = Kernel(LOCAL, OURS, other, held(9, 9, protocol=OTHERS), MAIN)

    PolicyRules(kernel.connect).sync([], is_all=True)

    assert kernel.done == [("delete", OURS), ("delete", other)]


def test_one_is_removed() -> None:
    """Wherever it stands, and no other."""
    kernel = Kernel(LOCAL, OURS, held(5, 101, "virbr0", 0x2000000), MAIN)

    PolicyRules(kernel.connect).remove([wanted(101, 2)])

    assert kernel.done == [("delete", held(5, 101, "virbr0", 0x2000000))]


@pytest.mark.parametrize("error", [errno.EEXIST, errno.ENOENT])
def test_somebody_else_was_faster(error: int) -> None:
    """It is as it should be, then."""
    kernel = Kernel(LOCAL, MAIN, refused=error)

    PolicyRules(kernel.connect).sync([wanted()], is_all=False)

    assert kernel.done == [("add", OURS)]


def test_a_kernel_that_refuses() -> None:
    """Its own word."""
    kernel = Kernel(LOCAL, MAIN, refused=errno.EPERM)

    with pytest.raises(PermissionError):
        PolicyRules(kernel.connect).sync([wanted()], is_all=False)
