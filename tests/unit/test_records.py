"""records: guests and events as text, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import (
    NAMES,
    OTHER_MAC,
    PROPERTY,
    UUID,
    fields,
    guest,
    nic,
    parsed,
    published,
    record,
)
from vfwhooks.store.records import (
    GuestEvent,
    Ousted,
    Record,
    Seen,
    parse_guest_event,
    parse_record,
    seal,
)
from vfwhooks.values.guests import Guest, Nic
from vfwhooks.values.needs import LoopbackNeed, Need, ReturnRouteNeed
from vfwhooks.values.published import Family, parse_address

BODY = f"""\
1000 2000
guest qemu my%20web {UUID}
nic 52:54:00:00:00:10 network default virbr0 vnet0
on default
on my%20net
entry dnat 4 * tcp 8080 8080 192.168.122.10 80
entry accept 4 192.168.122.10
"""
TEXT = seal(BODY)
ENTRIES = ["dnat 4 * tcp 8080 8080 192.168.122.10 80", "accept 4 192.168.122.10"]


def test_text_of_a_record() -> None:
    """One line a thing, names without blanks."""
    known = record(guest("my web"), 1000, 2000, ENTRIES, ["default", "my net"])

    found = known.text()

    assert found == TEXT


def test_record_of_a_text() -> None:
    """What was kept comes back."""
    found = parse_record(TEXT)

    known = record(guest("my web"), 1000, 2000, ENTRIES, ["default", "my net"])
    assert fields(found) == fields(known)


def test_a_record_that_is_off() -> None:
    """A guest that stopped while its entries could not be taken out is kept as that."""
    known = record(entries=ENTRIES)
    known.is_off = True

    found = [parse_record(known.text()).is_off, parse_record(record().text()).is_off]

    assert found == [True, False]


def test_a_record_of_a_guest_that_is_away() -> None:
    """With what it was forwarded by, whose connections are not cut yet."""
    away = record(guest("my web"), 1000, 2000, ENTRIES[1:])
    away.is_away, away.left = True, parsed(ENTRIES[0])

    found = parse_record(away.text())

    assert fields(found) == fields(away)


def test_a_record_that_waits() -> None:
    """A guest without an address is kept as that, also with entries of before."""
    known = record(entries=ENTRIES)
    known.is_waiting = True

    found = [parse_record(known.with_entries([]).text()), parse_record(TEXT)]

    assert [one.is_waiting for one in found] == [True, False]


def test_a_record_that_yields() -> None:
    """Which claims of its forwards a listener has is kept, and what may be added."""
    known = record(entries=ENTRIES)
    known.yields = [published("4 * tcp 22 22"), published("6 * tcp 22 22")]
    more = parsed("accept 6 fd00::1")

    found = parse_record(known.with_entries(more).text())

    assert (found.yields, found.entries[2:]) == (known.yields, more)


def test_a_record_with_sockets_that_were_seen() -> None:
    """They are kept with when they were, and what may be added."""
    known = record(entries=ENTRIES)
    known.seen = {
        Seen(published("4 * udp 51820 51820"), 7): 1203344455,
        Seen(published("6 * udp 5000 5000"), 8): 1,
    }

    found = parse_record(known.with_entries([]).text())

    assert found.seen == known.seen


def test_a_record_with_public_addresses() -> None:
    """Whether each is the host's own is kept."""
    known = record(entries=ENTRIES)
    known.public = {
        parse_address("203.0.113.7"): False,
        parse_address("2001:db8::1"): True,
    }

    found = parse_record(known.with_entries([]).text())

    assert found.public == known.public


def test_a_record_of_one_that_has_ousted_another() -> None:
    """Whom, and from where, is kept."""
    known = record(entries=ENTRIES)
    known.ousted = [Ousted(parse_address("192.168.122.10"), OTHER_MAC)]

    found = parse_record(known.with_entries(parsed("accept 6 fd00::1")).text())

    assert found.ousted == known.ousted


