"""Netlink written out by hand, as the kernel's headers have it, and a link that answers
what it was given."""

from __future__ import annotations

import struct
from collections.abc import Callable

from vfwhooks.host.netlink import Netlink


class Link(Netlink):
    """A link whose answers are written down; `asked` is what it was sent."""

    def __init__(self, *answers: bytes, error: int = 0) -> None:
        self._given = answers
        self._error = error
        self.asked: list[bytes] = []

    def dump(
        self, one: bytes, is_wanted: Callable[[bytes], bool] | None = None
    ) -> list[tuple[int, bytes]]:
        self.request(one)
        return [(0, answer) for answer in self._given]

    def ask(self, one: bytes) -> bytes:
        self.request(one)
        return self._given[0]

    def request(self, one: bytes) -> None:
        self.asked.append(one)
        if self._error:
            raise OSError(self._error, "no")


def nla(kind: int, *parts: bytes) -> bytes:
    """A netlink attribute, as the kernel's headers have it."""
    payload = b"".join(parts)
    padding = b"\0" * (-len(payload) % 4)
    return struct.pack("=HH", 4 + len(payload), kind) + payload + padding


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a name."""
    return nla(kind, value.encode() + b"\0")


def answer(*attributes: bytes, family: int = 1) -> bytes:
    """The payload of an answer: struct nfgenmsg and attributes."""
    return bytes((family, 0, 0, 0)) + b"".join(attributes)


def handle(kind: int, number: int) -> bytes:
    """An attribute that holds a handle."""
    return nla(kind, struct.pack(">Q", number))


def request(kind: int, payload: bytes, flags: int = 0) -> bytes:
    """A message to nf_tables (subsystem 10) that is not numbered yet."""
    return struct.pack("=IHHII", 16 + len(payload), 10 << 8 | kind, 1 | flags, 0, 0) + (
        payload
    )
