"""netlink: messages by the byte, and conversations with a kernel that is made up."""

from __future__ import annotations

import errno
import struct
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY, refusal
from vfwhooks.host.netlink import (
    Netlink,
    NotTaken,
    attribute,
    attributes,
    each,
    message,
    named,
    nested,
    netfilter,
    split,
)

ERROR, DONE, INTERRUPTED = 2, 3, 0x10


def header(length: int, kind: int, flags: int, sequence: int = 0) -> bytes:
    """struct nlmsghdr, from port 0."""
    return struct.pack("=IHHII", length, kind, flags, sequence, 0)


def answer(kind: int, payload: bytes = b"", flags: int = 0, sequence: int = 1) -> bytes:
    """One message of the kernel's."""
    return header(16 + len(payload), kind, flags, sequence) + payload


def status(number: int, sequence: int = 1) -> bytes:
    """NLMSG_ERROR: an errno, or 0 for an acknowledgement."""
    return answer(ERROR, struct.pack("=i", -number) + bytes(16), 0, sequence)


class Wire:
    """A socket whose answers are written down beforehand."""

    def __init__(self, answers: list[bytes], deaf: bool = False) -> None:
        self.answers = answers
        self.deaf = deaf
        self.sent: list[bytes] = []
        self.options: list[tuple[int, int]] = []

    def sendto(self, data: bytes, _: object) -> None:
        if self.deaf:
            raise OSError(errno.ENOBUFS, "No buffer space available")
        self.sent.append(data)

    def recv(self, _: int, flags: int = 0) -> bytes:
        if self.answers:
            return self.answers.pop(0)
        assert flags, "waits for an answer that never comes"
        raise BlockingIOError

    def setsockopt(self, _: int, option: int, size: int) -> None:
        if option > 30:  # the ones that only root may use
            raise PermissionError
        self.options.append((option, size))


class Link(Netlink):
    """Netlink on such a wire."""

    def __init__(self, *answers: bytes, deaf: bool = False) -> None:
        self.wire = Wire(list(answers), deaf)
        self.socket = cast("Any", self.wire)
        self._sequence = 0
        self.is_slow_to_close = False


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", b"\x04\x00\x07\x00"),
        (b"a", b"\x05\x00\x07\x00a\0\0\0"),
        (b"abc", b"\x07\x00\x07\x00abc\0"),
        (b"abcd", b"\x08\x00\x07\x00abcd"),
        (b"abcde", b"\x09\x00\x07\x00abcde\0\0\0"),
    ],
)
def test_attribute(value: bytes, expected: bytes) -> None:
    """Length without the padding, kind, value, padding to four bytes."""
    found = attribute(7, value)

    swapped = struct.pack("=HH", *struct.unpack("<HH", expected[:4])) + expected[4:]
    assert found == swapped


def test_nested_and_named() -> None:
    """A nested attribute says that it is one; a name ends with a NUL."""
    found = nested(3, named(1, "ü"), attribute(2, b"1234"))

    name = struct.pack("=HH", 7, 1) + b"\xc3\xbc\0\0"
    value = struct.pack("=HH", 8, 2) + b"1234"
    assert found == struct.pack("=HH", 20, 0x8003) + name + value


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_come_back_in_order(pairs: list[tuple[int, bytes]]) -> None:
    """Whatever their lengths are."""
    data = b"".join(attribute(kind, value) for kind, value in pairs)

    found = each(data)

    assert (found, attributes(data)) == (pairs, dict(pairs))


@PROPERTY
@given(st.binary(max_size=60))
def test_any_bytes_are_attributes_or_none(data: bytes) -> None:
    """Nothing that arrives is read for ever, or beyond its end."""
    found = each(data)

    assert sum(4 + len(value) for _, value in found) <= len(data) + 3


def test_flags_of_an_attribute_are_no_part_of_its_kind() -> None:
    """Nested, or in network order."""
    data = struct.pack("=HH4sHH4s", 8, 0x8001, b"aaaa", 8, 0x4002, b"bbbb")

    found = each(data)

    assert found == [(1, b"aaaa"), (2, b"bbbb")]


def test_message() -> None:
    """A request with its length, its kind and flags; the sequence comes later."""
    found = message(0xA0C, b"pay", 0x400)

    assert found == header(19, 0xA0C, 0x401) + b"pay"


def test_netfilter() -> None:
    """struct nfgenmsg: family, version 0, resource in network order."""
    found = netfilter(2, b"rest", 10), netfilter(10)

    assert found == (b"\x02\x00\x00\x0arest", b"\x0a\x00\x00\x00")


def test_split() -> None:
    """Several messages in one datagram, each padded to four bytes."""
    one = struct.pack("=IHHII", 19, 7, 2, 5, 99) + b"abc\0"

    found = split(one + answer(8, b"", 0, 6))

    assert found == [(7, 2, 5, 99, b"abc"), (8, 0, 6, 0, b"")]


@PROPERTY
@given(st.binary(max_size=80))
def test_any_datagram_is_split(data: bytes) -> None:
    """A length of nonsense ends nothing but the datagram."""
    found = split(data)

    assert len(found) <= len(data) // 16