def test_a_record_of_a_guest_whose_answers_take_a_way_of_their_own() -> None:
    """It is known again, also with more that the kernel may hold."""
    known = record()
    known.is_returned = True

    found = parse_record(known.with_entries(parsed("accept 4 192.168.122.10")).text())

    assert (found.is_returned, parse_record(record().text()).is_returned) == (
        True,
        False,
    )


def test_a_record_with_ports_in_hairpin_mode() -> None:
    """They are kept, and those of before that may be so still."""
    known = record(entries=ENTRIES)
    known.hairpins = [("vnet0", "virbr0", 17), ("a b", "virbr1", 0)]
    before = [("vnet0", "virbr0", 17), ("vnet7", "virbr0", 9)]

    found = parse_record(known.with_entries([], before).text())

    assert found.hairpins == [before[1], *known.hairpins]


NICS = st.builds(Nic, NAMES, NAMES, NAMES, NAMES, NAMES)
GUESTS = st.builds(
    Guest,
    st.sampled_from(["qemu", "lxc", "libxl", "network"]),
    NAMES,
    NAMES,
    st.lists(NICS, max_size=3),
)
TIMES = st.integers(0, 1 << 62)
# No network's name is empty, or has a slash.
NETWORKS = NAMES.filter(lambda name: name and "/" not in name) | st.just(
    "/bridge:br-nat"
)
NEEDS = (
    st.builds(Need, NETWORKS)
    | st.builds(LoopbackNeed, NETWORKS)
    | st.just(ReturnRouteNeed("default", Family.IPV6, 101, 2, "eth-1"))
)


@PROPERTY
@given(GUESTS, TIMES, TIMES, st.lists(NEEDS, max_size=3))
def test_any_record_comes_back(
    of: Guest, since: int, stamp: int, needs: list[Need]
) -> None:
    """Whatever a guest, an interface or a network is called."""
    known = Record(of, since, stamp, parsed(*ENTRIES), needs)

    found = parse_record(known.text())

    assert fields(found) == fields(known)


@PROPERTY
@given(st.sampled_from(["started", "stopped", "plugged", "network"]), GUESTS, TIMES)
def test_any_intent_comes_back(operation: str, of: Guest, stamp: int) -> None:
    """An event is carried out by whoever reads it."""
    known = GuestEvent(operation, of, stamp)

    found = parse_guest_event(known.text())

    assert fields(found) == fields(known)


@PROPERTY
@given(st.text(max_size=40) | st.integers(0, len(TEXT)).map(lambda end: TEXT[:end]))
def test_any_text_is_a_record_or_refused(text: str) -> None:
    """A truncated or foreign file raises what the caller sets it aside for."""
    found = []

    for parse in (parse_record, parse_guest_event):
        try:
            parse(text)
            found.append("read")
        except (ValueError, IndexError):
            found.append("refused")

    assert len(found) == 2


NO_LINES = [
    "entry",
    "entry dnat",
    "entry allow 4 192.168.122.10",
    "entry dnat 4 * tcp 80 80",
    "entry dnat 5 * tcp 80 80 192.168.122.10 80",
    "entry dnat 4 * gre 80 80 192.168.122.10 80",
    "entry dnat 4 * tcp x 80 192.168.122.10 80",
    "entry dnat 4 * tcp 80 80 192.168.122 80",
    "entry reject 4 * tcp 80 80 80",
    "entry accept 4",
    "entry accept 4 192.168.122.10 80",
    "entry accept 4 host",
    "entry hairpin 4 192.168.122.0/33",
    "entry way 4 virbr0 100 1",
    "on default/else",
    "on default/way-4-100-1",
    "yields 4 * tcp 22",
    "seen 4 * tcp 22 22 7",
    "ousted 192.168.122.10",
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1000\n",
        "1000 2000\n",
        "1000 x\nguest qemu web1 u\n",
        "1000 2000 3000\nguest qemu web1 u\n",
        "1000 2000\nghost qemu web1 u\n",
        "1000 2000\nguest qemu web1\n",
        "1000 2000\nguest qemu web1 u x\n",
        "1000 2000\nguest qemu web%zz u\n",
        "1000 2000\nguest qemu web1 u\nnic a b c d\n",
        "1000 2000\nguest qemu web1 u\nnic a b c d e f\n",
        *(f"1000 2000\nguest qemu web1 u\n{line}\n" for line in NO_LINES),
    ],
)
def test_what_is_no_record(text: str) -> None:
    """Anything but what was kept is refused."""
    with pytest.raises((ValueError, IndexError)):
        parse_record(seal(text))