def test_a_request_that_is_taken() -> None:
    """It asks for an acknowledgement, and is numbered."""
    link = Link(status(0))

    link.request(message(5, b"what"))

    assert link.wire.sent == [header(20, 5, 0x5, 1) + b"what"]


def test_a_request_that_is_refused() -> None:
    """The kernel's errno."""
    link = Link(status(errno.ENOENT))

    with pytest.raises(FileNotFoundError) as caught:
        link.request(message(5, b""))
    assert caught.value.errno == errno.ENOENT


def test_a_question_that_is_answered() -> None:
    """The payload of the answer."""
    link = Link(answer(16, b"eth0"))

    found = link.ask(message(18, b""))

    assert (found, link.wire.sent) == (b"eth0", [header(16, 18, 0x1, 1)])


def test_a_question_that_is_refused() -> None:
    """The kernel's errno."""
    link = Link(status(errno.ENODEV))

    with pytest.raises(OSError, match="No such device") as caught:
        link.ask(message(18, b""))
    assert caught.value.errno == errno.ENODEV


def test_a_question_without_an_answer() -> None:
    """An empty datagram is none."""
    with pytest.raises(OSError, match="netlink: no answer"):
        Link(b"").ask(message(18, b""))


def test_requests_are_numbered() -> None:
    """Each message has its own number."""
    link = Link(status(0), status(0))
    link.request(message(5, b""))

    link.request(message(5, b""))

    assert [split(data)[0][2] for data in link.wire.sent] == [1, 2]


def test_a_transaction() -> None:
    """Between begin and end, an acknowledgement asked for the last message alone."""
    link = Link(status(0, 3))

    link.batch([message(7, b"one!"), message(8, b"two!")])

    border = b"\0\0\0\x0a"
    assert link.wire.sent == [
        header(20, 16, 0x1, 1)
        + border
        + header(20, 7, 0x1, 2)
        + b"one!"
        + header(20, 8, 0x5, 3)
        + b"two!"
        + header(20, 17, 0x1, 4)
        + border
    ]


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("earlier", [0, 3])
def test_a_transaction_that_is_refused(index: int, earlier: int) -> None:
    """Which of its messages the kernel did not take, and why."""
    link = Link(*[status(0)] * earlier, status(errno.EEXIST, earlier + 2 + index))
    for _ in range(earlier):
        link.wire.answers, rest = link.wire.answers[:1], link.wire.answers[1:]
        link.request(message(1, b""))
        link.wire.answers = rest

    with pytest.raises(NotTaken) as caught:
        link.batch([message(7, b"")] * 3)
    assert (caught.value.errno, caught.value.index, str(caught.value)) == (
        errno.EEXIST,
        index,
        "nf_tables: File exists",
    )


def test_a_transaction_that_nobody_answers() -> None:
    """Silence is not consent."""
    found = refusal(Link().batch, [message(7, b"")])

    assert found == "nf_tables: the kernel did not answer the transaction"


def test_a_transaction_that_cannot_be_sent() -> None:
    """The reason is the socket's."""
    found = refusal(Link(deaf=True).batch, [message(7, b"")])

    assert found == "nf_tables: No buffer space available"


@pytest.mark.parametrize(("size", "grown"), [(99_900, 0), (100_000, 2)])
def test_a_large_transaction_makes_room(size: int, grown: int) -> None:
    """Both buffers, and as an ordinary user as far as the system lets one."""
    link = Link(status(0, 2))

    link.batch([message(7, bytes(size))])

    room = [room for _, room in link.wire.options]
    assert (len(room), all(one == 2 * len(link.wire.sent[0]) for one in room)) == (
        grown,
        True,
    )


def test_a_list() -> None:
    """All messages of all datagrams until the last, whatever the sizes."""
    link = Link(
        answer(7, b"one!") + answer(7, b"two!"), answer(8, b"three"), answer(DONE)
    )

    found = link.dump(message(1, b""))

    assert found == [(7, b"one!"), (7, b"two!"), (8, b"three")]
    assert link.wire.sent == [header(16, 1, 0x301, 1)]


def test_a_list_that_changed_while_it_was_read() -> None:
    """It is read again, whole."""
    link = Link(
        answer(7, b"old!", INTERRUPTED) + answer(DONE),
        answer(7, b"new!") + answer(DONE),
    )

    found = link.dump(message(1, b""))

    assert (found, len(link.wire.sent)) == ([(7, b"new!")], 2)


def test_a_list_that_changed_at_its_end() -> None:
    """The last message can say so as well."""
    link = Link(
        answer(7, b"old!") + answer(DONE, b"", INTERRUPTED),
        answer(7, b"new!") + answer(DONE),
    )

    found = link.dump(message(1, b""))

    assert found == [(7, b"new!")]


def test_a_list_that_never_stays_the_same() -> None:
    """There is an end to trying."""
    link = Link(*[answer(7, b"", INTERRUPTED) + answer(DONE)] * 20)

    found = refusal(link.dump, message(1, b""))

    assert found == "netlink: the list changed nine times while it was read"
    assert len(link.wire.sent) == 9


def test_a_list_that_is_refused() -> None:
    """The kernel's errno."""
    with pytest.raises(PermissionError):
        Link(status(errno.EPERM)).dump(message(1, b""))