@pytest.mark.parametrize("text", ["", "started\n", "started x\nguest qemu w u\n"])
def test_what_is_no_guest_event(text: str) -> None:
    """Anything but what was kept is refused."""
    with pytest.raises((ValueError, IndexError)):
        parse_guest_event(seal(text))


def test_an_intents_text() -> None:
    """Operation and stamp, then the guest as in a record."""
    found = GuestEvent("stopped", guest("web1", "", []), 1234).text()

    assert found == seal("stopped 1234\nguest qemu web1 %\n")


@pytest.mark.parametrize(
    "text",
    [
        TEXT.rpartition("entry ")[0],
        TEXT + "entry accept 4 192.168.122.11\n",
        TEXT.replace("8080 8080", "8080 8081"),
        TEXT.replace("vfw1 ", "vfw2 "),
        BODY,
        TEXT.partition("\n")[0],
    ],
)
def test_what_is_not_whole_or_of_another_format(text: str) -> None:
    """A line more or less, a digit that is another, a format that is not known, and a
    text that has none are refused."""
    with pytest.raises(ValueError, match="is not the head of a whole record"):
        parse_record(text)


def test_a_seal() -> None:
    """The format, and what zlib's crc32 says of the rest."""
    assert seal("1 2\n") == "vfw1 5c3bbb57\n1 2\n"


def test_key_and_owner() -> None:
    """Files are named by driver and name; the kernel's comments have the UUID."""
    known = [record(), record(guest(uuid="")), record(guest("w", driver="lxc"))]

    found = [(one.key, one.owner) for one in known]

    assert found == [
        (("qemu", "web1"), UUID),
        (("qemu", "web1"), "qemu"),
        (("lxc", "w"), UUID),
    ]


@pytest.mark.parametrize("name", ["virbr0", "br-lan", "br_lan", "x" * 36])
def test_owners_that_are_words(name: str) -> None:
    """iptables saves these as they are, without quotes."""
    assert record(guest(name, driver="network", uuid=name)).owner == name


@pytest.mark.parametrize("name", ["", "-", "br.100", "a b", 'a"b', "é", "x" * 37])
def test_owners_that_are_none(name: str) -> None:
    """What would not be one word of a rule, or a long one, does not get into it."""
    assert record(guest("default", driver="network", uuid=name)).owner == "network"


def test_with_entries_adds_what_is_missing() -> None:
    """Everything that the kernel may hold, once, and nothing else is changed."""
    a, b, c = parsed(*(f"accept 4 10.0.0.{number}" for number in range(3)))
    known = Record(guest(), 1, 2, [a, b], [Need("n")])

    found = known.with_entries([b, c])

    assert found == Record(known.guest, 1, 2, [a, b, c], [Need("n")])
    assert known.entries == [a, b]


def test_records_that_are_the_same() -> None:
    """Those that would be kept as the same text: they need not be written again."""
    known, same = (record(entries=ENTRIES, needs=["default"]) for _ in range(2))
    others = [record(entries=ENTRIES), record(guest("web2"), entries=ENTRIES)]

    found = [known == one for one in (same, *others)]

    assert found == [True, False, False]


def test_interfaces_keep_their_order() -> None:
    """The first interface with an address counts, also after a restart."""
    nics = [nic("b"), nic("a")]

    found = parse_record(record(guest(nics=nics)).text())

    assert [one.mac for one in found.guest.nics] == ["b", "a"]
